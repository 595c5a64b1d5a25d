"""Estimates with 95% intervals: pure functions over arrays.

Requests that are close in time are not independent. Intervals of percentiles and shares are widened by the dependence
that successive batches of requests show; rates use blocks of time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats
from scipy.optimize import brentq
from scipy.special import betainc
from tokenswarm.analysis.wording import NO_INTERVAL

from tokenswarm.contract.limits import observations_needed
from tokenswarm.contract.summary.figure import Figure

CONFIDENCE = 0.95
_Z = float(stats.norm.ppf(0.5 + CONFIDENCE / 2.0))
RATE_BLOCKS = 10
"""Blocks of time for a rate's interval: few, so that a block is long compared with a request."""

BATCHES = 20
"""Number of batches of successive observations into which a run is divided to estimate dependence."""
FEWEST_TO_BATCH = BATCHES
"""With fewer observations, a batch would be shorter than one of them."""
_FREEDOM = BATCHES - 1
"""Assumed degrees of freedom of the estimated dependence."""
FEWEST_FOR_WAVES = 200
"""With fewer observations, waves as long as the run are not looked for."""
SEEN_BEYOND = 30
"""Observations beyond a level that are needed to see clusters there."""
FEWEST_BEYOND = 1.0
"""Independent observations beyond a percentile below which its interval has no end at all."""
CLOSED_BEYOND = 5.0
"""The same, below which the end on the sparse side is open.

By the binomial distribution 3.7 would do if the dependence were known. It is estimated, so both limits use the
strongest dependence at any level, because few clusters are seen in the tail itself (`make test-statistics`: for a
queue's p95, 90% were covered with 5 and the tail's own dependence, and 95% as it is now).
"""
LEVELS = (50.0, 75.0, 90.0, 95.0)
"""Percentiles at which the strongest dependence is searched for, each if FEWEST_AT_A_LEVEL observations are
beyond it.
"""
FEWEST_AT_A_LEVEL = 15
SINGLE_POINT = f"{NO_INTERVAL}: all its values are equal"
"""Why a figure has no interval if it would be a single point: no measurement is that certain."""
TOO_FEW = f"{NO_INTERVAL}: too few independent requests"
"""The same, if neither end is known."""
RUN_TOO_SHORT = 0.5
"""Correlation of neighbouring batches from which waves are as long as the run; 1% of the time by chance."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95% interval and its number of observations; or no number or no interval, and `why`.

    `low` or `high` is None if the sample does not bound the value on that side.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    why: str | None = None

    def figure(self, unit: str) -> Figure:
        """As recorded in summary.json."""
        if self.value is None:
            return Figure(unit=unit, n=self.n, why=self.why or "not measured")
        interval = None if self.low is None and self.high is None else [self.low, self.high]
        return Figure(
            self.value,
            unit,
            self.n,
            interval,
            None if interval or not (self.why or "").startswith(NO_INTERVAL) else self.why,
        )


def percentile(ordered: np.ndarray, q: float, dependence: float = 1.0, strongest: float = 1.0) -> Estimate:
    """Percentile `q` (0..100) of an ascending array without NaN, by linear interpolation, with its interval.

    The interval runs between two order statistics and assumes nothing about the distribution of the values. Their ranks
    come from the binomial distribution of the number of observations below the percentile. Ranks may be fractional; the
    interval is then interpolated between two observations, so that it does not jump from one to the next (fractional
    order statistics; Hutson, Journal of Applied Statistics 26, 1999).

    - dependence: `design_effect` of being below the percentile. n observations count as n / dependence independent ones
      (Woodruff, JASA 47, 1952).
    - strongest: the largest at any level (`Dependence.strongest`), which decides whether an end is known at all. With
      fewer than CLOSED_BEYOND independent observations beyond the percentile the interval is open on that side; with
      fewer than FEWEST_BEYOND there is no interval.
    """
    n = len(ordered)
    needed = observations_needed(q)
    if n < needed:
        return Estimate(None, n=n, why=f"needs {needed} requests, has {n}" if n else "not measured")
    worth = max(1.0, n / max(1.0, dependence))
    least = n / max(1.0, dependence, strongest)
    high = _upper_rank(worth, q / 100.0) if _is_bounded(least, 1.0 - q / 100.0) else None
    low = _upper_rank(worth, 1.0 - q / 100.0) if _is_bounded(least, q / 100.0) else None  # counted from the top
    value = float(interpolate(ordered, q))
    first = _at_rank(ordered, (worth - low) * n / worth + 1.0) if low is not None else None
    last = _at_rank(ordered, high * n / worth) if high is not None else None
    if first is not None and first == last:
        return Estimate(value, n=n, why=SINGLE_POINT)
    return Estimate(value, first, last, n, TOO_FEW if first is None and last is None else None)


def _is_bounded(worth: float, beyond: float) -> bool:
    """Whether the end on that side is known, from this many independent observations with the share `beyond` on that
    side.
    """
    sparse = min(beyond, 1.0 - beyond)
    if worth * sparse < FEWEST_BEYOND:
        return False
    return beyond > sparse or sparse == 0.5 or worth * sparse >= CLOSED_BEYOND


@lru_cache(maxsize=4096)
def _upper_rank(worth: float, below: float) -> float | None:
    """The rank r among `worth` observations at which P(X_(r) < the percentile) is 2.5%; None if there is none.

    `below`: the probability that an observation is below the percentile. F(X_(r)) has a beta(r, worth - r + 1)
    distribution.
    """
    tail = (1.0 - CONFIDENCE) / 2.0
    if below**worth > tail:
        return None
    return float(brentq(lambda rank: betainc(rank, worth - rank + 1.0, below) - tail, worth * below, worth, xtol=1e-6))


def _at_rank(ordered: np.ndarray, rank: float) -> float:
    """The value at a (fractional) rank, from 1, of an ascending array, by linear interpolation."""
    place = min(max(rank, 1.0), float(len(ordered))) - 1.0
    before = min(int(place), len(ordered) - 2) if len(ordered) > 1 else 0
    after = min(before + 1, len(ordered) - 1)
    return float(ordered[before] + (place - before) * (ordered[after] - ordered[before]))


def design_effect(hits: np.ndarray) -> float:
    """By what factor the variance of the mean of `hits` (0 or 1, in time order) exceeds that of independent values.

    The variance between overlapping batches over the binomial one (Meketon and Schmeiser, Winter Simulation Conference
    1984), at least 1. A batch of n / BATCHES requests misses part of the dependence. What a batch of twice that length
    sees in addition is added 1.5 times: the bias of batch means falls as 1 / length, so 2 times would remove it, but
    with a far noisier estimate. Includes the wider tail due to the estimated variance. There is no threshold, so a
    little more data changes the result only a little.
    """
    mean = float(np.mean(hits)) if len(hits) else 0.0
    if len(hits) < FEWEST_TO_BATCH or not 0.0 < mean < 1.0:
        return 1.0
    sums = np.concatenate([[0.0], np.cumsum(hits, dtype=float)])
    short, long = (_overlapping_variance(sums, mean, len(hits) // parts) for parts in (BATCHES, BATCHES // 2))
    ratio = max(short, short + 2.0 * (long - short)) / (mean * (1.0 - mean))
    return max(1.0, ratio * _tail_factor(_FREEDOM))


def _overlapping_variance(sums: np.ndarray, mean: float, size: int) -> float:
    """Variance of one observation's share in the mean, from all batches of `size` successive ones.

    `sums`: cumulative, starting with 0.
    """
    n = len(sums) - 1
    apart = (sums[size:] - sums[:-size]) / size - mean
    return n * size / ((n - size + 1.0) * (n - size)) * float(apart @ apart)


def too_short(values: np.ndarray) -> bool:
    """Whether `values` (in time order, NaN = not measured) fluctuate on the scale of the run's length, or drift.

    Then no interval from them alone is wide enough, because it misses what a longer run would show.
    """
    known = values[~np.isnan(values)]
    if len(known) < FEWEST_FOR_WAVES:
        return False
    above = known > np.median(known)
    return design_effect(above) > 1.0 and _neighbours(_batch_means(above, BATCHES)[0]) > RUN_TOO_SHORT


def _batch_means(hits: np.ndarray, batches: int) -> tuple[np.ndarray, int]:
    """(means of successive batches, batch size); a remainder at the end is dropped."""
    size = len(hits) // batches
    return np.asarray(hits[: size * batches], dtype=float).reshape(batches, size).mean(axis=1), size


def _neighbours(means: np.ndarray) -> float:
    """Correlation of each value with the next."""
    apart = means - means.mean()
    spread = float(apart @ apart)
    return float(apart[1:] @ apart[:-1]) / spread if spread > 0 else 0.0


@lru_cache(maxsize=4096)
def t_quantile(share: float, freedom: float) -> float:
    """A quantile of Student's t distribution. Cached, because the same few are needed again and again, and one call to
    SciPy takes longer than the rest of an interval.
    """
    return float(stats.t.ppf(share, freedom))


def _tail_factor(freedom: int) -> float:
    """The factor for a variance estimated with this many degrees of freedom, for a 95% interval."""
    middle = 0.5 + CONFIDENCE / 2.0
    return (t_quantile(middle, freedom) / _Z) ** 2


def interpolate(ordered: np.ndarray, q: float | np.ndarray) -> np.ndarray:
    """Percentile(s) `q` of an ascending array by linear interpolation, as `numpy.percentile` defines it."""
    rank = np.asarray(q, dtype=float) / 100.0 * (len(ordered) - 1)
    return np.interp(rank, np.arange(len(ordered)), ordered)


def percentiles(values: np.ndarray, qs: Sequence[float]) -> dict[float, Estimate]:
    """Several percentiles of an array in time order; NaN means not measured and is dropped."""
    known = values[~np.isnan(values)]
    seen = Dependence(known)
    return {
        q: percentile(seen.ordered, q, seen.at(q), seen.strongest(q))
        if len(known) >= observations_needed(q)
        else percentile(seen.ordered, q)
        for q in qs
    }


class Dependence:
    """How strongly the values of a run (in time order, without NaN) depend on each other, at any level."""

    def __init__(self, known: np.ndarray):
        self.ordered = np.sort(known)
        self._known = known
        self._effects: dict[float, float] = {}

    def at(self, q: float) -> float:
        """`design_effect` of being below percentile `q`, or below the nearest percentile with SEEN_BEYOND values beyond
        it.
        """
        if not len(self._known):
            return 1.0
        seen = min(50.0, 100.0 * SEEN_BEYOND / len(self._known))
        return self._effect(min(max(q, seen), 100.0 - seen))

    def strongest(self, q: float) -> float:
        """The largest `design_effect` over LEVELS on the same side of the median as percentile `q`."""
        return max((self._effect(level) for level in levels_of(len(self._known), q)), default=1.0)

    def level(self, q: float) -> float:
        """The value of percentile `q`."""
        return float(interpolate(self.ordered, q))

    def _effect(self, q: float) -> float:
        if q not in self._effects:
            self._effects[q] = design_effect(self._known <= self.level(q))
        return self._effects[q]


def levels_of(n: int, q: float) -> list[float]:
    """The LEVELS that this many observations can show, on the same side of the median as percentile `q`."""
    known = [level for level in LEVELS if n * (100.0 - level) >= 100.0 * FEWEST_AT_A_LEVEL]
    return known if q >= 50.0 else [100.0 - level for level in known]


def share_of(hits: np.ndarray, *, why: str = "no request") -> Estimate:
    """The share of true values in `hits`, in time order."""
    return share(int(np.sum(hits)), len(hits), dependence=design_effect(hits), why=why)


def share(hits: int, n: int, *, dependence: float = 1.0, why: str = "no request") -> Estimate:
    """`hits` of `n` as a share 0..1 with Wilson's score interval (Wilson, JASA 22, 1927).

    `dependence` as in `percentile`: n observations count as n / dependence.
    """
    if n <= 0:
        return Estimate(None, n=0, why=why)
    z = _Z
    p, worth = hits / n, n / max(1.0, dependence)
    middle = (p + z * z / (2 * worth)) / (1 + z * z / worth)
    half = z / (1 + z * z / worth) * math.sqrt(p * (1 - p) / worth + z * z / (4 * worth * worth))
    low = 0.0 if hits == 0 else max(0.0, middle - half)
    high = 1.0 if hits == n else min(1.0, middle + half)
    return Estimate(p, low, high, n)


def block_rate(amounts: np.ndarray, block_s: float, n: int) -> Estimate:
    """A rate per second from the amounts in successive blocks of equal length, with a t interval over blocks.

    `n` is the number of observations to report. Blocks absorb the dependence between requests that are close in time
    (batch means; Law, Simulation Modeling and Analysis, section 9.5.3). The interval extends at least one observation
    to either side, even if all blocks are equal, because the ends of the window cut observations.
    """
    if block_s <= 0 or len(amounts) == 0:
        return Estimate(None, n=n, why="the measure window has no length")
    rates = np.asarray(amounts, dtype=float) / block_s
    mean = float(rates.mean())
    if len(rates) < 2:
        return Estimate(mean, n=n)
    if not rates.any():
        return Estimate(mean, n=n, why=SINGLE_POINT)
    half = float(t_quantile(0.5 + CONFIDENCE / 2.0, len(rates) - 1) * rates.std(ddof=1) / math.sqrt(len(rates)))
    half = max(half, mean / n) if n else half
    return Estimate(mean, max(0.0, mean - half), mean + half, n)
