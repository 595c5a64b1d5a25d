"""The search for the highest load within the limits: what to measure next, and what is known so far.

A pure function of all measurements: the same runs give the same next step, so a search can be resumed.

1. Bracket: double (or halve) the load until one level seems to pass and one to fail. A short run is enough for that.
2. Bisect, by the geometric mean, until the two are close or neighbouring numbers of users.
3. Narrow: if attainment falls gradually, a curve through the levels gives the crossing with the target
   (`capacity_estimate`). The loads on both sides of it are measured, each time twice as long, until its interval is
   within the precision. If attainment falls off a cliff, the two sides are measured until both are certain.
4. Confirm: the certain pass and the certain fail need runs with two seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tokenswarm.analysis.search.attainment import of_few
from tokenswarm.analysis.search.capacity_estimate import Crossing, LoadPoint, crossing, is_cliff
from tokenswarm.analysis.search.load_levels import (
    DIED,
    FAIL,
    LIMITED,
    OVERLOADED,
    PASS,
    UNDECIDED,
    USERS,
    Level,
    LoadEvidence,
    LoadRuns,
    SearchSettings,
    by_load,
    level_of_load,
    margin_runs,
    more_there,
    usual_at,
    usual_dependence,
)
from tokenswarm.analysis.search.margin_line import concentrated_runs, margin_crossing

from tokenswarm.base.presence import present

LEAST_WORTH = 20
"""Independent requests on each side of the crossing before a curve through it can end a search.

Shorter runs do not show how long a queue persists, and their intervals are too narrow (Law, Simulation Modeling and
Analysis, section 9.5.3).
"""
LONG = 4
"""A run that locates the crossing has this many times the requests of a first look. A shorter run near capacity ends
before the queue has reached its full length, and shows too good an attainment.
"""
SURELY = 1.5
"""At this many times the distance from the crossing to the end of its 95% interval, a normal distribution has the error
of one look.
"""
BY_THE_CURVE = "by the curve through all levels"
FAR_DOWN = 5.0
"""A level with this many times the bad requests that the target allows is no longer beside the crossing."""
NEARLY, AT_LAST = 1.5, 1.1
"""The interval was within this multiple of the precision before the last runs, and is within the second one after
them.
"""
NEARLY_ALL, NEARLY_NONE = 0.99, 0.05
"""Attainment of the sure pass and the sure fail around a cliff."""
_FAR = 1.15
"""A load this many times further from the crossing is cheap to decide."""


@dataclass(frozen=True, slots=True)
class SearchStep:
    """The next step: measure `requests` at `load`, or stop (`load` is None). `why`: in one word (docs/capacity.md)."""

    why: str
    load: float | None = None
    requests: int = 0


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What the levels show.

    - sure_pass, sure_fail: loads, None if there is none
    - limit: the lowest load at which something other than the engine was the limit
    - non_monotone: a load above the certain fail passes certainly
    """

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
    """The flaw of the level at `limit`."""
    crossing: Crossing | None = None
    """Where a curve through the levels falls to the target; None if no curve is fitted."""
    trusted: bool = False
    """Whether the interval is the curve's, not the bracket."""
    concentrated: bool = False
    """Whether there are levels whose margins are more informative than their shares (`margin_line`)."""


