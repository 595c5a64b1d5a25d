"""Where the latency with the target reaches its limit: a line through the levels of a search.

If all requests that are computed together take about equally long, nearly all are in time at one load and nearly none a
few percent above it, while the latency itself grows slowly with the load. The share of good requests then says hardly
anything: all may be good but nearly late, and waves in which all are late together count as one. The margin, a
request's worst latency as a share of its limit, is informative at every load: near the crossing the logarithm of its
quantile is about a straight line over the logarithm of the load.

So the margins of all runs near the crossing are moved along that line to one load and pooled. The variation from run to
run belongs to their distribution; the quantile of a short run by itself is too low, because it saw only part of a wave.
The crossing is where the target's quantile of the pooled margins is at the limit.

This is used only if the margins are CONCENTRATED: the quantiles of a run, from four times the allowed share of bad
requests down to a quarter of it, lie within a few percent. Waits in a queue, stalls and errors are not like that; there
the shares are used (`capacity_estimate`).

The error of a quantile is that of the share beyond it (Woodruff, JASA 47, 1952), with the number of independent
requests: from the dependence within a run over time, or from the differences between runs, whichever is larger
(Cochran, Sampling Techniques, section 9A, with the runs as clusters).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

STEP, REACH = 0.005, 0.6
"""Margins are counted in steps of their logarithm, up to REACH on either side of the limit; values beyond are in the
first or last step.
"""
_STEPS = round(2 * REACH / STEP)
_EDGES = REACH - STEP * np.arange(_STEPS + 1)
"""Between the steps, from the highest one down."""
CONCENTRATED = 1.25
WIDE = 4.0
"""The quantiles with WIDE times and 1 / WIDE times the target's bad requests beyond them differ by at most the factor
CONCENTRATED.
"""
CLOSE = 1.1
"""On both sides of the crossing a run's quantile is within this factor of the limit. Otherwise it may jump there, and a
line through a jump is meaningless.
"""
WITHIN = 1.2
"""Levels within this factor of the crossing are used: further away the line bends."""
LEAST_WORTH = 10.0
"""Independent requests that the levels on either side of the crossing need before the line is trusted."""
_FEWEST = 4
_FARTHEST = 5.0
"""Largest distance of a crossing from the middle of the levels, as a logarithm, at which the line is trusted."""
_DRAWS = 1000
_TAILS = (2.5, 97.5)
_LOST = 0.025


@dataclass(frozen=True, slots=True)
class MarginRun:
    """One run: its load, its margins as counted by `steps_of`, and how many requests count as one within the run."""

    load: float
    steps: tuple[int, ...]
    dependence: float

    @property
    def requests(self) -> int:
        return sum(self.steps)


@dataclass(frozen=True, slots=True)
class MarginCrossing:
    """The load at which the line reaches the limit, its 95% interval, and whether both sides have enough data to trust
    it.
    """

    load: float
    low: float
    high: float
    rests_on_enough: bool


def steps_of(margin: np.ndarray) -> tuple[int, ...]:
    """The number of margins in each step."""
    with np.errstate(divide="ignore"):
        place = np.floor((np.log(margin) + REACH) / STEP)
    return tuple(np.bincount(np.clip(place, 0, _STEPS - 1).astype(int), minlength=_STEPS).tolist())


def is_concentrated(steps: Sequence[int], target: float) -> bool:
    """Whether the margins around the target's quantile are close together."""
    if not any(steps):
        return False
    ends = _quantiles(np.array(steps, dtype=float), np.array([(1.0 - target) * WIDE, (1.0 - target) / WIDE]))
    inside = ends[0] > STEP - REACH and ends[1] < REACH - STEP
    return bool(inside and ends[1] - ends[0] <= math.log(CONCENTRATED))


def concentrated_runs(runs: Sequence[MarginRun], target: float) -> list[MarginRun]:
    """The runs whose margins around the target's quantile are close together."""
    return [run for run in runs if is_concentrated(run.steps, target)]


def margin_crossing(
    runs: Sequence[MarginRun], concentrated: Sequence[MarginRun], target: float
) -> MarginCrossing | None:
    """Where the line reaches the limit; None if that is unknown, or runs around it are not among the `concentrated`."""
    line = _Line.through(concentrated, target)
    for _ in range(2):  # near the crossing of all runs, then near that of the selected ones
        if line is None:
            return None
        near = [run for run in runs if line.crossing / WITHIN <= run.load <= line.crossing * WITHIN]
        line = _Line.through(near, target) if all(run in concentrated for run in near) else None
    if line is None or not line.comes_close():
        return None
    roots = line.drawn_crossings()
    if np.isnan(roots).mean() > _LOST:
        return None
    low, high = (float(each) for each in np.nanpercentile(roots, _TAILS))
    best = line.crossing
    sides = ([run for run in near if run.load <= best], [run for run in near if run.load > best])
    enough = all(len(side) > 1 and line.worth(side) >= LEAST_WORTH for side in sides)
    return MarginCrossing(best, min(low, best), max(high, best), enough)


