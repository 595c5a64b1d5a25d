"""Whether a long run stayed as it began: for each of a few series, a slope, a step, or neither.

A series is cut into blocks of time. Its trend is the Theil-Sen slope over the blocks (Sen, JASA 63, 1968: the median of
all pairwise slopes). Its step is the split of the blocks into two parts with the largest difference of means, weighted
as in a CUSUM test. Both are tested against the distribution of the same statistic in series without trend or step whose
blocks depend on their neighbours as this one's do (bootstrap of an AR(1) process; a moving-block bootstrap was tried,
and gave false alarms in a quarter of the steady runs). With several series, each is tested at its share of the 5%
(Bonferroni). A change too small to act on (`least_change`) counts as steady, however significant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from scipy.signal import lfilter
from tokenswarm.analysis.figures.statistics import CONFIDENCE

FEWEST_BLOCKS = 24
"""With fewer, a trend cannot be told from a wave."""
MOST_BLOCKS = 60
RESAMPLES = 999
MEDIAN = 50
"""As a percentile."""
_STRONGEST = 0.9
_RUN_IN = 50
_SECONDS_PER_HOUR = 3600.0
_MARGIN = 0.15
"""A step is only searched for away from the ends of the run, where a few blocks would decide."""

STEADY, DRIFTING, STEPPED, TOO_SHORT = "steady", "drifting", "stepped", "too short"


@dataclass(frozen=True, slots=True)
class Drift:
    """What happened to one series. Values are in the series' own unit.

    `per_hour`: the slope with its 95% interval. `level`: the median of the series. For a step, `at_s` (seconds from the
    start of the series), and the levels `before` and `after`.
    """

    state: str
    level: float | None = None
    per_hour: float | None = None
    low: float | None = None
    high: float | None = None
    at_s: float | None = None
    before: float | None = None
    after: float | None = None


def blocks(
    at_s: np.ndarray, values: np.ndarray, statistic: float | Literal["mean"] = MEDIAN
) -> tuple[np.ndarray, np.ndarray]:
    """(midpoints in s, values) of up to MOST_BLOCKS blocks of equal length, without NaN and empty blocks.

    `statistic`: a percentile (0 to 100) of a block's values, or their mean. A block is long enough that on average two
    values are beyond the percentile, and holds at least five.
    """
    known = ~np.isnan(values) & ~np.isnan(at_s)
    at_s, values = at_s[known], values[known]
    if not len(at_s):
        return np.array([]), np.array([])
    fewest = 5 if statistic == "mean" else max(5, round(2 * 100.0 / min(statistic, 100.0 - statistic)))
    count = int(min(MOST_BLOCKS, max(1, len(at_s) // fewest)))
    edges = np.linspace(at_s.min(), at_s.max() + 1e-9, count + 1)
    places = np.clip(np.searchsorted(edges, at_s, side="right") - 1, 0, count - 1)
    parts = [
        (edges[i : i + 2].mean(), _statistic(values[places == i], statistic))
        for i in range(count)
        if (places == i).any()
    ]
    middles, figures = zip(*parts, strict=True)
    return np.array(middles), np.array(figures)


def _statistic(part: np.ndarray, statistic: float | Literal["mean"]) -> float:
    if statistic == "mean":
        return float(np.mean(part))
    return float(np.median(part) if statistic == MEDIAN else np.percentile(part, statistic))


def judge(at_s: np.ndarray, values: np.ndarray, *, series: int = 1, least_change: float = 0.05, seed: int = 0) -> Drift:
    """The verdict on one series of blocks (`at_s` in seconds, ascending).

    `series`: how many series are judged together. `least_change`: change over the whole run, as a share of the series'
    median, below which it counts as steady.
    """
    if len(values) < FEWEST_BLOCKS or at_s[-1] <= at_s[0]:
        return Drift(TOO_SHORT, level=float(np.median(values)) if len(values) else None)
    rng = np.random.default_rng(seed)
    level, span_s = float(np.median(values)), float(at_s[-1] - at_s[0])
    slope = theil_sen(at_s, values[None, :])[0]
    split, jump = _largest_step(values[None, :])
    before, after = float(np.mean(values[: split[0]])), float(np.mean(values[split[0] :]))
    straight = values - slope * at_s
    stepped = values - np.where(np.arange(len(values)) < split[0], before, after)
    noise = _resampled(rng, straight - np.median(straight), RESAMPLES)
    slopes = theil_sen(at_s, noise)
    step_noise = _resampled(rng, _less_variable(straight - straight.mean(), stepped), RESAMPLES)
    jumps = _largest_step(step_noise)[1]
    alpha = (1.0 - CONFIDENCE) / series / 2.0  # half for the slope, half for the step
    half = float(np.quantile(np.abs(slopes), CONFIDENCE))
    trend = {
        "level": level,
        "per_hour": slope * _SECONDS_PER_HOUR,
        "low": (slope - half) * _SECONDS_PER_HOUR,
        "high": (slope + half) * _SECONDS_PER_HOUR,
    }
    floor = least_change * abs(level)
    slope_is_real = _p(np.abs(slopes), abs(slope)) < alpha and abs(slope) * span_s > floor
    step_is_real = _p(jumps, jump[0]) < alpha and abs(after - before) > floor
    if step_is_real and (not slope_is_real or np.var(stepped) < np.var(straight)):
        return Drift(
            STEPPED, **trend, at_s=float(at_s[split[0] - 1 : split[0] + 1].mean() - at_s[0]), before=before, after=after
        )
    return Drift(DRIFTING if slope_is_real else STEADY, **trend)


def growth_chance(at_s: np.ndarray, values: np.ndarray, seed: int = 0) -> float:
    """One-sided p: how often a series without growth, whose blocks depend on their neighbours as this one's do, has a
    Theil-Sen slope this large.
    """
    slope = float(theil_sen(at_s, values[None, :])[0])
    straight = values - slope * at_s
    noise = _resampled(np.random.default_rng(seed), straight - straight.mean(), RESAMPLES)
    return _p(theil_sen(at_s, noise), slope)


def theil_sen(at_s: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(rows,) median pairwise slopes of each row of `values` (rows, n), per second."""
    first, second = np.array(list(combinations(range(len(at_s)), 2))).T
    return np.median((values[:, second] - values[:, first]) / (at_s[second] - at_s[first]), axis=1)


