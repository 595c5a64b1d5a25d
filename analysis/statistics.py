"""Estimates with 95% intervals: pure functions over arrays.

Intervals of percentiles and shares take requests as independent. Requests of one moment are not quite, so a rate's
interval comes from blocks of time, and the others are a little too narrow where latency comes in waves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
RATE_BLOCKS = 10
"""Blocks of time that a rate's interval is made from: few, so that a block is long against one request."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95% interval and the observations behind it; or no number, and `why`.

    `low` or `high` is None where the sample cannot bound the value on that side.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    why: str | None = None

    def figure(self, unit: str) -> dict[str, object]:
        """The shape that summary.json has for every number."""
        if self.value is None:
            return {"value": None, "unit": unit, "n": self.n, "why": self.why or "not measured"}
        interval = None if self.low is None and self.high is None else [self.low, self.high]
        return {"value": self.value, "unit": unit, "ci95": interval, "n": self.n}


def observations_needed(q: float) -> int:
    """Observations that percentile `q` (0 < q < 100) needs: at least one is expected beyond it on either side.

    p50 needs 2, p95 needs 20, p99 needs 100, p99.9 needs 1000.
    """
    return math.ceil(round(100.0 / min(q, 100.0 - q), 9))


def percentile(ordered: np.ndarray, q: float) -> Estimate:
    """Percentile `q` (0..100) of an ascending array without NaN, by linear interpolation, with its interval.

    The interval runs between two order statistics whose ranks come from the binomial distribution of the number of
    observations below the percentile; it makes no assumption about the distribution of the values
    (David and Nagaraja, Order Statistics, 3rd ed., section 7.1).
    """
    n = len(ordered)
    needed = observations_needed(q)
    if n < needed:
        return Estimate(None, n=n, why=f"needs {needed} requests, has {n}" if n else "not measured")
    tail = (1.0 - CONFIDENCE) / 2.0
    # 1-based ranks: P(X_(low) <= percentile < X_(high)) >= 95%.
    low = int(stats.binom.ppf(tail, n, q / 100.0))
    high = int(stats.binom.ppf(1.0 - tail, n, q / 100.0)) + 1
    return Estimate(
        value=float(interpolate(ordered, q)),
        low=float(ordered[low - 1]) if low >= 1 else None,
        high=float(ordered[high - 1]) if high <= n else None,
        n=n,
    )


def interpolate(ordered: np.ndarray, q: float | np.ndarray) -> np.ndarray:
    """Percentile(s) `q` of an ascending array by linear interpolation, as `numpy.percentile` defines it."""
    rank = np.asarray(q, dtype=float) / 100.0 * (len(ordered) - 1)
    return np.interp(rank, np.arange(len(ordered)), ordered)


def percentiles(values: np.ndarray, qs: Sequence[float]) -> dict[float, Estimate]:
    """Several percentiles of an unordered array; NaN means not measured and is left out."""
    ordered = np.sort(values[~np.isnan(values)])
    return {q: percentile(ordered, q) for q in qs}


def share(hits: int, n: int, *, why: str = "no request") -> Estimate:
    """`hits` of `n` as a share 0..1 with Wilson's score interval (Wilson, JASA 22, 1927)."""
    if n <= 0:
        return Estimate(None, n=0, why=why)
    z = float(stats.norm.ppf(0.5 + CONFIDENCE / 2.0))
    p = hits / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low = 0.0 if hits == 0 else max(0.0, middle - half)
    high = 1.0 if hits == n else min(1.0, middle + half)
    return Estimate(p, low, high, n)


def block_rate(amounts: np.ndarray, block_s: float, n: int) -> Estimate:
    """A rate per second from the amounts of equally long, successive blocks of time, with a t interval over blocks.

    `n` is the number of observations reported with it. Blocks absorb the dependence between requests of one moment
    (batch means; Law, Simulation Modeling and Analysis, section 9.5.3).
    """
    if block_s <= 0 or len(amounts) == 0:
        return Estimate(None, n=n, why="the measure window has no length")
    rates = np.asarray(amounts, dtype=float) / block_s
    mean = float(rates.mean())
    if len(rates) < 2:
        return Estimate(mean, n=n)
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2.0, len(rates) - 1) * rates.std(ddof=1) / math.sqrt(len(rates)))
    return Estimate(mean, max(0.0, mean - half), mean + half, n)
