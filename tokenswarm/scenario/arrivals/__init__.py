"""Laws of arrival: each module here brings one, as a function `gaps(rng, cv)`.

It yields gaps between arrivals at a mean rate of one a second, without end; `cv` is load.burstiness_cv. Others come as
entry points of the group `tokenswarm.scenario.arrivals`, or from a Python file with such a function.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from functools import lru_cache
from itertools import islice
from math import inf
from random import Random
from types import ModuleType

from tokenswarm.base.extensions import ExtensionGroup

Law = Callable[[Random, float], Iterator[float]]

TIMES = "times"
"""Arrivals at listed times, not drawn from a law."""
RECORDED = "recorded"
"""The arrivals are those of the trace that the workload replays."""
NO_LAWS = (TIMES, RECORDED)


def _laws_in(module: ModuleType) -> dict[str, Law]:
    return {module.__name__.rpartition(".")[2]: module.gaps} if callable(getattr(module, "gaps", None)) else {}


_TRIED_GAPS = 1000


def try_out(law: Law, cv: float) -> None:
    """Draw some gaps from a law, which may be a user's own, before a run depends on it. Raises ValueError."""
    (_tried if isinstance(law, Hashable) else _tried.__wrapped__)(law, cv)


@lru_cache(maxsize=64)
def _tried(law: Law, cv: float) -> None:
    """Cached, because a process reads scenarios many times."""
    try:
        gaps = list(islice(law(Random("trial"), cv), _TRIED_GAPS))
    except Exception as error:
        raise ValueError(f"fails ({type(error).__name__}: {error})") from None
    if len(gaps) < _TRIED_GAPS:
        raise ValueError(
            f'ends after {len(gaps)} gaps, but should go on without end; a list of times is load.arrivals = "{TIMES}"'
        )
    for gap in gaps:
        if not (isinstance(gap, int | float) and 0 <= gap < inf):
            raise ValueError(f"gave the gap {gap!r}, but a gap is a number of at least 0")
    if not any(gaps):
        raise ValueError("gave gaps of 0 alone, but their mean should be 1")


ARRIVALS = ExtensionGroup("tokenswarm.scenario.arrivals", "law of arrivals", _laws_in)
