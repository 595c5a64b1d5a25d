"""An interval does not jump: with 20% more data its ends stay nearly where they were.

An end jumps when it moves by more than 1.5 times, or when it was closed and more data opens it. Each trial is a run of
latencies and one of p50, p95 and p99; the runs are independent or depend on their neighbours, from 100 to 1,500 long.
"""

from __future__ import annotations

import numpy as np
import pytest
from tokenswarm.analysis.figures.statistics import Estimate, percentiles

from tests.statistics.simulated import latencies_ms, runs, tolerance

QUANTILES = (50, 95, 99)
LENGTHS = (100, 150, 190, 230, 300, 450, 700, 1000, 1500)
CORRELATIONS = (0.0, 0.3, 0.5, 0.7, 0.9)
FACTOR = 1.5
MOST = 0.02


def jumps(before: Estimate, after: Estimate) -> bool:
    if before.value is None:
        return False
    ends = ((before.low, after.low), (before.high, after.high))
    return any(first is not None and (then is None or not 1 / FACTOR <= then / first <= FACTOR) for first, then in ends)


def jump_share(correlation: float, length: int, trials: int) -> dict[int, float]:
    rng = np.random.default_rng([20261121, length, int(10 * correlation)])
    found = dict.fromkeys(QUANTILES, 0)
    for _ in range(trials):
        values = latencies_ms(rng, int(1.2 * length), correlation=correlation)
        first, then = (percentiles(part, QUANTILES) for part in (values[:length], values))
        for q in QUANTILES:
            found[q] += jumps(first[q], then[q])
    return {q: count / trials for q, count in found.items()}


def test_twenty_percent_more_data_moves_an_end_by_more_than_half_in_at_most_2_percent_of_trials() -> None:
    trials = runs(1000, fast=60)
    shares = {(c, n): jump_share(c, n, trials) for c in CORRELATIONS for n in LENGTHS}
    by_percentile = {q: float(np.mean([share[q] for share in shares.values()])) for q in QUANTILES}
    worst = max(((max(share.values()), cell) for cell, share in shares.items()))
    print(f"jumps: {by_percentile}, all {np.mean(list(by_percentile.values())):.2%}; worst cell {worst}")
    count = trials * len(shares) * len(QUANTILES)
    assert np.mean(list(by_percentile.values())) <= MOST + tolerance(MOST, count)
    each = count // len(QUANTILES)
    assert {q: share for q, share in by_percentile.items() if share > MOST + tolerance(MOST, each)} == {}


@pytest.mark.parametrize("correlation", [0.0, 0.7])
def test_an_interval_never_jumps_where_its_ends_are_inside_the_sample(correlation: float) -> None:
    trials = runs(500, fast=60)
    shares = [jump_share(correlation, length, trials)[50] for length in LENGTHS]
    assert np.mean(shares) <= 0.005 + tolerance(0.005, trials * len(LENGTHS))
