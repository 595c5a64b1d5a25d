"""Whether two groups of runs differ in a figure, and by how much. Pure functions over the figures of the runs.

A run says of each figure its value and an interval that covers what chance did inside that run. What it cannot say is
how much a run differs from its repeat: a restart, a neighbour, the weather in the cloud. So the unit of evidence is
the run: the spread between the repeats of each side is measured (it holds the chance inside the runs too), and Welch's
t-test (Biometrika 34, 1947) weighs the sides by it, without assuming that both spread alike. Ratios are tested on
their logarithms.

With a single run on either side that spread is not known. Then the run's own interval stands in for it, or the other
side's spread where that is larger, and `repeated` is False: what differs from run to run is not covered.

A bootstrap that resamples three runs is too sure of itself: the spread of three resampled runs is two thirds of the
true one on average, so equal engines differ far too often. tests/statistics checks what the method here promises.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from tokenswarm.analysis.figures.statistics import CONFIDENCE, RATE_BLOCKS

_Z = float(stats.norm.ppf(0.5 + CONFIDENCE / 2.0))
_SINGLE_RUN_DF = RATE_BLOCKS - 1
"""Degrees of freedom of a single run's interval: those of the blocks that it is made from."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One figure of one run: its value and 95% interval (None = not known on that side)."""

    value: float
    low: float | None = None
    high: float | None = None

    def spread(self, log: bool) -> float | None:
        """Standard error that the interval implies, on the scale of the test; None if there is no interval.

        An interval that is open on one side is taken to be as wide there as on the other.
        """
        ends = [(end, side) for end, side in ((self.low, -1), (self.high, 1)) if end is not None]
        if log:
            ends = [(end, side) for end, side in ends if end > 0]
            halves = [abs(math.log(end / self.value)) for end, _ in ends]
        else:
            halves = [abs(end - self.value) for end, _ in ends]
        return float(np.mean(halves)) / _Z if halves else None


@dataclass(frozen=True, slots=True)
class Side:
    """One group's value of a figure: mean of its runs (geometric for a ratio) with a 95% interval."""

    value: float
    low: float
    high: float
    runs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """B against A. `change` is B/A for a ratio and B - A for a difference, with its 95% interval and a p value.

    `repeated`: both sides have several runs, so the interval covers what differs from run to run.
    """

    a: Side
    b: Side
    change: float
    low: float
    high: float
    p: float
    repeated: bool
    ratio: bool

    @property
    def significant(self) -> bool:
        """Whether the 95% interval excludes equality."""
        return self.p < 1.0 - CONFIDENCE


def difference(a: Sequence[Reading], b: Sequence[Reading], *, ratio: bool) -> Difference | None:
    """B against A, as a ratio (of positive figures) or as a difference; None where it cannot be told.

    A ratio is None where a value is not above 0; either is None where neither repeats nor intervals say anything of
    chance.
    """
    if not a or not b or (ratio and min(reading.value for reading in (*a, *b)) <= 0):
        return None
    sides = [_side(group, other, ratio) for group, other in ((a, b), (b, a))]
    if None in sides:
        return None
    (mean_a, error_a, df_a), (mean_b, error_b, df_b) = sides
    error = math.hypot(error_a, error_b)
    if error == 0.0:  # nothing varies: shares of 0 or 1 on both sides, or the same figure over and over
        df = df_a + df_b
        p = 1.0 if mean_a == mean_b else 0.0
    else:
        df = error**4 / (_part(error_a, df_a) + _part(error_b, df_b))
        p = float(2.0 * stats.t.sf(abs(mean_b - mean_a) / error, df))
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2.0, df)) * error
    change = mean_b - mean_a
    to_scale = math.exp if ratio else float
    return Difference(
        a=_shown(a, mean_a, error_a, df_a, ratio), b=_shown(b, mean_b, error_b, df_b, ratio),
        change=to_scale(change), low=to_scale(change - half), high=to_scale(change + half), p=p,
        repeated=min(len(a), len(b)) > 1, ratio=ratio)


def _part(error: float, df: float) -> float:
    return error**4 / df if error else 0.0


def _side(group: Sequence[Reading], other: Sequence[Reading], log: bool) -> tuple[float, float, float] | None:
    """(mean, standard error of the mean, degrees of freedom) of one side, on the scale of the test."""
    values = _scaled(group, log)
    inside = group[0].spread(log)
    if len(group) > 1:
        spread = float(values.std(ddof=1))
        if spread == 0.0 and not log:  # no error in any run does not mean that there can be none
            spread = inside or 0.0
        return float(values.mean()), spread / math.sqrt(len(group)), len(group) - 1
    if inside is None:
        return None
    between = float(_scaled(other, log).std(ddof=1)) if len(other) > 1 else 0.0
    df = len(other) - 1 if between > inside else _SINGLE_RUN_DF
    return float(values[0]), max(inside, between), df


def _scaled(group: Sequence[Reading], log: bool) -> np.ndarray:
    return np.array([math.log(reading.value) if log else reading.value for reading in group])


def _shown(group: Sequence[Reading], mean: float, error: float, df: float, log: bool) -> Side:
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2.0, df)) * error
    to_scale = math.exp if log else float
    return Side(to_scale(mean), to_scale(mean - half), to_scale(mean + half), tuple(reading.value for reading in group))


def holm(p_values: Sequence[float]) -> list[bool]:
    """Which of several hypotheses are rejected so that a false rejection among all has at most 5% probability.

    Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    rejected = [False] * len(p_values)
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[index] >= (1.0 - CONFIDENCE) / (len(p_values) - rank):
            break
        rejected[index] = True
    return rejected
