"""Whether answers are equally good under other settings, from the same tasks with known results. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from scipy import special
from tokenswarm.analysis.figures.statistics import CONFIDENCE

MARGIN = 0.05
"""Share of tasks: a loss that is certainly smaller counts as equally good."""
SOLVED_AT_LEAST = 0.20
"""Share of tasks that a model must solve with its own format: one that solves nothing, such as random weights, cannot
lose anything.
"""
FEWEST_TASKS = 30
WORSE, AS_GOOD, OPEN, CANNOT_TELL = "worse", "as_good", "undecided", "cannot_tell"


Task = TypeVar("Task", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Quality:
    """`state`: worse | as_good (certainly within MARGIN) | undecided | cannot_tell (see `why`).

    `before`, `after`: shares of `tasks` that were solved. `change`: after - before, with its 95% interval.
    """

    state: str
    tasks: int = 0
    before: float | None = None
    after: float | None = None
    change: float | None = None
    low: float | None = None
    high: float | None = None
    why: str = ""


def quality(
    before: Mapping[Task, bool], after: Mapping[Task, bool], kind: Callable[[Task], str] = lambda task: ""
) -> Quality:
    """Compares the tasks that were answered under both settings.

    `kind` of a task: the model must solve some of each kind, because the engine's grammar alone may solve one kind,
    whatever the weights are. The interval of the paired difference is the adjusted Wald interval of Bonett and Price
    (Journal of Educational and Behavioral Statistics 37, 2012), which is valid even if few tasks or none changed.
    """
    tasks = [task for task in before if task in after]
    count = len(tasks)
    if count < FEWEST_TASKS:
        return Quality(
            CANNOT_TELL,
            count,
            why=f"{count} tasks were answered under both settings, and {FEWEST_TASKS} "
            "are the fewest that say something",
        )
    lost = sum(before[task] and not after[task] for task in tasks)
    won = sum(after[task] and not before[task] for task in tasks)
    solved, solved_after = (sum(side[task] for task in tasks) / count for side in (before, after))
    less, more = (lost + 1.0) / (count + 2.0), (won + 1.0) / (count + 2.0)
    z = float(special.ndtri(0.5 + CONFIDENCE / 2.0))
    half = z * math.sqrt((less + more - (more - less) ** 2) / (count + 2.0))
    low, high = max(-1.0, more - less - half), min(1.0, more - less + half)
    state, why = OPEN, ""
    weakest, share = _weakest([(kind(task), before[task]) for task in tasks])
    if share < SOLVED_AT_LEAST:
        state = CANNOT_TELL
        of_kind = f" of {weakest}" if weakest else ""
        why = (
            f"the model solves {share:.0%} of the tasks{of_kind} with its own format, so there is nothing to lose: are "
            "its weights random?"
        )
    elif high < 0.0:
        state = WORSE
    elif low > -MARGIN:
        state = AS_GOOD
    return Quality(state, count, solved, solved_after, (won - lost) / count, low, high, why)


def _weakest(tasks: Sequence[tuple[str, bool]]) -> tuple[str, float]:
    """The kind with the smallest share solved, and that share."""
    of_kind: dict[str, list[bool]] = {}
    for name, is_solved in tasks:
        of_kind.setdefault(name, []).append(is_solved)
    return min(((name, sum(each) / len(each)) for name, each in of_kind.items()), key=lambda each: each[1])
