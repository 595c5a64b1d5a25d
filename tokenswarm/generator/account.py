"""What a load-generating process reports at its end besides its rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class LoadAccount:
    """`numbers`: counts and sums by name. `kinds`: counts by kind of `odd`, `user_errors` and `limit_reached`, where
    there are any. `rows`: request rows made."""

    numbers: dict[str, float] = field(default_factory=dict)
    kinds: dict[str, dict[str, int]] = field(default_factory=dict)
    rows: int = 0

    def facts(self) -> dict[str, object]:
        """The counts as run.json has them."""
        return {**self.numbers, **self.kinds}


def added(accounts: Iterable[LoadAccount]) -> LoadAccount:
    """The sum of several processes' accounts."""
    total = LoadAccount()
    kinds: dict[str, Counter[str]] = {}
    for account in accounts:
        total.rows += account.rows
        for name, number in account.numbers.items():
            total.numbers[name] = total.numbers.get(name, 0) + number
        for name, counted in account.kinds.items():
            kinds.setdefault(name, Counter()).update(counted)
    total.kinds = {name: dict(counted) for name, counted in kinds.items()}
    return total
