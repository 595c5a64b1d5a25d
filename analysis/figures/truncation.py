"""Where a run became stationary: how much of its beginning is transient and to be cut off. Pure functions over blocks.

A series of blocks is modelled as a level plus, before a time c, a transient that fades at once (a step), evenly (a
line), or ever more slowly (an exponential that is down to 2% at c). c and shape minimise the squares. Whether there is
anything to cut is tested against the same search in series without a transient whose blocks depend on their neighbours
as this one's do (bootstrap of an AR(1) process, as in `drift`). The shapes are those of Schruben's test for
initialisation bias (Operations Research 30, 1982), used here to locate the end of the transient. MSER-5, the usual rule
(White, Simulation 69, 1997), finds the end of a transient about as well if it lies in the first half. But it cuts no
more than that half, and mistakes the end of a trend for a stationary part (in the runs of tests/statistics it
recognised 1 trend in 400).

A stationary part must be demonstrated: if a trend that ends in the last fifth fits as well as one that ended before,
there is none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.signal import lfilter

FEWEST_BLOCKS = 16
MOST_BLOCKS = 40
RESAMPLES = 399
_LATEST = 0.8
"""Beyond this share of a run, the rest is too short to be called stationary."""
_MOST_CUT = 0.75
_AS_GOOD = 0.5
"""Among cuts that fit about equally well the latest is taken: within this many residual variances in the sum of
squares.

A cut too late costs a little variance; one too early is wrong.
"""
_MUST_SHOW = 2.0
"""By this many residual variances a trend that ended must fit better than one that goes on."""
_STILL = 1.28
"""Standard errors of the remaining slope from which the trend counts as going on: 10% of the time by chance."""
_FADED = 4.0
_RUN_IN = 50
_STRONGEST = 0.9

STATIONARY, CUT, NO_STATIONARY_PART, TOO_SHORT = "stationary", "cut", "no stationary part", "too short"


@dataclass(frozen=True, slots=True)
class Series:
    """(n,) blocks of equal length in time order; a change of less than `least_change` does not matter."""

    values: np.ndarray
    least_change: float = 0.05


@dataclass(frozen=True, slots=True)
class Truncation:
    """`share` (0..1) of the run is cut off at its beginning, because of the series with these names."""

    state: str
    share: float = 0.0
    because: tuple[str, ...] = ()


def truncate(series: Mapping[str, Series], seed: int = 0) -> Truncation:
    """Where the last of `series` became stationary, tested at 5% for all of them together (Bonferroni)."""
    known = {name: each for name, each in series.items() if len(each.values) >= FEWEST_BLOCKS}
    if not known:
        return Truncation(TOO_SHORT)
    alpha = 0.05 / len(known)
    by_series = {
        name: _truncate(each, alpha, np.random.default_rng([seed, place]))
        for place, (name, each) in enumerate(known.items())
    }
    for state in (NO_STATIONARY_PART, CUT):
        names = tuple(name for name, each in by_series.items() if each.state == state)
        if names:
            return Truncation(state, max(by_series[name].share for name in names), names)
    return Truncation(STATIONARY)


def _truncate(series: Series, alpha: float, rng: np.random.Generator) -> Truncation:
    values = np.asarray(series.values, dtype=float)
    shapes, ends = _shapes(len(values))
    apart = values - values.mean()
    total = float(apart @ apart)
    explained = (shapes.T @ apart) ** 2
    best = int(explained.argmax())
    if total <= 0.0 or not np.isfinite(total):
        return Truncation(STATIONARY)
    residual = apart - shapes[:, best] * float(shapes[:, best] @ apart)
    left = total - explained
    if left[best] > 1e-9 * total and _chance(shapes, residual, explained[best] / left[best], rng) >= alpha:
        return Truncation(STATIONARY)
    variance = float(left[best]) / (len(values) - 3)
    early = ends <= _LATEST
    chosen = int(np.where(early, left, math.inf).argmin())
    if left[~early].min() <= left[chosen] + _MUST_SHOW * variance or _goes_on(values, ends[chosen], residual):
        fitted = shapes[:, best] * float(shapes[:, best] @ apart)
        changed = float(np.ptp(fitted)) >= series.least_change
        return Truncation(NO_STATIONARY_PART, 1.0) if changed else Truncation(STATIONARY)
    as_good = ends[(left <= left[chosen] + _AS_GOOD * variance) & (ends <= _MOST_CUT)]
    share = min(_MOST_CUT, max(ends[chosen], as_good.max(initial=0.0)))
    first = round(share * len(values))
    if abs(values[:first].mean() - values[first:].mean()) < series.least_change:
        return Truncation(STATIONARY)
    return Truncation(CUT, float(share))


def _goes_on(values: np.ndarray, end: float, residual: np.ndarray) -> bool:
    """Whether the part after `end` still changes in the direction of the part before: a line's slope, one-sided."""
    first = round(end * len(values))
    rest = values[first:]
    at = np.arange(len(rest)) - (len(rest) - 1) / 2.0
    direction = float(rest.mean() - values[:first].mean())
    spread = float(residual @ residual)
    neighbours = max(0.0, float(residual[1:] @ residual[:-1]) / spread) if spread > 0 else 0.0
    error = math.sqrt(
        spread / (len(values) - 3) * (1.0 + neighbours) / (1.0 - min(neighbours, _STRONGEST)) / float(at @ at)
    )
    return math.copysign(1.0, direction) * float(at @ rest) / float(at @ at) > _STILL * error


