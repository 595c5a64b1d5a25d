"""The test for a trend in a series: exact for small series, with the stated error rate."""

from __future__ import annotations

import math
from collections import Counter
from random import Random

import pytest

from tokenswarm.generator.stationarity import (
    BLOCKS,
    CRITICAL_S,
    Stationarity,
    block_means,
    judge_values,
    kendall_s,
    rank_z,
)


def chance_of_s(at_least: int, values: int) -> float:
    """The probability of |S| >= at_least for so many values in random order, by counting inversions."""
    counts = Counter({0: 1})
    for size in range(2, values + 1):
        counts = Counter({inversions + more: 0 for inversions in counts for more in range(size)}) + sum(
            (Counter({inversions + more: n for inversions, n in counts.items()}) for more in range(size)), Counter()
        )
    most = values * (values - 1) // 2
    return sum(n for inversions, n in counts.items() if abs(most - 2 * inversions) >= at_least) / math.factorial(values)


def test_the_critical_value_is_the_smallest_that_chance_reaches_in_at_most_five_of_a_hundred_series() -> None:
    assert chance_of_s(CRITICAL_S, BLOCKS) <= 0.05 < chance_of_s(CRITICAL_S - 2, BLOCKS)


def test_s_counts_rising_pairs_less_falling_ones() -> None:
    assert (kendall_s([1, 2, 3]), kendall_s([3, 2, 1]), kendall_s([1, 3, 2]), kendall_s([2, 2, 2])) == (3, -3, 1, 0)


def even(rng: Random, count: int, drift: float = 0.0) -> list[tuple[float, float]]:
    return [((1 + drift * place / count) * rng.lognormvariate(0, 0.3), 1.0) for place in range(count)]


def test_an_even_series_shows_a_trend_as_seldom_as_the_test_says() -> None:
    rng = Random(5)
    wrong = sum(judge_values(even(rng, 200)).trend != 0 for _ in range(1000)) / 1000
    assert 0.025 <= wrong <= 0.07


def test_a_series_that_doubles_is_not_steady() -> None:
    rng = Random(6)
    found = [judge_values(even(rng, 200, drift=1.0)) for _ in range(100)]
    assert sum(each.steady is False for each in found) >= 99
    assert all(each.change > 0 for each in found)


def test_the_mean_of_a_share_is_that_of_all_its_weight() -> None:
    values = [(0.0, 1.0), (90.0, 100.0)] * BLOCKS
    assert block_means(values) == pytest.approx([90 / 101] * BLOCKS)


def test_a_share_may_change_by_five_points() -> None:
    share = [(0.02 if place < 100 else 0.06, 1.0) for place in range(200)]
    assert judge_values(share, is_share=True).change == pytest.approx(0.04)
    assert judge_values(share).change == pytest.approx(2.0)


def test_fewer_values_than_blocks_tell_nothing() -> None:
    assert judge_values([(1.0, 1.0)] * (BLOCKS - 1)) == Stationarity(None)


def test_rank_z_is_the_mann_whitney_statistic() -> None:
    from scipy.stats import mannwhitneyu

    rng = Random(2)
    earlier, later = ([rng.random() * scale for _ in range(count)] for scale, count in ((1.0, 40), (1.2, 55)))
    assert rank_z(earlier, earlier) == 0
    expected = mannwhitneyu(later, earlier, use_continuity=False, method="asymptotic", alternative="greater").pvalue
    assert 0.5 * math.erfc(rank_z(earlier, later) / math.sqrt(2)) == pytest.approx(expected)
