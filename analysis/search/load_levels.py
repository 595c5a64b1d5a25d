"""The loads of a capacity search: what was measured at each, and whether it certainly passes or fails. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tokenswarm.analysis.search.attainment import (
    BORROWED,
    ERROR,
    LEAST_DEPENDENCE,
    Attainment,
    Blocks,
    ShownDependence,
    attainment,
    dependence,
    dependence_of_the_slowest,
    error_of_a_look,
    fewest_requests,
    of_few,
)
from tokenswarm.analysis.search.margin_line import MarginRun

USERS, RATE = "users", "requests_s"
PASS, FAIL, UNDECIDED, LIMITED = "pass", "fail", "undecided", "limited"
DIED, REFUSED, OVERLOADED, CUT = "died", "refused", "overloaded", "cut"
"""Flaws of a run, in addition to LIMITED.

- DIED: its engine ended
- REFUSED: its engine refused requests because of a rate limit (429)
- OVERLOADED: its engine did not keep up with the arrivals, so a longer run would only be worse
- CUT: it was interrupted, so slow answers are missing, and it is no evidence
"""
MOST_LEVELS = 16
FAR_BELOW = 1.5
"""A load this many times lower than any with good and bad requests is not near the target."""
NEAR_TARGET = 4.0
"""Levels with up to this many times more or fewer bad requests than the target allows show how they cluster there."""


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """The settings of a search.

    - start: the first load
    - target: the share of requests that must meet every limit
    - precision: how much higher than the certain pass the certain fail may be at the end (0.1: 10%)
    """

    start: float
    unit: str = USERS
    target: float = 0.95
    precision: float = 0.10
    error: float = ERROR
    first_look: int | None = None
    """Requests of the first run at a load; None: as few as can decide."""
    most_doublings: int = 5
    """A load is measured until it has had its first run's requests doubled this many times."""
    most_levels: int = MOST_LEVELS

    @property
    def first_requests(self) -> int:
        return self.first_look or fewest_requests(self.target, error_of_a_look(self.error))


@dataclass(frozen=True, slots=True)
class LoadEvidence:
    """One run at one load.

    `flaw`: why it is no evidence (LIMITED, REFUSED, CUT), or that its engine DIED or was OVERLOADED. `why`: the same in
    a sentence.
    """

    load: float
    blocks: Blocks
    flaw: str | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Level:
    """All runs at one load, and their combined result. `runs`: their positions in the list of evidence."""

    load: float
    state: str
    attainment: Attainment
    runs: tuple[int, ...]
    flaw: str | None = None
    why: str = ""

    @property
    def requests(self) -> int:
        return self.attainment.requests


@dataclass(frozen=True, slots=True)
class LoadRuns:
    """The runs at one load: their positions (`places`) in the list of evidence, and the dependence that the sound ones
    show.
    """

    load: float
    places: tuple[int, ...]
    runs: tuple[LoadEvidence, ...]
    own: ShownDependence
    slowest: ShownDependence
    """The dependence shown by each run's own slowest requests, whether bad or not."""

    @property
    def sound(self) -> list[Blocks]:
        return _sound(self.runs)


def _sound(runs: Sequence[LoadEvidence]) -> list[Blocks]:
    return [each.blocks for each in runs if each.flaw not in (LIMITED, REFUSED)]


def by_load(evidence: Sequence[LoadEvidence]) -> list[LoadRuns]:
    loads: dict[float, list[int]] = {}
    for place, each in enumerate(evidence):
        if each.flaw != CUT:
            loads.setdefault(each.load, []).append(place)
    everywhere = []
    for load, places in sorted(loads.items()):
        runs = tuple(evidence[place] for place in places)
        sound = _sound(runs)
        everywhere.append(LoadRuns(load, tuple(places), runs, dependence(sound), dependence_of_the_slowest(sound)))
    return everywhere


def usual_at(loads: Sequence[LoadRuns], here: LoadRuns, usual: float) -> float:
    """What a load may borrow of the `usual` dependence: all of it, but nothing if it is far below every load with good
    and bad requests, because it is then not at the target.
    """
    lowest = min((each.load for each in loads if each.own.batches > 0), default=here.load)
    return usual if here.load * FAR_BELOW >= lowest else LEAST_DEPENDENCE


def usual_dependence(settings: SearchSettings, loads: Sequence[LoadRuns]) -> float:
    """How many requests count as one at a load that just meets the target: from loads whose share of bad requests is
    close to the allowed one, else from any with good and bad requests.
    """
    mixed = [each for each in loads if each.own.batches > 0]
    near = [
        each for each in mixed if abs(math.log(_bad_share(each) / (1.0 - settings.target))) <= math.log(NEAR_TARGET)
    ]
    mixed = near or mixed
    if not mixed:
        return LEAST_DEPENDENCE
    weights = [each.own.batches for each in mixed]
    return float(np.average([each.own.factor / more_there(settings, each) for each in mixed], weights=weights))


def _bad_share(here: LoadRuns) -> float:
    sent = sum(run.requests for run in here.sound)
    return 1.0 - sum(sum(run.good) for run in here.sound) / sent if sent else 0.0


def more_there(settings: SearchSettings, here: LoadRuns) -> float:
    """How many times more requests count as one at a load than at one that just meets the target.

    The longer a queue is, the longer it stays: in four simulated queues the dependence grew roughly as the square root
    of the share of bad requests.
    """
    times = _bad_share(here) / (1.0 - settings.target)
    return math.sqrt(min(max(times, 1.0 / NEAR_TARGET), NEAR_TARGET))


def margin_runs(loads: Sequence[LoadRuns]) -> list[MarginRun]:
    """Every sound run. The slowest requests cluster similarly at all loads, so a short run borrows this from longer
    ones at any load.
    """
    shown = [(each.slowest.factor, sum(run.requests for run in each.sound)) for each in loads if each.slowest.batches]
    if not shown:
        return []
    usual = float(np.average([factor for factor, _ in shown], weights=[requests for _, requests in shown]))
    alive = [each for each in loads if not any(run.flaw == DIED for run in each.runs)]
    return [
        MarginRun(here.load, run.steps, here.slowest.with_usual(usual) * of_few(here.slowest.batches + BORROWED))
        for here in alive
        for run in here.sound
        if any(run.steps)
    ]


def level_of_load(settings: SearchSettings, here: LoadRuns, usual: float) -> Level:
    load, runs, sound, whole = here.load, here.runs, here.sound, here.places
    flawed = [each for each in runs if each.flaw in (LIMITED, REFUSED)]
    share = attainment(sound, error_of_a_look(settings.error), usual)
    if any(each.flaw == DIED for each in runs):
        return Level(load, FAIL, share, whole, DIED)
    if flawed and not sound:
        return Level(load, LIMITED, share, whole, flawed[-1].flaw, flawed[-1].why)
    seems_bad = share.share is not None and share.share < settings.target
    if seems_bad and all(each.flaw == OVERLOADED for each in runs if each.flaw not in (LIMITED, REFUSED)):
        return Level(load, FAIL, share, whole, OVERLOADED)
    return Level(load, share.state(settings.target), share, whole)