def judge(settings: SearchSettings, evidence: Sequence[LoadEvidence]) -> Knowledge:
    """What all runs together show."""
    loads = by_load(evidence)
    usual = usual_dependence(settings, loads)
    levels = [level_of_load(settings, each, usual_at(loads, each, usual)) for each in loads]
    low, high, _ = _sure_ends(levels)
    points = _points(settings, loads, usual)
    ends_of_curve = (low or points[0].load / 2.0, high or points[-1].load * 2.0) if len(points) > 1 else (0.0, 0.0)
    runs = margin_runs(loads)
    concentrated = concentrated_runs(runs, settings.target)
    falls_at_once = _falls_at_once(levels, low, high)
    line = None if falls_at_once else margin_crossing(runs, concentrated, settings.target)
    if falls_at_once:
        curve: Crossing | None = None
        trusted = False
    elif line is not None:
        curve = Crossing(line.load, line.low, line.high)
        trusted = line.rests_on_enough
    else:
        curve = crossing(points, settings.target, ends_of_curve)
        trusted = curve is not None and _rests_on_enough(settings, points, curve.load)
    if trusted:
        levels = [_by_the_curve(settings, each, present(curve)) for each in levels]
    low, high, non_monotone = _sure_ends(levels)
    limits = [each for each in levels if each.state == LIMITED and (high is None or each.load < high)]
    limit = min(limits, key=lambda each: each.load, default=None)
    estimate, ends = _interval(settings, low, high, curve if trusted else None, curve.load if curve else None)
    return Knowledge(
        tuple(levels),
        low,
        high,
        limit.load if limit else None,
        estimate,
        *ends,
        cliff=falls_at_once or (line is None and is_cliff(points, settings.target)),
        non_monotone=non_monotone,
        flaw=limit.flaw if limit else None,
        crossing=curve,
        trusted=trusted,
        concentrated=bool(concentrated),
    )


def _sure_ends(levels: Sequence[Level]) -> tuple[float | None, float | None, bool]:
    """The highest certain pass below the lowest certain fail, that fail, and whether something above it passes."""
    high = min((each.load for each in levels if each.state == FAIL), default=None)
    passes = [each.load for each in levels if each.state == PASS]
    below = [load for load in passes if high is None or load < high]
    return max(below, default=None), high, len(below) < len(passes)


def _falls_at_once(levels: Sequence[Level], low: float | None, high: float | None) -> bool:
    """Whether attainment falls from nearly all to nearly none between the sure pass and the sure fail, with no level
    between them: no curve is fitted through such a cliff, whatever the margins say."""
    if low is None or high is None:
        return False
    shares = [
        each.attainment.share for each in levels if low <= each.load <= high and each.attainment.share is not None
    ]
    return len(shares) == 2 and shares[0] >= NEARLY_ALL and shares[1] <= NEARLY_NONE


def _by_the_curve(settings: SearchSettings, level: Level, curve: Crossing) -> Level:
    """An undecided level may be decided by all levels together, if it is far enough from the crossing of the curve that
    a look would not be wrong about it.
    """
    share = level.attainment.share
    if level.state != UNDECIDED or share is None:
        return level
    if level.load <= curve.load * (curve.low / curve.load) ** SURELY and share >= settings.target:
        return replace(level, state=PASS, why=BY_THE_CURVE)
    if level.load >= curve.load * (curve.high / curve.load) ** SURELY and share < settings.target:
        return replace(level, state=FAIL, why=BY_THE_CURVE)
    return level


def next_step(settings: SearchSettings, evidence: Sequence[LoadEvidence]) -> SearchStep:
    """What to measure next, or that the search is over."""
    known = judge(settings, evidence)
    if not known.levels:
        return SearchStep("bracket", settings.start, settings.first_requests)
    if len(known.levels) >= settings.most_levels:
        return SearchStep("levels")
    return (
        _again(settings, known)
        or _bracket(settings, known)
        or (_confirm(settings, known) or _settled(settings, known) if _is_close(settings, known, evidence) else None)
        or _narrow(settings, known)
    )


def _points(settings: SearchSettings, loads: Sequence[LoadRuns], usual: float) -> list[LoadPoint]:
    """Every sound run; runs at the same load share their dependence."""
    points = []
    for here in loads:
        if any(each.flaw == DIED for each in here.runs):
            continue
        runs = [each.blocks for each in here.runs if each.flaw in (None, OVERLOADED) and each.blocks.requests]
        shared = here.own.with_usual(usual * more_there(settings, here)) * of_few(here.own.batches)
        points += [LoadPoint(here.load, sum(run.good) / run.requests, run.requests, shared) for run in runs]
    long = [point for point in points if point.requests >= LONG * settings.first_requests / 2]
    return long if len({point.load for point in long}) > 2 else points


