"""The search for the highest load within the limits: what to measure next, and what is known so far.

A pure function of all that was measured: the same runs give the same next step, so that a search can be resumed.

1. Bracket: double (or halve) the load until one surely passes and one surely fails.
2. Bisect, by the geometric mean, until the two are within the precision or neighbouring numbers of users.
3. A level that straddles the target is measured longer, each time as long as before; beside it, the bracket is closed
   from both sides, so that a curve through the levels says where it crosses (`capacity_estimate`).
4. Confirm: what surely passes and surely fails has to do so with runs of other seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from tokenswarm.analysis.search.attainment import (
    ERROR,
    MOST_LEVELS,
    Attainment,
    Blocks,
    attainment,
    error_of_a_look,
    fewest_requests,
)
from tokenswarm.analysis.search.capacity_estimate import Crossing, Point, crossing, is_cliff

from tokenswarm.base.presence import present

USERS, RATE = "users", "requests_s"
PASS, FAIL, UNDECIDED, LIMITED = "pass", "fail", "undecided", "limited"
LEAST_WORTH = 35
"""Independent requests that a level must count for before a curve through it ends a search: shorter runs do not show
how long a queue stays long, and their intervals are too narrow (Law, Simulation Modeling and Analysis, section 9.5.3).
"""
DIED, REFUSED = "died", "refused"
"""Flaws of a run, beside LIMITED: its engine ended, or refused requests for a limit of rates (429)."""


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """What is asked. `start`: the first load; `target`: the share of requests that must meet every limit; `precision`:
    how much higher than the sure pass the sure fail may be at the end (0.1: 10%)."""

    start: float
    unit: str = USERS
    target: float = 0.95
    precision: float = 0.10
    error: float = ERROR
    first_look: int | None = None
    """Requests of the first run at a load; None: as few as can decide."""
    most_doublings: int = 5
    """A load is measured until it has this many times twice the requests of its first run."""

    @property
    def first_requests(self) -> int:
        return self.first_look or fewest_requests(self.target, error_of_a_look(self.error))


@dataclass(frozen=True, slots=True)
class Evidence:
    """One run at one load. `flaw`: why it is no evidence (LIMITED, REFUSED), or that its engine DIED."""

    load: float
    blocks: Blocks
    flaw: str | None = None


@dataclass(frozen=True, slots=True)
class Level:
    """All runs at one load, and what they come to. `runs`: their places in the list of evidence."""

    load: float
    state: str
    attainment: Attainment
    runs: tuple[int, ...]
    flaw: str | None = None

    @property
    def requests(self) -> int:
        return self.attainment.requests


@dataclass(frozen=True, slots=True)
class Step:
    """What to do next: measure `requests` at `load`, or stop (`load` is None). `why`: in one word (docs/capacity.md).
    """

    why: str
    load: float | None = None
    requests: int = 0


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What the levels say. `sure_pass`, `sure_fail`: loads, None where there is none; `limit`: the lowest load at which
    something else than the engine was the limit; `non_monotone`: a load above the sure fail passes surely."""

    levels: tuple[Level, ...]
    sure_pass: float | None
    sure_fail: float | None
    limit: float | None
    estimate: float | None
    low: float | None
    high: float | None
    cliff: bool = False
    non_monotone: bool = False
    flaw: str | None = None
    """Of the level at `limit`."""
    crossing: Crossing | None = None
    """Where a curve through the levels falls to the target; None where none is fitted."""


def judge(settings: SearchSettings, evidence: Sequence[Evidence]) -> Knowledge:
    """What is known from all runs."""
    levels = _levels(settings, evidence)
    fails = [each.load for each in levels if each.state == FAIL]
    high = min(fails, default=None)
    passes = [each.load for each in levels if each.state == PASS]
    below = [load for load in passes if high is None or load < high]
    low = max(below, default=None)
    limits = [each for each in levels if each.state == LIMITED and (high is None or each.load < high)]
    limit = min(limits, key=lambda each: each.load, default=None)
    points = _points(levels)
    inside = [point for point in points if low is not None and high is not None and low <= point.load <= high]
    curve = None if low is None or high is None else crossing(points, settings.target, (low, high))
    usable = [each for each in levels if each.state != LIMITED]
    trusted = curve is not None and _rests_on_enough(settings, usable, curve.load)
    estimate, ends = _interval(settings, low, high, curve if trusted or curve is None else
                               Crossing(curve.load, present(low), present(high)))
    return Knowledge(
        tuple(levels), low, high, limit.load if limit else None, estimate, *ends,
        cliff=is_cliff(inside, settings.target), non_monotone=len(below) < len(passes),
        flaw=limit.flaw if limit else None, crossing=curve)


