"""When an objective on a percentile is certified."""

from __future__ import annotations

import numpy as np
import pytest
from tokenswarm.analysis.figures.certification import certify, chance_of_so_few, cluster_effect, fewest_to_certify


@pytest.mark.parametrize(("q", "none_over", "one_over"), [(50, 7, 11), (90, 44, 64), (95, 90, 130), (99, 459, 662)])
def test_the_fewest_requests_are_those_of_mlperf(q: float, none_over: int, one_over: int) -> None:
    assert (fewest_to_certify(q), fewest_to_certify(q, over=1)) == (none_over, one_over)


def test_the_chance_is_the_binomial_one_where_counts_are_whole() -> None:
    from scipy import stats

    assert chance_of_so_few(3, 150, 95) == pytest.approx(stats.binom.cdf(3, 150, 0.05))
    assert chance_of_so_few(150, 150, 95) == 1.0


def test_independent_requests_below_the_limit_are_certified_from_their_fewest_on() -> None:
    alternating = np.tile([10.0, 20.0], 60)
    assert certify(alternating, 50, 25.0).certified
    assert not certify(np.array([10.0] * 6), 50, 25.0).certified
    assert certify(np.array([10.0] * 7), 50, 25.0).certified


WAVES = np.repeat(np.random.default_rng(1).lognormal(0, 0.6, 20), 25)


def test_requests_that_come_in_waves_count_for_less_near_the_limit() -> None:
    found = certify(WAVES, 95, 1.1 * WAVES.max())
    assert (found.requests, found.over, found.certified) == (500, 0, False)
    assert found.n_eff < 90


def test_dependence_counts_for_the_less_the_further_every_request_is_below_the_limit() -> None:
    limits = [WAVES.max() * times for times in (1.1, 2, 4, 8)]
    worth = [certify(WAVES, 95, limit).n_eff for limit in limits]
    assert worth == sorted(worth) and worth[0] < worth[1] < worth[2]
    assert certify(WAVES, 95, limits[-1]).certified


def test_one_wave_as_long_as_the_run_certifies_nothing_however_far_the_limit_is() -> None:
    drift = np.linspace(1.0, 2.0, 400)
    assert not certify(drift, 95, 1e9).certified and not certify(drift, 99, 1e9).certified


def test_requests_over_the_limit_that_come_together_count_as_one() -> None:
    """Ten of 600 over a p95's limit: certified where they are scattered, not where they are one burst."""
    values = np.random.default_rng(2).normal(10, 1, 600)
    scattered, burst = values.copy(), values.copy()
    scattered[::60], burst[300:310] = 100.0, 100.0
    assert certify(scattered, 95, 50.0).certified
    assert not certify(burst, 95, 50.0).certified


def test_requests_over_the_limit_of_one_session_count_as_one() -> None:
    rng = np.random.default_rng(2)
    values, sessions = rng.normal(10, 1, 600), rng.integers(0, 60, 600)
    values[sessions == 7] = 100.0
    assert certify(values, 95, 50.0, sessions).n_eff < 0.5 * certify(values, 95, 50.0).n_eff


def test_the_effect_of_clusters_is_their_size_where_members_are_alike_and_one_where_they_are_not() -> None:
    rng = np.random.default_rng(3)
    clusters = np.repeat(np.arange(200), 5)
    assert 4.0 < cluster_effect(np.repeat(rng.random(200) < 0.3, 5), clusters) < 6.0
    assert cluster_effect(rng.random(1000) < 0.3, clusters) < 1.4
    assert cluster_effect(np.ones(1000), clusters) == cluster_effect(np.array([]), np.array([], dtype=int)) == 1.0


def test_nearly_independent_requests_far_below_the_limit_count_for_themselves() -> None:
    values = np.random.default_rng(4).lognormal(0, 0.1, 300)
    assert certify(values, 95, 1e3).n_eff == 300


def test_nothing_measured_certifies_nothing() -> None:
    assert not certify(np.full(500, np.nan), 50, 1e6).certified
    assert not certify(np.array([]), 50, 1e6).certified