def _interval(
    settings: SearchSettings, low: float | None, high: float | None, curve: Crossing | None, guess: float | None
) -> tuple[float | None, tuple[float | None, float | None]]:
    """The estimate and its interval: the curve's, else the bracket, with the `guess` of a curve that is not trusted.

    Users are integers: the highest number that passes is below the lowest that fails.
    """
    if settings.unit != USERS:
        if curve is not None:
            return curve.load, (curve.low, curve.high)
        middle = guess or (math.sqrt(low * high) if low and high else None)
        return middle, (low, high)
    top = None if high is None else high - 1
    least, most = low or 0.0, math.inf if top is None else top
    if curve is not None:
        ends = [min(max(math.floor(each), least), most) for each in (curve.load, curve.low, curve.high)]
        return ends[0], (ends[1], ends[2])
    middle = math.floor(guess) if guess else math.floor(math.sqrt(low * top)) if low and top else None
    return None if middle is None else min(max(middle, least), most), (low, top)


# ---- steps


def _seems_good(settings: SearchSettings, level: Level) -> bool:
    """Whether a level passes, or seems to from its few requests."""
    share = level.attainment.share
    return level.state == PASS or (level.state == UNDECIDED and share is not None and share >= settings.target)


def _seeming(settings: SearchSettings, known: Knowledge) -> tuple[Level | None, Level | None]:
    """The loads between which the capacity seems to be: the highest that seems to pass, below the lowest that does not
    (or where something other than the engine was the limit).
    """
    above = [
        each
        for each in known.levels
        if not _seems_good(settings, each)
        and (known.sure_pass is None or each.load > known.sure_pass or each.state == FAIL)
    ]
    top = above[0] if above else None
    below = [each for each in known.levels if _seems_good(settings, each) and (top is None or each.load < top.load)]
    return (below[-1] if below else None), top


def _again(settings: SearchSettings, known: Knowledge) -> SearchStep | None:
    """One disturbance of the load generator is not taken as the limit: the load is measured once more first."""
    for each in known.levels:
        if each.state == LIMITED and each.flaw == LIMITED and len(each.runs) < 2:
            return SearchStep("again", each.load, settings.first_requests)
    return None


def _bracket(settings: SearchSettings, known: Knowledge) -> SearchStep | None:
    """Continue until one load seems to pass and one to be too much."""
    low, top = _seeming(settings, known)
    if top is None:
        return SearchStep("bracket", known.levels[-1].load * 2, settings.first_requests)
    if low is not None:
        return None
    least = known.levels[0]
    at_the_end = settings.unit == USERS and least.load <= 1
    if at_the_end and least.state == UNDECIDED:
        return _longer(settings, least)
    if at_the_end or least.load < settings.start / 2**12:
        return SearchStep(top.flaw or LIMITED) if top.state == LIMITED else SearchStep("below_least")
    return SearchStep(
        "bracket", max(1, round(least.load / 2)) if settings.unit == USERS else least.load / 2, settings.first_requests
    )


def _confirm(settings: SearchSettings, known: Knowledge) -> SearchStep | None:
    """Both ends of the final bracket need runs with two seeds."""
    usable = [each for each in known.levels if each.state != LIMITED]
    for end in _around(usable, present(known.sure_pass if known.estimate is None else known.estimate)):
        if end is not None and len(end.runs) < 2 and end.flaw is None:
            return SearchStep("confirm", end.load, max(settings.first_requests, end.requests))
    return None


def _settled(settings: SearchSettings, known: Knowledge) -> SearchStep:
    if known.sure_fail is None:
        return SearchStep(known.flaw or LIMITED)
    if settings.unit == USERS and known.sure_pass is not None and known.sure_fail - known.sure_pass == 1:
        return SearchStep("neighbours")
    return SearchStep("precision")