def next_step(settings: SearchSettings, evidence: Sequence[Evidence]) -> Step:
    """What to measure next, or that the search is over."""
    if not evidence:
        return Step("bracket", settings.start, settings.first_requests)
    known = judge(settings, evidence)
    if len({each.load for each in known.levels}) >= MOST_LEVELS:
        return Step("levels")
    step = _bracket(settings, known) or _confirm(settings, known) or _settled(settings, known)
    return step or _narrow(settings, known)


# ---- levels

def _levels(settings: SearchSettings, evidence: Sequence[Evidence]) -> list[Level]:
    runs: dict[float, list[int]] = {}
    for place, each in enumerate(evidence):
        runs.setdefault(each.load, []).append(place)
    return [_level(settings, load, places, evidence) for load, places in sorted(runs.items())]


def _level(settings: SearchSettings, load: float, places: list[int], evidence: Sequence[Evidence]) -> Level:
    flaws = [evidence[place].flaw for place in places if evidence[place].flaw is not None]
    sound = [evidence[place].blocks for place in places if evidence[place].flaw is None]
    share = attainment(sound, error_of_a_look(settings.error))
    if DIED in flaws:
        return Level(load, FAIL, share, tuple(places), DIED)
    if flaws and not sound:
        return Level(load, LIMITED, share, tuple(places), flaws[-1])
    return Level(load, share.state(settings.target), share, tuple(places))


def _points(levels: Sequence[Level]) -> list[Point]:
    return [Point(each.load, each.attainment.share, each.requests, each.attainment.dependence)
            for each in levels if each.attainment.share is not None and each.flaw is None]


def _interval(settings: SearchSettings, low: float | None, high: float | None, curve: Crossing | None
              ) -> tuple[float | None, tuple[float | None, float | None]]:
    """The estimate and its interval: the curve's, else the bracket. Users are whole: the highest number that passes is
    below the lowest that fails."""
    if settings.unit != USERS:
        if curve is not None:
            return curve.load, (curve.low, curve.high)
        middle = math.sqrt(low * high) if low and high else low
        return middle, (low, high)
    top = None if high is None else high - 1
    if curve is not None:
        ends = [min(max(math.floor(each), present(low)), present(top)) for each in (curve.load, curve.low, curve.high)]
        return ends[0], (ends[1], ends[2])
    middle = math.floor(math.sqrt(low * top)) if low and top else low
    return middle, (low, top)


# ---- steps

def _bracket(settings: SearchSettings, known: Knowledge) -> Step | None:
    """Until something surely passes and something is surely too much, or is the limit."""
    levels, first = known.levels, settings.first_requests
    if known.sure_fail is None and known.limit is None:
        top = levels[-1]
        return Step("bracket", top.load * 2, first)
    if known.sure_pass is None:
        least = levels[0].load
        if settings.unit == USERS and least <= 1:
            alone = levels[0]
            return None if alone.state == UNDECIDED else Step("below_least")
        if known.sure_fail is None and settings.start > least * 2**10:
            return Step("limited")
        if least < settings.start / 2**12:
            return Step("below_least")
        return Step("bracket", max(1, round(least / 2)) if settings.unit == USERS else least / 2, first)
    return None


def _confirm(settings: SearchSettings, known: Knowledge) -> Step | None:
    """Where the search would end, both ends need runs of two seeds."""
    if not _is_close(settings, known):
        return None
    usable = [each for each in known.levels if each.state != LIMITED]
    for end in _around(usable, present(known.sure_pass if known.estimate is None else known.estimate)):
        if end is not None and len(end.runs) < 2 and end.flaw is None:
            return Step("confirm", end.load, max(settings.first_requests, end.requests))
    return None


def _settled(settings: SearchSettings, known: Knowledge) -> Step | None:
    if not _is_close(settings, known):
        return None
    if known.sure_fail is None:
        return Step(known.flaw or LIMITED)
    if settings.unit == USERS and known.sure_pass is not None and known.sure_fail - known.sure_pass == 1:
        return Step("neighbours")
    return Step("precision")


