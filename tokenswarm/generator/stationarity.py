"""Tests whether a series still changes. Pure, and without scipy, since it runs beside a load generator.

The series is cut into BLOCKS batches of equal size, one after the other, so that neighbours that are alike (requests
that wait in the same queue, questions about the same document) count once. It shows a trend if Kendall's S of the batch
means against their order is beyond CRITICAL_S: the Mann-Kendall test at 5%, exact for so many values (Mann 1945;
Kendall, Rank Correlation Methods, 1975). And its two halves have to agree: their means within TOLERANCE, or no further
apart than chance has it.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

BLOCKS = 10
CRITICAL_S = 23
"""The smallest |S| that is reached by chance in at most 5% (4.7%) of series of BLOCKS values."""
TOLERANCE = 0.05
"""Relative difference of two means that counts as none; for shares, the absolute difference."""
CHANCE_Z = 1.0
"""Standard deviations of the Mann-Whitney statistic within which a difference of the halves may be by chance."""


@dataclass(frozen=True, slots=True)
class Stationarity:
    """`steady` None: too few values. `change`: relative change of the mean from the earlier to the later half. `trend`:
    Kendall's S if significant, otherwise 0."""

    steady: bool | None
    change: float = 0.0
    trend: int = 0


def judge_values(values: Sequence[tuple[float, float]], is_share: bool = False) -> Stationarity:
    """Judge a series of (amount, weight) in order of time; its mean is the sum of amounts over the sum of weights.
    is_share: amounts are parts of the weights, so means are shares (such as a hit rate).
    """
    means = block_means(values)
    if means is None:
        return Stationarity(None)
    half = len(values) // 2
    before, after = _mean(values[:half]), _mean(values[half:])
    difference = after - before if is_share or before == 0 else after / before - 1
    s = kendall_s(means)
    trend = s if abs(s) >= CRITICAL_S else 0
    middle = BLOCKS // 2
    agree = abs(difference) <= TOLERANCE or abs(rank_z(means[:middle], means[middle:])) < CHANCE_Z
    return Stationarity(not trend and agree, difference, trend)


def block_means(values: Sequence[tuple[float, float]]) -> list[float] | None:
    """The means of BLOCKS batches of (nearly) equal size; None if there are fewer values."""
    count = len(values)
    if count < BLOCKS:
        return None
    return [_mean(values[count * block // BLOCKS : count * (block + 1) // BLOCKS]) for block in range(BLOCKS)]


def _mean(values: Sequence[tuple[float, float]]) -> float:
    weight = sum(each for _, each in values)
    return sum(amount for amount, _ in values) / weight if weight else 0.0


def kendall_s(values: Sequence[float]) -> int:
    """Number of rising pairs minus falling pairs."""
    return sum((later > earlier) - (later < earlier) for earlier, later in combinations(values, 2))


def rank_z(earlier: Sequence[float], later: Sequence[float]) -> float:
    """The Mann-Whitney U of `later` against `earlier` in standard deviations from "no difference"; above 0: later ones
    are larger. Normal approximation, ties count half (Mann & Whitney 1947)."""
    ordered = sorted(earlier)
    wins = sum(bisect_left(ordered, value) + bisect_right(ordered, value) for value in later) / 2
    n, m = len(earlier), len(later)
    return (wins - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)
