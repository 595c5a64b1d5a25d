"""Load levels: the stretches of a measured phase in which one and the same load was asked for. Pure.

A run with steps of rate or users, with a ramp, or whose users somebody changed while it went on, has several loads, and
a figure over all of them describes none of them. A request belongs to the level in which it was sent, even if its
answer came in the next one.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Protocol

import msgspec

Number = int | float
"""An integer stays an integer."""

BEGAN = {
    "start": "the measured phase began",
    "step": "a step of load.rate_steps or load.users_steps",
    "ramp": "a piece of the ramp that load.rate_end or load.users_end makes",
    "changed": "the number of users was changed by hand",
}
"""How a level can begin."""

RAMP_PIECE_S = 10.0
"""Minimum length of the pieces of a ramp that is long enough for two."""
MOST_RAMP_PIECES = 8


class LevelRecord(msgspec.Struct, omit_defaults=True):
    """A load level, from 1. Asked for were so many `users` (closed loop) or requests/s (`rate`), in a piece of a ramp
    from there to `users_end` or `rate_end`. `start` and `end` in unix seconds; `end` of a level that goes on is the
    planned one, or None. `began`: one of BEGAN."""

    number: int
    start: Number
    end: Number | None = None
    began: str | None = None
    users: Number | None = None
    users_end: Number | None = None
    rate: Number | None = None
    rate_end: Number | None = None


class LoadPlan(Protocol):
    """What [load] of a scenario and `load` of run.json both say."""

    @property
    def rate(self) -> Number | None: ...

    @property
    def rate_end(self) -> Number | None: ...

    @property
    def rate_steps(self) -> object: ...

    @property
    def users(self) -> Number | None: ...

    @property
    def users_end(self) -> Number | None: ...

    @property
    def users_steps(self) -> object: ...

    @property
    def duration_s(self) -> Number | None: ...


def number_at(starts: Sequence[float], moment: float) -> int:
    """The number of the level at `moment` of the measured phase; `starts`: when each level after the first began."""
    return 1 + bisect_right(starts, moment)


def planned_levels(load: LoadPlan, start: float, end: float) -> list[LevelRecord]:
    """The levels of a measured phase from `start` to `end` (unix s; may be infinite), as [load] plans them.

    Steps and a ramp fill `duration_s`, whatever `end` says; the last level goes on to `end`.
    """
    name = "users" if load.rate is None and not load.rate_steps else "rate"
    first, last, steps = (getattr(load, key) for key in (name, f"{name}_end", f"{name}_steps"))
    if isinstance(steps, list | tuple) and len(steps) > 1:
        loads = [({name: step}, "step") for step in steps]
    elif last is not None and first is not None and last != first:
        loads = [(piece, "ramp") for piece in _pieces(name, first, last, load.duration_s)]
    else:
        loads = [({name: first}, "start")]
    each_s = (load.duration_s or math.inf) / len(loads)
    begins = [
        (start + place * each_s if place else start, how if place else "start", what)
        for place, (what, how) in enumerate(loads)
    ]
    if loads[0][1] == "ramp":
        begins[0] = (start, "ramp", loads[0][0])
    return _levels(begins, end)


def levels_of_users(targets: Iterable[tuple[float, int]], start: float, end: float, began: str) -> list[LevelRecord]:
    """The levels of a closed loop whose number of users was set at some moments.

    targets: (unix s, users) in order, the latest before `start` being the first level's. `began`: how later ones did.
    """
    users: int | None = None
    begins: list[tuple[float, str, dict[str, Number]]] = []
    for moment, number in targets:
        if moment <= start:
            begins, users = [(start, "start", {"users": number})], number
        elif number != users:
            begins.append((moment, began if begins else "start", {"users": number}))
            users = number
    return _levels(begins, end)


def _levels(begins: list[tuple[float, str, dict[str, Number]]], end: float) -> list[LevelRecord]:
    """Levels from (start, how it began, what was asked for); one ends where the next begins, the last at `end`."""
    kept = [begin for place, begin in enumerate(begins) if place == 0 or begin[0] < end]
    ends = [*(start for start, _, _ in kept[1:]), end]
    return [
        LevelRecord(number, start, stop if math.isfinite(stop) else None, how, **what)
        for number, ((start, how, what), stop) in enumerate(zip(kept, ends, strict=True), 1)
    ]


def _pieces(name: str, first: float, last: float, duration_s: float | None) -> list[dict[str, Number]]:
    """What is asked for in each piece of a ramp."""
    count = max(2, min(MOST_RAMP_PIECES, int((duration_s or 0.0) // RAMP_PIECE_S)))
    edges = [first + (last - first) * place / count for place in range(count + 1)]
    rounded = [round(edge) if name == "users" else float(f"{edge:.6g}") for edge in edges]
    return [{name: begin, f"{name}_end": end} for begin, end in pairwise(rounded)]