def _is_close(settings: SearchSettings, known: Knowledge) -> bool:
    """Whether the interval, or the bracket, is within the precision."""
    top = known.sure_fail if known.sure_fail is not None else known.limit
    if known.sure_pass is None or top is None:
        return False
    if _adjoin(settings, known.sure_pass, top):
        return True
    return (known.sure_fail is not None and known.low is not None and known.low > 0 and known.high is not None
            and _adjoin(settings, known.low, known.high + (settings.unit == USERS)))


def _rests_on_enough(settings: SearchSettings, levels: Sequence[Level], crossing_load: float) -> bool:
    """Whether the levels next to the crossing were measured long enough that their own intervals can be believed: else
    the interval is the bracket."""
    reach = 1.0 + 1.6 * settings.precision
    return all(end is not None and end.requests >= LEAST_WORTH * end.attainment.dependence
               and (max(end.load, crossing_load) / min(end.load, crossing_load) <= reach
                    or (settings.unit == USERS and abs(end.load - crossing_load) < 2.0))
               for end in _around(levels, crossing_load))


def _adjoin(settings: SearchSettings, low: float, high: float) -> bool:
    """Whether nothing worth measuring is between two loads."""
    return high <= low * (1.0 + settings.precision) or (settings.unit == USERS and high - low <= 1)


def _around(levels: Sequence[Level], load: float) -> tuple[Level | None, Level | None]:
    """The levels next to a load, below and above: what an estimate rests on."""
    below = [each for each in levels if each.load <= load]
    above = [each for each in levels if each.load > load]
    return (below[-1] if below else None), (above[0] if above else None)


def _narrow(settings: SearchSettings, known: Knowledge) -> Step:
    """Bisect; once a curve says where the crossing is, measure next to it on both sides, ever longer."""
    top = present(known.sure_fail if known.sure_fail is not None else known.limit)
    low = known.sure_pass if known.sure_pass is not None else 0.0
    open_levels = [each for each in known.levels if each.state == UNDECIDED and low < each.load < top]
    if known.crossing is not None:
        return _beside(settings, known, known.crossing.load)
    if not open_levels:
        return Step("bisect", _middle(settings, low, top), settings.first_requests)
    least = min(open_levels, key=lambda each: each.requests)
    if least.requests < 2 * settings.first_requests:
        return Step("longer", least.load, least.requests)
    loads = [low, *(each.load for each in open_levels), top]
    gaps = [(above / below, _middle(settings, below, above)) for below, above in pairwise(loads)
            if below > 0 and not _adjoin(settings, below, above)]
    if gaps:
        return Step("bisect", max(gaps)[1], settings.first_requests)
    return _longer(settings, least)


def _beside(settings: SearchSettings, known: Knowledge, crossing_load: float) -> Step:
    """The levels next to the crossing, below and above, take turns; where there is none within reach, one is made."""
    reach = 1.0 + 1.6 * settings.precision
    aside = 1.0 + 0.8 * settings.precision
    loads = {each.load: each for each in known.levels if each.flaw is None}
    choices: list[tuple[int, float]] = []
    for side in (-1, 1):
        near = [each for each in loads.values() if 0 <= side * math.log(each.load / crossing_load) <= math.log(reach)]
        load = crossing_load * aside**side
        if settings.unit == USERS:
            whole = math.floor(load) if side < 0 else math.ceil(load)
            load = max(1, whole)
        best = max(near, key=lambda each: each.requests, default=loads.get(load))
        choices.append((best.requests, best.load) if best is not None else (0, load))
    requests, load = min(choices)
    return _longer(settings, loads[load]) if requests else Step("bisect", load, settings.first_requests)


def _longer(settings: SearchSettings, level: Level) -> Step:
    if level.requests >= settings.first_requests * 2**settings.most_doublings:
        return Step("undecided")
    return Step("longer", level.load, level.requests)


def _middle(settings: SearchSettings, low: float, high: float) -> float:
    middle = math.sqrt(low * high)
    if settings.unit != USERS:
        return middle
    return min(max(round(middle), math.floor(low) + 1), math.ceil(high) - 1)
