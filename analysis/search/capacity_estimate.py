"""Where attainment falls below its target: a curve through the levels of a search, with an interval.

log(A / (1 - A)) is modelled as a straight line over the logarithm of the load, between the certain pass and the certain
fail. The interval is the distribution of the crossing when every level's share is redrawn around the line, with the
level's number of independent requests (a parametric bootstrap over levels; Efron and Tibshirani, An Introduction to the
Bootstrap, section 6.5). It never extends beyond the bracket. If the levels do not lie on the line, the draws are
widened accordingly. If attainment drops from nearly all to nearly nothing between two neighbouring levels, no curve is
fitted, and the interval is the bracket.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

DRAWS = 1000
_STEPS = 30
"""Steps of Newton's method; it needs about six."""
_TAILS = (2.5, 97.5)
LOWER = 1.5
"""The lower end of the interval is this many times further from the crossing, on a logarithmic scale, than the draws
say.

A search stops when its interval is narrow, which by chance is when few requests were bad. So its estimates are half a
percent too high, and most misses are above the true value. With run lengths chosen beforehand the draws covered the
hardest queue's capacity in 92 to 95%; in searches, in 88%, and 11 of 12 misses were too high.
"""
_LOST = 0.025
"""Share of draws without a crossing from which an end of the interval is the bracket's."""
NEAR = 1.4
"""Levels within this factor of the crossing are used, if there are three or more: further away the line bends."""
CLIFF_FROM, CLIFF_TO = 0.99, 0.5
"""Attainment on both sides of a cliff."""


@dataclass(frozen=True, slots=True)
class LoadPoint:
    """One run: its load, share of good requests, requests, and how many of those count as one at its load."""

    load: float
    share: float
    requests: int
    dependence: float


@dataclass(frozen=True, slots=True)
class Crossing:
    """The load at which attainment equals the target, and its 95% interval."""

    load: float
    low: float
    high: float


def crossing(points: Sequence[LoadPoint], target: float, bracket: tuple[float, float]) -> Crossing | None:
    """Where the line through the points falls to the target, inside the bracket (certain pass, certain fail).

    None if the points do not show it: fewer than two, none that passes some and fails some, a cliff, or a line that
    does not fall.
    """
    low, high = bracket
    used = [point for point in points if low <= point.load <= high]
    if len(used) < 2 or is_cliff(used, target) or not any(0.0 < point.share < 1.0 for point in used):
        return None
    best = _root(used, target)
    near = [point for point in used if best / NEAR <= point.load <= best * NEAR]
    both_sides = any(point.load < best for point in near) and any(point.load > best for point in near)
    if len(near) > 2 and both_sides and (crossed := _crossed(near, target, bracket)) is not None:
        return crossed
    return _crossed(used, target, bracket) or _crossing_unbounded(used, target, bracket)


def _crossed(points: Sequence[LoadPoint], target: float, bracket: tuple[float, float]) -> Crossing | None:
    """The crossing with both ends of its interval; None if the slope is too uncertain for that."""
    low, high = bracket
    best, roots = _root(points, target), _drawn_roots(points, target)
    if not low < best < high or np.isnan(roots).mean() > _LOST:
        return None
    ends = np.nanpercentile(np.clip(roots, low, high), _TAILS)
    first, last = min(float(ends[0]), best), max(float(ends[1]), best)
    return Crossing(best, max(low, best * (first / best) ** LOWER), min(high, last))


def _crossing_unbounded(points: Sequence[LoadPoint], target: float, bracket: tuple[float, float]) -> Crossing | None:
    best = _root(points, target)
    return Crossing(best, *bracket) if bracket[0] < best < bracket[1] else None


def _root(points: Sequence[LoadPoint], target: float) -> float:
    return float(_roots(*_columns(points), target)[0])


def line_crossing(points: Sequence[LoadPoint], target: float) -> float | None:
    """Where the line through the points falls to the target, without an interval; None if it does not fall."""
    root = _root(points, target) if len(points) > 1 else float("nan")
    return None if np.isnan(root) or not np.isfinite(root) else root


