"""Estimates against hand-made cases, other libraries, and their own promise of 95%."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from tokenswarm.analysis.figures.jackknife import jackknife
from tokenswarm.analysis.figures.statistics import (
    RATE_BLOCKS,
    Dependence,
    Estimate,
    block_rate,
    design_effect,
    levels_of,
    observations_needed,
    percentile,
    percentiles,
    share,
    share_of,
    too_short,
)

from tokenswarm.contract.summary.figure import Figure


@pytest.mark.parametrize(("q", "needed"), [(50, 2), (95, 20), (5, 20), (99, 100), (99.9, 1000)])
def test_percentile_needs_one_observation_beyond_it(q: float, needed: int) -> None:
    assert observations_needed(q) == needed
    assert percentile(np.arange(needed, dtype=float), q).value is not None
    short = percentile(np.arange(needed - 1, dtype=float), q)
    assert short.value is None
    assert short.why == f"needs {needed} requests, has {needed - 1}"


def test_percentiles_are_exact_and_interpolate_as_numpy_does() -> None:
    values = np.random.default_rng(5).lognormal(4, 1, 1234)
    found = percentiles(np.append(values, np.nan), (50, 95, 99))
    for q, estimate in found.items():
        assert estimate.value == pytest.approx(np.percentile(values, q), rel=1e-12)
        assert estimate.n == 1234


def test_the_median_of_ten_is_bounded_between_the_ranks_of_the_textbook() -> None:
    # P(X_(2) <= median <= X_(9)) = 97.9% for n = 10, P(X_(3) <= median <= X_(8)) = 89.1%: 95% lies between.
    estimate = percentile(np.arange(1.0, 11.0), 50)
    assert 2.0 < estimate.low < 3.0
    assert estimate.low + estimate.high == pytest.approx(11.0)


def test_the_interval_of_a_median_is_closed_from_six_observations_on() -> None:
    # P(all n below the median) = 0.5^n <= 2.5%
    values = np.arange(1.0, 7.0)
    assert percentile(values, 50).high is not None
    assert percentile(values[:-1], 50).high is None


@pytest.mark.parametrize(("q", "n"), [(95, 100), (99, 500), (5, 100)])
def test_an_interval_is_closed_with_five_independent_observations_beyond_the_percentile(q: float, n: int) -> None:
    values = np.arange(1.0, n + 1.0)
    closed, short, dependent = percentile(values, q), percentile(values[:-1], q), percentile(values, q, 1.0, 1.1)
    ends = ("low", "high") if q < 50 else ("high", "low")
    assert getattr(closed, ends[0]) is not None
    assert getattr(short, ends[0]) is None
    assert getattr(dependent, ends[0]) is None
    assert getattr(dependent, ends[1]) is not None


@pytest.mark.parametrize(("q", "n"), [(95, 20), (99, 100)])
def test_an_interval_has_no_end_with_less_than_one_independent_observation_beyond_the_percentile(
    q: float, n: int
) -> None:
    values = np.arange(1.0, n + 1.0)
    assert percentile(values, q).low is not None
    estimate = percentile(values, q, 1.01)
    assert estimate.value is not None
    assert (estimate.low, estimate.high) == (None, None)


def test_an_interval_follows_dependence_without_a_leap() -> None:
    values = np.sort(np.random.default_rng(3).lognormal(0, 1, 800))
    found = [percentile(values, 95, dependence) for dependence in np.linspace(1.0, 4.0, 600)]
    highs = np.array([estimate.high for estimate in found])
    assert np.all(np.diff(highs) >= 0)
    assert np.max(highs[1:] / highs[:-1]) < 1.05


def test_dependence_in_a_tail_is_seen_at_a_level_with_thirty_observations_beyond_it() -> None:
    values = np.random.default_rng(4).lognormal(0, 1, 300)
    level = float(np.percentile(values, 90))
    seen = Dependence(values)
    assert seen.at(99) == seen.at(95) == design_effect(values <= level)
    assert seen.at(50) == design_effect(values <= np.median(values))


def test_the_strongest_dependence_is_that_of_any_level_with_fifteen_observations_beyond_it() -> None:
    steps = np.repeat([1.0, 2.0, 1.0, 2.0, 1.0, 2.0], 50)  # waves at the median alone
    values = steps + np.tile([0.1, 0.2, 0.3], 100)
    assert Dependence(values).strongest(95) > 10 > Dependence(values).at(95)
    assert levels_of(300, 95) == [50, 75, 90, 95] and levels_of(299, 95) == [50, 75, 90]
    assert levels_of(300, 5) == [50, 25, 10, 5] and levels_of(20, 95) == []


def test_p99_of_a_hundred_has_no_upper_bound() -> None:
    estimate = percentile(np.arange(1.0, 101.0), 99)
    assert 97.0 < estimate.low < 98.0
    assert estimate.high is None


def test_independent_percentile_intervals_cover_the_truth() -> None:
    rng = np.random.default_rng(11)
    for q in (50, 95):
        truth = stats.norm.ppf(q / 100)
        hits = 0
        for _ in range(400):
            estimate = percentile(np.sort(rng.normal(size=300)), q)
            hits += estimate.low <= truth <= estimate.high
        assert 0.93 <= hits / 400 <= 0.995


def test_dependent_latencies_widen_the_interval_until_it_covers() -> None:
    rng = np.random.default_rng(12)
    naive = honest = 0
    for _ in range(200):
        # Latency in waves: each block of 25 neighbours shares most of its level.
        values = np.repeat(rng.normal(size=60), 25) + 0.3 * rng.normal(size=1500)
        estimate = percentiles(values, (50,))[50]
        plain = percentile(np.sort(values), 50)
        honest += estimate.low <= 0.0 <= estimate.high
        naive += plain.low <= 0.0 <= plain.high
    assert naive / 200 < 0.6
    assert honest / 200 >= 0.9


def test_design_effect_is_one_for_few_and_for_constant_observations() -> None:
    assert design_effect(np.ones(5000)) == 1.0
    assert design_effect(np.array([0, 1] * 50)) == 1.0
    assert design_effect(np.repeat([0, 1], 500)) > 50


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (3, 10), (10, 10), (1, 5000)])
def test_share_has_wilsons_interval(hits: int, n: int) -> None:
    reference = stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")
    estimate = share(hits, n)
    assert estimate.value == hits / n
    assert estimate.low == pytest.approx(reference.low, abs=1e-12)
    assert estimate.high == pytest.approx(reference.high, abs=1e-12)


def test_share_of_nothing_has_no_value_but_a_reason() -> None:
    assert share(0, 0, why="no request").why == "no request"
    assert share_of(np.array([], dtype=bool)).value is None


def test_rate_is_the_mean_of_its_blocks_with_a_t_interval() -> None:
    amounts = np.array([10.0, 12.0, 8.0, 10.0])
    estimate = block_rate(amounts, 2.0, n=40)
    reference = stats.t.interval(0.95, 3, loc=5.0, scale=stats.sem(amounts / 2.0))
    assert estimate.value == 5.0
    assert (estimate.low, estimate.high) == pytest.approx(reference)


def test_the_interval_of_a_rate_is_no_point_where_all_blocks_are_alike() -> None:
    estimate = block_rate(np.full(10, 60.0), 6.0, n=600)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((10.0, 10.0 - 10.0 / 600, 10.0 + 10.0 / 600))


def test_rate_of_a_window_without_length_has_a_reason() -> None:
    assert block_rate(np.array([1.0]), 0.0, 1).value is None


def test_figure_says_why_there_is_no_number() -> None:
    figure = percentile(np.arange(34.0), 99).figure("ms")
    assert figure == Figure(unit="ms", n=34, why="needs 100 requests, has 34")


def test_waves_that_outlast_the_batches_widen_further_than_the_batches_alone() -> None:
    # Two waves over 400 requests: ten batches make one wave.
    waves = np.sin(np.linspace(0, 4 * np.pi, 400)) > 0
    shuffled = np.random.default_rng(0).permutation(waves)
    assert design_effect(waves) > 2 * 20  # a batch holds 20, so that batches alone can say little more than that
    assert design_effect(shuffled) < 4


def test_a_run_as_short_as_its_waves_is_told() -> None:
    rng = np.random.default_rng(0)
    noise = rng.lognormal(0, 0.3, 1000)
    assert too_short(noise * np.linspace(1, 3, 1000))
    assert too_short(noise * (2 + np.sin(np.linspace(0, 4 * np.pi, 1000))))
    assert not too_short(noise)
    assert not too_short(np.linspace(1, 3, 100))
    assert not too_short(np.ones(1000))
    assert not too_short(np.full(1000, np.nan))


def test_an_interval_is_never_a_single_point() -> None:
    same_in_each_block = {"tokens": np.full(RATE_BLOCKS, 3.3), "ok": np.full(RATE_BLOCKS, 0.7)}
    for estimate in (
        percentiles(np.full(200, 7.0), (50,))[50],
        block_rate(np.zeros(10), 1.0, 0),
        jackknife(lambda sums: sums["tokens"] / sums["ok"], same_in_each_block, 7),
    ):
        figure = estimate.figure("ms")
        assert figure.value is not None and figure.ci95 is None and figure.why.startswith("no interval")


def test_a_number_has_no_reason_for_its_absence() -> None:
    assert Estimate(0.5, n=3, why="no two prompts begin alike").figure("share").why is None