@dataclass(frozen=True, slots=True)
class _Line:
    """`slope`: of the logarithm of the target's quantile over that of the load, with its standard error.

    `middle`: mean of the logarithms of the loads. `pooled`: all margins, moved along the line to the middle, in steps.
    """

    runs: Sequence[MarginRun]
    target: float
    slope: float
    slope_error: float
    middle: float
    pooled: np.ndarray
    quantiles: np.ndarray
    """The logarithm of each run's margin at the target."""

    @classmethod
    def through(cls, runs: Sequence[MarginRun], target: float) -> _Line | None:
        """None if there are too few runs, or the line does not rise."""
        if len(runs) < _FEWEST or len({run.load for run in runs}) < 2:
            return None
        weight = np.array([run.requests for run in runs], dtype=float)
        loads, beyond = np.log([run.load for run in runs]), np.array([1.0 - target])
        at = np.array([_quantiles(np.array(run.steps, dtype=float), beyond)[0] for run in runs])
        middle, level = float(np.average(loads, weights=weight)), float(np.average(at, weights=weight))
        x = loads - middle
        spread = float((weight * x * x).sum())
        slope = float((weight * x * at).sum()) / spread
        if slope <= 0.0:
            return None
        off = at - level - slope * x
        error = math.sqrt(float((weight * off * off).sum()) / max(1, len(runs) - 2) / spread)
        pooled = np.zeros(_STEPS)
        for run, apart in zip(runs, x, strict=True):
            pooled += _moved(np.array(run.steps, dtype=float), -slope * apart)
        return cls(runs, target, slope, error, middle, pooled, at)

    @property
    def crossing(self) -> float:
        """Where the target's quantile of all margins is at the limit."""
        margin = float(_quantiles(self.pooled, np.array([1.0 - self.target]))[0])
        return math.exp(self.middle - min(max(margin / self.slope, -_FARTHEST), _FARTHEST))

    def comes_close(self) -> bool:
        """Whether runs on both sides of the limit are close to it."""
        below, above = self.quantiles[self.quantiles <= 0.0], self.quantiles[self.quantiles > 0.0]
        close = math.log(CLOSE)
        return bool(len(below) and len(above) and -below.max() <= close and above.min() <= close)

    def worth(self, runs: Sequence[MarginRun]) -> float:
        """Number of independent requests in some of the runs."""
        return sum(run.requests for run in runs) / self.dependence()

    def dependence(self) -> float:
        """How many requests count as one, for being beyond the line."""
        total = sum(run.requests for run in self.runs)
        within = sum(run.requests * run.dependence for run in self.runs) / total
        limit = math.log(self.crossing)
        beyond = [
            _share_beyond(np.array(run.steps, dtype=float), self.slope * (math.log(run.load) - limit))
            for run in self.runs
        ]
        apart = sum(
            (run.requests * (share - 1.0 + self.target)) ** 2 for run, share in zip(self.runs, beyond, strict=True)
        )
        between = apart / (total * self.target * (1.0 - self.target)) * len(self.runs) / max(1, len(self.runs) - 2)
        return max(1.0, within, between)

    def drawn_crossings(self) -> np.ndarray:
        """Crossings for random draws of the share beyond the line and of the slope; NaN if the line does not rise.

        By Student's t, because the variation between runs is estimated from the runs.
        """
        random, free = np.random.default_rng(16), max(1, len(self.runs) - 2)
        wider = np.sqrt(free / random.chisquare(free, (2, _DRAWS)))
        share_error = math.sqrt(self.target * (1.0 - self.target) / self.worth(self.runs))
        shares = 1.0 - self.target + share_error * wider[0] * random.normal(size=_DRAWS)
        slopes = self.slope + self.slope_error * wider[1] * random.normal(size=_DRAWS)
        margins = _extended(self.pooled, shares, 1.0 - self.target)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            return np.where(slopes > 0.0, np.exp(self.middle - margins / slopes), np.nan)


def _quantiles(steps: np.ndarray, beyond: np.ndarray) -> np.ndarray:
    """The logarithms of the margins beyond which these shares lie, interpolated within a step."""
    return np.interp(beyond, _above(steps), _EDGES)


def _extended(steps: np.ndarray, beyond: np.ndarray, target: float) -> np.ndarray:
    """`_quantiles`, extrapolated along a straight line if a share is outside WIDE times the target's, because the tails
    of a distribution are unknown.
    """
    inside = np.clip(beyond, target / WIDE, target * WIDE)
    ends = _quantiles(steps, np.array([target / WIDE, target * WIDE]))
    fall = float(ends[0] - ends[1]) / (target * WIDE - target / WIDE)
    return _quantiles(steps, inside) - fall * (beyond - inside)


def _share_beyond(steps: np.ndarray, log_margin: float) -> float:
    return float(np.interp(-log_margin, -_EDGES, _above(steps)))


def _above(steps: np.ndarray) -> np.ndarray:
    """The share of the margins above each of the edges, from the highest one down."""
    return np.concatenate([[0.0], np.cumsum(steps[::-1])]) / steps.sum()


def _moved(steps: np.ndarray, by: float) -> np.ndarray:
    """The same counts with all margins moved; margins that leave the range stay in the first or last step."""
    whole = math.floor(by / STEP)
    part = by / STEP - whole
    moved = np.zeros_like(steps)
    for shift, share in ((whole, 1.0 - part), (whole + 1, part)):
        place = np.clip(np.arange(_STEPS) + shift, 0, _STEPS - 1)
        np.add.at(moved, place, share * steps)
    return moved
