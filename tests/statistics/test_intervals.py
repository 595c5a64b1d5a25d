"""95% intervals cover the truth in 93 to 97% of 1,000 simulated runs whose latencies depend on their neighbours."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.statistics import RATE_BLOCKS, block_rate, percentiles, share_of
from tests.statistics.simulated import block_amounts, latencies_ms, true_percentile_ms

RUNS = 1000
QUANTILES = (50, 95, 99)
LEAST, MOST = 0.93, 0.97


def coverage(correlation: float, requests: int) -> dict[int, float]:
    """Share of runs whose interval holds the true percentile, by percentile. An open end holds everything."""
    rng = np.random.default_rng(20261121)
    held = dict.fromkeys(QUANTILES, 0)
    for _ in range(RUNS):
        found = percentiles(latencies_ms(rng, requests, correlation=correlation), QUANTILES)
        for q, estimate in found.items():
            truth = true_percentile_ms(q)
            held[q] += (estimate.low is None or estimate.low <= truth) and (
                estimate.high is None or truth <= estimate.high)
    print(f"correlation {correlation}, {requests} requests: "
          + ", ".join(f"p{q} {count / RUNS:.1%}" for q, count in held.items()))
    return {q: count / RUNS for q, count in held.items()}


@pytest.mark.parametrize("requests", [3_000, 30_000])
@pytest.mark.parametrize("correlation", [0.5, 0.7, 0.9])
def test_intervals_of_percentiles_cover_the_truth(correlation: float, requests: int) -> None:
    covered = coverage(correlation, requests)
    assert {q: share for q, share in covered.items() if not LEAST <= share <= MOST} == {}


def test_independent_requests_are_not_charged_for_dependence() -> None:
    assert all(LEAST <= share <= 0.98 for share in coverage(0.0, 3_000).values())


@pytest.mark.parametrize(("correlation", "seconds"), [(0.0, 60), (0.5, 60), (0.7, 300)])
def test_intervals_of_a_rate_cover_the_truth(correlation: float, seconds: int) -> None:
    """Tokens of each second depend on those of the second before; blocks are long against that."""
    rng = np.random.default_rng(20261121)
    held = 0
    for _ in range(RUNS):
        by_second = block_amounts(rng, seconds, mean=1000.0, spread=200.0, correlation=correlation)
        amounts = by_second.reshape(RATE_BLOCKS, -1).sum(axis=1)
        found = block_rate(amounts, seconds / RATE_BLOCKS, 500)
        held += found.low <= 1000.0 <= found.high
    print(f"rate, correlation of seconds {correlation}, {seconds} s: {held / RUNS:.1%}")
    assert LEAST <= held / RUNS <= MOST


def test_intervals_of_a_rate_cover_the_truth_of_requests_that_arrive_at_random() -> None:
    """Throughput as it is measured: tokens of answers of random length that come at random times."""
    rng = np.random.default_rng(20261121)
    held, rate, tokens, seconds = 0, 20.0, 128.0, 60.0
    for _ in range(RUNS):
        count = rng.poisson(rate * seconds)
        sent, size = rng.uniform(0, seconds, count), rng.exponential(tokens, count)
        amounts, _ = np.histogram(sent, bins=RATE_BLOCKS, range=(0, seconds), weights=size)
        found = block_rate(amounts, seconds / RATE_BLOCKS, count)
        held += found.low <= rate * tokens <= found.high
    print(f"rate of random arrivals: {held / RUNS:.1%}")
    assert LEAST <= held / RUNS <= MOST


@pytest.mark.parametrize("correlation", [0.0, 0.7])
def test_intervals_of_a_share_cover_the_truth(correlation: float) -> None:
    rng = np.random.default_rng(20261121)
    held, limit = 0, true_percentile_ms(90)
    for _ in range(RUNS):
        found = share_of(latencies_ms(rng, 3_000, correlation=correlation) <= limit)
        held += found.low <= 0.90 <= found.high
    print(f"share, correlation {correlation}: {held / RUNS:.1%}")
    assert LEAST <= held / RUNS <= 0.98
