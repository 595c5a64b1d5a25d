"""When an objective on a percentile is certified."""

from __future__ import annotations

import numpy as np
import pytest
from tokenswarm.analysis.figures.certification import certify, chance_of_so_few, fewest_to_certify


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


def test_requests_that_come_in_waves_count_for_less() -> None:
    waves = np.repeat(np.random.default_rng(1).lognormal(0, 1, 20), 25)
    found = certify(waves, 95, 1e6)
    assert (found.requests, found.over, found.certified) == (500, 0, False)
    assert found.n_eff < 90


def test_nothing_measured_certifies_nothing() -> None:
    assert not certify(np.full(500, np.nan), 50, 1e6).certified
    assert not certify(np.array([]), 50, 1e6).certified