@lru_cache(maxsize=64)
def _shapes(n: int) -> tuple[np.ndarray, np.ndarray]:
    """((n, m) shapes of mean 0 and norm 1, (m,) the share of the run at which each has ended)."""
    at = (np.arange(n) + 0.5) / n
    shapes, ends = [], []
    for last in range(1, n + 1):
        end = last / n
        before = at < end
        for shape in (
            before * (1.0 if last < n else at),  # a step at the very end is no transient
            np.maximum(1.0 - at / end, 0.0),
            np.where(before, np.exp(-_FADED * at / end) - math.exp(-_FADED), 0.0),
        ):
            apart = shape - shape.mean()
            length = math.sqrt(float(apart @ apart))
            if length > 1e-9:
                shapes.append(apart / length)
                ends.append(end)
    return np.array(shapes).T, np.array(ends)


def _chance(shapes: np.ndarray, residual: np.ndarray, ratio: float, rng: np.random.Generator) -> float:
    """How often series without a transient explain as much: p of the largest explained / residual sum of squares."""
    noise = _resampled(rng, residual)
    noise -= noise.mean(axis=1, keepdims=True)
    explained = ((noise @ shapes) ** 2).max(axis=1)
    total = (noise**2).sum(axis=1)
    return (1 + int(np.sum(explained / (total - explained) >= ratio))) / (1 + RESAMPLES)


def _resampled(rng: np.random.Generator, residual: np.ndarray) -> np.ndarray:
    """(RESAMPLES, n) series with the same dependence between neighbours as `residual`; see `drift`.

    The coefficient is corrected for the bias of short series, and for what removing the transient took away.
    """
    n = len(residual)
    spread = float(residual @ residual)
    raw = float(residual[1:] @ residual[:-1]) / spread if spread > 0 else 0.0
    coefficient = float(np.clip(raw + (3.0 + 4.0 * raw) / n + 0.5 / math.sqrt(n), 0.0, _STRONGEST))
    innovations = residual[1:] - raw * residual[:-1]
    drawn = rng.choice(innovations - innovations.mean(), size=(RESAMPLES, n + _RUN_IN))
    return lfilter([1.0], [1.0, -coefficient], drawn, axis=1)[:, _RUN_IN:]