def _is_close(settings: SearchSettings, known: Knowledge, evidence: Sequence[LoadEvidence]) -> bool:
    """Whether the bracket is within the precision, or the interval is now and nearly was before the last runs."""
    top = known.sure_fail if known.sure_fail is not None else known.limit
    if known.sure_pass is None or top is None:
        return False
    if _adjoin(settings, known.sure_pass, top):
        return True
    if known.sure_fail is None or not _is_within(settings, known, AT_LAST):
        return False
    return not known.trusted or _is_within(
        settings, judge(settings, _before_the_last(settings, known, evidence)), NEARLY
    )


def _is_within(settings: SearchSettings, known: Knowledge, times: float) -> bool:
    """Whether the interval is within this multiple of the precision."""
    if not known.low or known.high is None:
        return False
    wider = replace(settings, precision=times * settings.precision)
    return _adjoin(wider, known.low, known.high + (settings.unit == USERS))


def _before_the_last(
    settings: SearchSettings, known: Knowledge, evidence: Sequence[LoadEvidence]
) -> list[LoadEvidence]:
    """The evidence without the last run beside the crossing, on either side.

    An interval is narrow if, by chance, few requests were bad. A search that stopped as soon as it is narrow would stop
    at such times, with a result that is too high. So the search first notices that the interval is nearly narrow
    enough; the runs that follow, whose length does not depend on their results, are then part of the result.
    """
    crossing_load = present(known.crossing).load
    last: dict[bool, int] = {}
    for place, each in enumerate(evidence):
        if each.flaw in (None, OVERLOADED) and _within_reach(settings, each.load, crossing_load):
            last[each.load > crossing_load] = place
    return [each for place, each in enumerate(evidence) if place not in last.values()]


def _rests_on_enough(settings: SearchSettings, points: Sequence[LoadPoint], crossing_load: float) -> bool:
    """Whether the runs beside the crossing, on either side, have enough independent requests to trust the curve's
    interval; otherwise the interval is the bracket.
    """
    near = [point for point in points if _within_reach(settings, point.load, crossing_load)]
    sides = (
        [point for point in near if point.load <= crossing_load],
        [point for point in near if point.load > crossing_load],
    )
    return all(
        len(side) > 1 and sum(point.requests / point.dependence for point in side) >= LEAST_WORTH for side in sides
    )


def _within_reach(settings: SearchSettings, load: float, crossing_load: float) -> bool:
    return max(load, crossing_load) / min(load, crossing_load) <= 1.0 + 1.6 * settings.precision or (
        settings.unit == USERS and abs(load - crossing_load) < 2.0
    )


def _adjoin(settings: SearchSettings, low: float, high: float) -> bool:
    """Whether nothing worth measuring lies between two loads."""
    return high <= low * (1.0 + settings.precision) or (settings.unit == USERS and high - low <= 1)


def _around(levels: Sequence[Level], load: float) -> tuple[Level | None, Level | None]:
    """The levels next to a load, below and above, on which an estimate rests."""
    below = [each for each in levels if each.load <= load]
    above = [each for each in levels if each.load > load]
    return (below[-1] if below else None), (above[0] if above else None)


def _narrow(settings: SearchSettings, known: Knowledge) -> SearchStep:
    """Bisect between the seeming pass and the seeming fail; once they are close, measure both sides of the crossing for
    longer.
    """
    low, top = _seeming(settings, known)
    assert low is not None and top is not None, "the bracket comes before"
    apart = 1.0 if _is_blank(low) or _is_blank(top) else 2.0
    if not _adjoin(replace(settings, precision=apart * settings.precision), low.load, top.load):
        return SearchStep("bisect", _middle(settings, low.load, top.load), settings.first_requests)
    if known.crossing is not None and top.state != LIMITED:
        return _ends(settings, known) or _beside(settings, known, known.crossing.load)
    if not _adjoin(settings, low.load, top.load):
        return SearchStep("bisect", _middle(settings, low.load, top.load), settings.first_requests)
    unsure = [each for each in (low, top) if each.state == UNDECIDED]
    return _longer(settings, min(unsure, key=lambda each: each.requests)) if unsure else _between(settings, known)


