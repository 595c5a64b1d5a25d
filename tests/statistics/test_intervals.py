"""95% intervals cover the truth in 93 to 98% of simulated runs whose latencies depend on their neighbours."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tokenswarm.analysis.figures import rates
from tokenswarm.analysis.figures.statistics import RATE_BLOCKS, block_rate, percentiles, share_of, too_short

from tests.statistics.simulated import (
    block_amounts,
    closed_loop_ends,
    latencies_ms,
    queue_ms,
    runs,
    tolerance,
    true_percentile_ms,
)
from tokenswarm.contract.metric import Rate

RUNS = runs(1000, fast=250)
QUANTILES = (50, 95, 99)
LEAST, MOST = 0.93 - tolerance(0.07, RUNS), 0.98 + tolerance(0.02, RUNS)
"""The interval may be somewhat too wide: dependence is never taken to be below none."""


def covered_by(make: Callable[[np.random.Generator], np.ndarray], truth: dict[int, float]) -> dict[int, float]:
    """Share of runs whose interval holds the true percentile, by percentile. An open end holds everything."""
    rng = np.random.default_rng(20261121)
    held = dict.fromkeys(QUANTILES, 0)
    for _ in range(RUNS):
        for q, estimate in percentiles(make(rng), QUANTILES).items():
            held[q] += (estimate.low is None or estimate.low <= truth[q]) and (
                estimate.high is None or truth[q] <= estimate.high
            )
    return {q: count / RUNS for q, count in held.items()}


def coverage(correlation: float, requests: int) -> dict[int, float]:
    """`covered_by` of autocorrelated lognormal latencies, told."""
    found = covered_by(
        lambda rng: latencies_ms(rng, requests, correlation=correlation), {q: true_percentile_ms(q) for q in QUANTILES}
    )
    print(f"correlation {correlation}, {requests} requests: " + ", ".join(f"p{q} {s:.1%}" for q, s in found.items()))
    return found


@pytest.mark.parametrize("requests", [3_000, 30_000])
@pytest.mark.parametrize("correlation", [0.5, 0.7, 0.9])
def test_intervals_of_percentiles_cover_the_truth(correlation: float, requests: int) -> None:
    covered = coverage(correlation, requests)
    assert {q: share for q, share in covered.items() if not LEAST <= share <= MOST} == {}


def test_independent_requests_are_not_charged_for_dependence() -> None:
    assert all(LEAST <= share <= 0.99 + tolerance(0.01, RUNS) for share in coverage(0.0, 3_000).values())


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
    assert LEAST <= held / RUNS <= MOST


@pytest.mark.parametrize(("correlation", "requests"), [(0.0, 300), (0.7, 3_000)])
def test_intervals_of_a_ratio_of_sums_cover_the_truth(correlation: float, requests: int) -> None:
    """What a metric that was added has: thinking tokens / output tokens, of answers of random length that depend on
    their neighbours."""
    rate = Rate(
        name="ratio",
        title="",
        unit="share",
        better="lower",
        meaning="",
        formula="",
        of_sums=lambda sums: sums["thought"] / sums["output"],
    )
    rng = np.random.default_rng(20261121)
    held, truth = 0, 0.5
    for _ in range(RUNS):
        output = latencies_ms(rng, requests, correlation=correlation)
        thought = output * rng.uniform(0.2, 0.8, requests)
        blocks = {
            name: amounts.reshape(RATE_BLOCKS, -1).sum(axis=1)
            for name, amounts in (("output", output), ("thought", thought))
        }
        figure = rates.estimate(rate, blocks, requests)
        held += figure.low <= truth <= figure.high
    print(f"ratio of sums, correlation {correlation}, {requests} requests: {held / RUNS:.1%}")
    assert LEAST <= held / RUNS <= MOST


def test_the_interval_of_a_rate_per_second_is_that_of_its_blocks() -> None:
    rate = Rate(
        name="per_second",
        title="",
        unit="tok/s",
        better="higher",
        meaning="",
        formula="",
        of_sums=lambda sums: sums["output"] / sums["seconds"],
    )
    amounts = np.random.default_rng(1).exponential(100.0, RATE_BLOCKS)
    by_jackknife = rates.estimate(rate, {"output": amounts, "seconds": np.full(RATE_BLOCKS, 6.0)}, 500)
    by_blocks = block_rate(amounts, 6.0, 500)
    assert (by_jackknife.value, by_jackknife.low, by_jackknife.high) == pytest.approx(
        (by_blocks.value, by_blocks.low, by_blocks.high)
    )


def test_intervals_of_a_rate_cover_the_truth_in_a_closed_loop() -> None:
    """Users who wait for their answers, before an engine whose pace comes and goes."""
    rng = np.random.default_rng(20261121)
    setting = {"users": 16, "mean_s": 1.5, "correlation": 0.7}
    long_run = 100_000
    truth = len(closed_loop_ends(rng, seconds=long_run, **setting)) / long_run
    held, seconds = 0, 300
    for _ in range(RUNS):
        amounts, _ = np.histogram(closed_loop_ends(rng, seconds=seconds, **setting), RATE_BLOCKS, (0, seconds))
        found = block_rate(amounts, seconds / RATE_BLOCKS, int(amounts.sum()))
        held += found.low <= truth <= found.high
    print(f"rate of a closed loop: {held / RUNS:.1%}")
    assert LEAST <= held / RUNS <= MOST


@pytest.fixture(scope="module")
def queue_truth() -> dict[int, float]:
    """Percentiles of the queue from millions of requests."""
    many = np.concatenate([queue_ms(np.random.default_rng(seed), 1_000_000, utilisation=0.85) for seed in range(5)])
    return {q: float(np.percentile(many, q)) for q in QUANTILES}


def test_long_open_loops_before_a_queue_are_covered(queue_truth: dict[int, float]) -> None:
    """85% busy: a busy spell lasts hundreds of requests, so that 30,000 hold few of them that matter to a p99."""
    found = covered_by(lambda rng: queue_ms(rng, 30_000, utilisation=0.85), queue_truth)
    print("queue, 30,000 requests:", found)
    assert min(found.values()) >= LEAST


# ---- where a run is too short for what happens in it: the limits that docs/metrics.md tells


def test_300_requests_bound_no_p99_above() -> None:
    rng = np.random.default_rng(20261121)
    assert all(percentiles(latencies_ms(rng, 300, correlation=0.5), (99,))[99].high is None for _ in range(100))


@pytest.mark.parametrize(("correlation", "least"), [(0.5, 0.93), (0.9, 0.93), (0.98, 0.82)])
def test_intervals_of_300_requests(correlation: float, least: float) -> None:
    assert min(coverage(correlation, 300).values()) >= least - tolerance(1.0 - least, RUNS)


def test_intervals_of_short_open_loops_before_a_queue(queue_truth: dict[int, float]) -> None:
    found = covered_by(lambda rng: queue_ms(rng, 3_000, utilisation=0.85), queue_truth)
    print("queue, 3,000 requests:", found)
    assert min(found.values()) >= 0.92 - tolerance(0.08, RUNS)


@pytest.mark.parametrize(
    ("correlation", "requests", "least", "most"),
    [(0.0, 300, 0.0, 0.02), (0.7, 3_000, 0.0, 0.02), (0.9, 30_000, 0.0, 0.02), (0.98, 300, 0.65, 1.0)],
)
def test_a_run_says_when_its_waves_are_as_long_as_itself(
    correlation: float, requests: int, least: float, most: float
) -> None:
    rng = np.random.default_rng(20261121)
    said = np.mean([too_short(latencies_ms(rng, requests, correlation=correlation)) for _ in range(RUNS)])
    print(f"correlation {correlation}, {requests} requests: {said:.1%} say so")
    assert least - tolerance(1.0 - least or 0.01, RUNS) <= said <= most + tolerance(most * (most < 1), RUNS)