def _largest_step(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each row: (index at which the second part begins, weighted difference of the parts' means)."""
    n = values.shape[1]
    margin = max(3, int(_MARGIN * n))
    at = np.arange(margin, n - margin + 1)
    sums = np.cumsum(values, axis=1)
    left = sums[:, at - 1] / at
    right = (sums[:, -1:] - sums[:, at - 1]) / (n - at)
    weighted = np.abs(right - left) * np.sqrt(at * (n - at) / n)
    best = np.argmax(weighted, axis=1)
    return at[best], weighted[np.arange(len(values)), best]


def _less_variable(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return first if np.var(first) <= np.var(second) else second


def _resampled(rng: np.random.Generator, residuals: np.ndarray, rows: int) -> np.ndarray:
    """(rows, n) series with the same dependence between neighbours as the residuals.

    An AR(1) process with innovations drawn from those of the residuals (Efron and Tibshirani, An Introduction to the
    Bootstrap, section 8.5). Its coefficient is corrected for the bias of short series (Kendall, Biometrika 41, 1954)
    and for the low frequencies lost by removing a trend and a level.
    """
    n = len(residuals)
    spread = float(residuals @ residuals)
    raw = float(residuals[1:] @ residuals[:-1]) / spread if spread > 0 else 0.0
    coefficient = float(np.clip(raw + (3.0 + 4.0 * raw) / n + 1.5 / np.sqrt(n), 0.0, _STRONGEST))
    innovations = residuals[1:] - raw * residuals[:-1]
    innovations = innovations - innovations.mean()
    drawn = rng.choice(innovations, size=(rows, n + _RUN_IN)) * np.sqrt(n / (n - 3.0))
    return lfilter([1.0], [1.0, -coefficient], drawn, axis=1)[:, _RUN_IN:]


def _p(null: Sequence[float] | np.ndarray, measured: float) -> float:
    return (1 + int(np.sum(np.asarray(null) >= measured))) / (1 + len(null))
