"""A quick capacity search: a figure for a race of settings, not an answer with an interval.

A race compares many candidates and measures each survivor in every round, so one round's figure may be rough: the
race's own residual includes its error. The load goes up (or down) until one level seems to pass and one to fail, the
two are bisected until they are close, and a curve through the loads around them gives the crossing with the target. A
candidate that was searched before starts from its previous result, with smaller steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tokenswarm.analysis.search.capacity_estimate import CLIFF_FROM, CLIFF_TO, LoadPoint, line_crossing
from tokenswarm.analysis.search.capacity_search import SearchStep
from tokenswarm.analysis.search.load_levels import DIED, LIMITED, REFUSED, USERS, LoadEvidence

STRIDE, NEAR_STRIDE = 2.0, 1.25
"""Factors from one load to the next, in a first search and in later ones."""
NEAR = 1.15
"""Ratio at which the seeming pass and fail are close enough."""
REQUESTS = 400
"""Requests of one run."""
_MOST_RUNS = 14
_FARTHEST = 2.0**10
"""Largest multiple of the first load that is tried, up and down."""


@dataclass(frozen=True, slots=True)
class QuickSearch:
    """The settings of a search. `start`: the first load. `known`: it is about the capacity, from an earlier search."""

    start: float
    unit: str
    target: float = 0.95
    requests: int = REQUESTS
    known: bool = False

    def next_step(self, evidence: Sequence[LoadEvidence]) -> SearchStep:
        """What to measure next, or why the search is over: `precision`, `levels`, `below_least`, `limited` or
        `refused`.
        """
        if not evidence:
            return self._at(self.start, "bracket")
        last = evidence[-1]
        if last.flaw == REFUSED:
            return SearchStep(REFUSED)
        if last.flaw == LIMITED:
            once = len(evidence) < 2 or evidence[-2].load != last.load or evidence[-2].flaw != LIMITED
            return self._at(last.load, "again") if once else SearchStep(LIMITED)
        if len(evidence) >= _MOST_RUNS:
            return SearchStep("levels")
        low, high = self._around(evidence)
        stride = NEAR_STRIDE if self.known else STRIDE
        if high is None:
            load = self._whole((1.0 if low is None else low) * stride, up=True)
            return self._at(load, "bracket") if load <= self.start * _FARTHEST else SearchStep("levels")
        if low is None:
            if high < self.start / _FARTHEST or (self.unit == USERS and high <= 1):
                return SearchStep("below_least")
            return self._at(self._whole(high / stride, up=False), "bracket")
        if high <= low * NEAR or (self.unit == USERS and high - low <= 1):
            return SearchStep("precision")
        middle = math.sqrt(low * high)
        return self._at(min(max(round(middle), low + 1), high - 1) if self.unit == USERS else middle, "bisect")

    def estimate(self, evidence: Sequence[LoadEvidence]) -> float | None:
        """The load at which attainment crosses the target; None until it lies between two loads."""
        low, high = self._around(evidence)
        if low is None or high is None:
            return None
        levels = self._levels(evidence)
        shares = {load: share for load, share, _ in levels}
        if shares[high] <= CLIFF_TO and shares[low] >= CLIFF_FROM:  # a cliff: no curve
            return math.sqrt(low * high)
        points = [
            LoadPoint(load, share, requests, 1.0)
            for load, share, requests in levels
            if low / NEAR**2 <= load <= high * NEAR**2
        ]
        crossed = line_crossing(points, self.target)
        return math.sqrt(low * high) if crossed is None else min(max(crossed, low / NEAR), high * NEAR)

    def _around(self, evidence: Sequence[LoadEvidence]) -> tuple[float | None, float | None]:
        """The lowest load that seems to fail, and the highest below it that seems to pass."""
        levels = self._levels(evidence)
        high = min((load for load, share, _ in levels if share < self.target), default=None)
        below = [load for load, share, _ in levels if share >= self.target and (high is None or load < high)]
        return max(below, default=None), high

    def _levels(self, evidence: Sequence[LoadEvidence]) -> list[tuple[float, float, int]]:
        """Load, attainment and requests of each level measured; if the engine died, attainment is 0."""
        levels: dict[float, tuple[float, int]] = {}
        for each in evidence:
            if each.flaw in (LIMITED, REFUSED) or (not each.blocks.requests and each.flaw != DIED):
                continue
            good, sent = levels.get(each.load, (0.0, 0))
            mine = 0 if each.flaw == DIED else sum(each.blocks.good)
            levels[each.load] = (good + mine, sent + max(1, each.blocks.requests))
        return [(load, good / sent, sent) for load, (good, sent) in sorted(levels.items())]

    def _whole(self, load: float, up: bool) -> float:
        if self.unit != USERS:
            return load
        return float(math.ceil(load) if up else max(1, math.floor(load)))

    def _at(self, load: float, why: str) -> SearchStep:
        return SearchStep(why, float(max(1, round(load))) if self.unit == USERS else load, self.requests)