def _is_blank(level: Level) -> bool:
    """Whether all requests of a level were good, or all bad. It does not show how attainment falls beside it, so a
    curve from there over more than the precision would be a guess.
    """
    return level.attainment.share in (0.0, 1.0)


def _between(settings: SearchSettings, known: Knowledge) -> SearchStep:
    """Both sides of a cliff are certain, but a level between or around them is not: measure the least known one."""
    open_levels = [each for each in known.levels if each.state == UNDECIDED]
    return (
        _longer(settings, min(open_levels, key=lambda each: each.requests)) if open_levels else SearchStep("undecided")
    )


def _ends(settings: SearchSettings, known: Knowledge) -> SearchStep | None:
    """For a curve within the precision, find a certain pass and a certain fail: if one is missing, measure a load far
    enough from the crossing to be decided cheaply.
    """
    curve = present(known.crossing)
    if known.concentrated and not known.trusted:
        return None  # if all are good or bad there, this would take tens of thousands of requests; the line decides
    if not _adjoin(replace(settings, precision=AT_LAST * settings.precision), curve.low, curve.high):
        return None
    for side, sure in ((-1, known.sure_pass), (1, known.sure_fail)):
        if sure is not None:
            continue
        tried = [
            each
            for each in known.levels
            if side * math.log(each.load / curve.load) >= math.log(_FAR) and each.state == UNDECIDED
        ]
        if not tried:
            load = curve.load * (1.4 * _FAR - 0.4) ** side
            return SearchStep(
                "confirm", max(1, round(load)) if settings.unit == USERS else load, settings.first_requests
            )
        nearest = min(tried, key=lambda each: abs(math.log(each.load / curve.load)))
        return _longer(settings, nearest)
    return None


def _beside(settings: SearchSettings, known: Knowledge, crossing_load: float) -> SearchStep:
    """The levels next to the crossing, below and above, alternate; if none is within reach, one is created."""
    reach = 1.0 + 1.6 * settings.precision
    aside = 1.0 + 0.8 * settings.precision
    loads = {each.load: each for each in known.levels if each.flaw is None}
    choices: list[tuple[int, float]] = []
    for side in (-1, 1):
        near = [
            each
            for each in loads.values()
            if 0 <= side * math.log(each.load / crossing_load) <= math.log(reach) and not _is_far_down(settings, each)
        ]
        load = crossing_load * aside**side
        if settings.unit == USERS:
            whole = math.floor(load) if side < 0 else math.ceil(load)
            load = max(1, whole)
        best = max(near, key=lambda each: each.requests, default=loads.get(load))
        choices.append((best.requests, best.load) if best is not None else (0, load))
    requests, load = min(choices)
    least = LONG * settings.first_requests
    if not requests:
        return SearchStep("bisect", load, least)
    step = _longer(settings, loads[load])
    return replace(step, requests=max(least, step.requests)) if step.load is not None else step


def _is_far_down(settings: SearchSettings, level: Level) -> bool:
    """Whether a level has so many bad requests that a line from there to the target would be a guess: attainment falls
    faster and faster if all requests of a batch are late together.
    """
    return 1.0 - present(level.attainment.share) > FAR_DOWN * (1.0 - settings.target)


def _longer(settings: SearchSettings, level: Level) -> SearchStep:
    if level.requests >= settings.first_requests * 2**settings.most_doublings:
        return SearchStep("undecided")
    return SearchStep("longer", level.load, max(level.requests, settings.first_requests))


def _middle(settings: SearchSettings, low: float, high: float) -> float:
    middle = math.sqrt(low * high)
    if settings.unit != USERS:
        return middle
    return min(max(round(middle), math.floor(low) + 1), math.ceil(high) - 1)