def _drawn_roots(points: Sequence[LoadPoint], target: float) -> np.ndarray:
    """The crossings for shares redrawn around the line."""
    loads, share, worth = _columns(points)
    start, slope, middle = _lines(loads, share, worth)
    line = 1.0 / (1.0 + np.exp(-np.clip(start + slope * (loads - middle), -12.0, 12.0)))
    if len(points) > 2:  # Pearson's chi-square per degree of freedom
        misfit = float((worth * (share[0] - line) ** 2 / (line * (1.0 - line))).sum())
        worth = worth / max(1.0, misfit / (len(line) - 2))
    draws = np.random.default_rng(16).beta(line * worth, (1.0 - line) * worth, (DRAWS, len(line)))
    return _roots(loads, draws, worth, target)


def _columns(points: Sequence[LoadPoint]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log load, share (one row), independent requests."""
    return (
        np.log([point.load for point in points]),
        np.array([[point.share for point in points]]),
        np.array([point.requests / point.dependence for point in points]),
    )


def is_cliff(points: Sequence[LoadPoint], target: float) -> bool:
    """Whether attainment falls from nearly all to less than half between the levels on either side of the target."""
    loads = sorted({point.load for point in points})
    shares = [_share_at(points, load) for load in loads]
    for before, after in pairwise(shares):
        if before >= target > after:
            return before >= max(CLIFF_FROM, target) and after <= CLIFF_TO
    return False


def _share_at(points: Sequence[LoadPoint], load: float) -> float:
    here = [point for point in points if point.load == load]
    return float(np.average([point.share for point in here], weights=[point.requests for point in here]))


def _roots(loads: np.ndarray, shares: np.ndarray, worth: np.ndarray, target: float) -> np.ndarray:
    """The load at the target for each row of `shares`; NaN if the line does not fall."""
    start, slope, middle = _lines(loads, shares, worth)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        roots = np.exp(middle + (np.log(target / (1.0 - target)) - start) / slope)
    return np.where(slope < 0.0, roots, np.nan)


def _lines(loads: np.ndarray, shares: np.ndarray, worth: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Logistic regression of each row of `shares` on `loads` by Newton's method: value at the middle, slope, middle.

    With Firth's correction (Biometrika 80, 1993). Below the crossing few independent requests are bad: usually fewer
    than expected and rarely many more, so the uncorrected line would be too steep and cross the target too high.
    """
    middle = float(np.average(loads, weights=worth))
    x = loads - middle
    soft = np.clip((shares * worth + 0.5) / (worth + 1.0), 1e-6, 1.0 - 1e-6)
    a, b = _weighted_line(x, np.log(soft / (1.0 - soft)), worth * soft * (1.0 - soft))
    for _ in range(_STEPS):
        p = 1.0 / (1.0 + np.exp(-np.clip(a[:, None] + b[:, None] * x, -30.0, 30.0)))
        w = np.maximum(worth * p * (1.0 - p), 1e-9)
        da, db = _weighted_line(x, (worth * (shares - p) + _leverage(x, w) * (0.5 - p)) / w, w)
        a, b = a + np.clip(da, -2.0, 2.0), b + np.clip(db, -20.0, 20.0)
        if max(np.abs(da).max(), np.abs(db).max()) < 1e-4:
            break
    return a, b, middle


def _leverage(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The leverage of each point, in every row: from 0 to 1, 2 in total."""
    w0, w1, w2 = weight.sum(1), (weight * x).sum(1), (weight * x * x).sum(1)
    free = np.maximum(w0 * w2 - w1 * w1, 1e-12)
    return weight * (w2[:, None] - 2.0 * w1[:, None] * x + w0[:, None] * x * x) / free[:, None]


def _weighted_line(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted least squares of every row: value at x = 0, slope."""
    w0, w1, w2 = weight.sum(1), (weight * x).sum(1), (weight * x * x).sum(1)
    y0, y1 = (weight * y).sum(1), (weight * x * y).sum(1)
    free = np.maximum(w0 * w2 - w1 * w1, 1e-12)
    return (w2 * y0 - w1 * y1) / free, (w0 * y1 - w1 * y0) / free
