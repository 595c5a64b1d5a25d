"""The A/B verdict: equal engines are called different in at most 5% of trials, a true 10% is found in at least 80%."""

from __future__ import annotations

import numpy as np
import pytest
from tokenswarm.analysis.compare.ab_test import Reading, difference, holm
from tokenswarm.analysis.figures.statistics import percentiles

from tests.statistics.simulated import latencies_ms, runs, tolerance
from tokenswarm.series.pairs import DEFAULT_REPEATS

TRIALS = runs(1000, fast=300)
REQUESTS = 3000
"""Of a run: five minutes at ten requests a second."""
CORRELATION = 0.7


def side(rng: np.random.Generator, *, scale: float, run_spread: float, repeats: int = DEFAULT_REPEATS) -> list[list]:
    """[TTFT p50, TTFT p95, E2E p95] readings of `repeats` runs."""
    readings: list[list[Reading]] = [[], [], []]
    for _ in range(repeats):
        ttft = latencies_ms(rng, REQUESTS, correlation=CORRELATION, run_spread=run_spread, scale=scale)
        e2e = 1000.0 + ttft + latencies_ms(rng, REQUESTS, correlation=CORRELATION)
        found = percentiles(ttft, (50, 95))
        for place, estimate in enumerate((found[50], found[95], percentiles(e2e, (95,))[95])):
            readings[place].append(Reading(estimate.value, estimate.low, estimate.high))
    return readings


def shares(run_spread: float, scale: float) -> tuple[float, float, float]:
    """(share of trials with a p50, with a p95 difference; share with any difference in the verdict)."""
    rng = np.random.default_rng(20261121)
    p50 = p95 = any_of_them = 0
    for _ in range(TRIALS):
        a, b = (side(rng, scale=one, run_spread=run_spread) for one in (1.0, scale))
        found = [difference(one, other, ratio=True) for one, other in zip(a, b, strict=True)]
        p50 += found[0].significant
        p95 += found[1].significant
        any_of_them += any(holm([one.p for one in found]))
    return p50 / TRIALS, p95 / TRIALS, any_of_them / TRIALS


@pytest.mark.parametrize("run_spread", [0.0, 0.03])
def test_equal_engines_are_called_different_in_at_most_5_percent_of_trials(run_spread: float) -> None:
    p50, p95, verdict = shares(run_spread, 1.0)
    print(f"run spread {run_spread:.0%}: p50 {p50:.1%}, p95 {p95:.1%}, verdict {verdict:.1%}")
    assert max(p50, p95, verdict) <= 0.05 + tolerance(0.05, TRIALS)


@pytest.mark.parametrize("run_spread", [0.0, 0.01])
def test_a_true_difference_of_10_percent_in_p95_is_found_in_at_least_80_percent_of_trials(run_spread: float) -> None:
    _, p95, _ = shares(run_spread, 1.1)
    print(f"run spread {run_spread:.0%}: found in {p95:.1%}")
    assert p95 >= 0.80 - tolerance(0.2, TRIALS)


def test_a_single_run_on_each_side_is_not_surer_than_its_blocks_allow() -> None:
    rng = np.random.default_rng(7)
    wrong = 0
    for _ in range(TRIALS):
        a, b = (side(rng, scale=1.0, run_spread=0.0, repeats=1)[1] for _ in range(2))
        wrong += difference(a, b, ratio=True).significant
    print(f"single runs: {wrong / TRIALS:.1%}")
    assert wrong / TRIALS <= 0.05 + tolerance(0.05, TRIALS)
