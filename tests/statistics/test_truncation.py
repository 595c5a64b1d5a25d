"""What the rule of truncation promises, of TTFTs that depend on their neighbours (AR(1), 0.7), 3,000 a run.

For transients of 0 to 60% of a run: the p95 of what is left has a median bias of at most 2%, at most 1.25 times the
error (root mean square) of the p95 after the true cut, and intervals that cover it in at least 93%. A stationary run
is cut by more than 10% in at most 5%; a trend over the whole run is told in at least 90%.
"""

from __future__ import annotations

import numpy as np
import pytest
from tokenswarm.analysis.figures.statistics import percentiles
from tokenswarm.analysis.figures.truncation import CUT, NO_STATIONARY_PART, STATIONARY, Series, truncate

from tests.statistics.simulated import latencies_ms, runs, tolerance, true_percentile_ms

TRIALS = runs(1000, fast=120)
REQUESTS = 3000
BLOCKS = 40
TRUTH_MS = true_percentile_ms(95)
SHAPES = {
    "line": lambda at, end: np.maximum(1.0 - at / end, 0.0),
    "fading": lambda at, end: np.exp(-5.0 * at / end),
    "step": lambda at, end: (at < end) * 1.0,
}


def run_of(
    rng: np.random.Generator, end: float, shape: str, factor: float, requests: int = REQUESTS, correlation: float = 0.7
) -> np.ndarray:
    """TTFTs that begin at `factor` times their level and are there at `end` of the run."""
    at = (np.arange(requests) + 0.5) / requests
    transient = 1.0 + (factor - 1.0) * SHAPES[shape](at, end) if end else 1.0
    return latencies_ms(rng, requests, correlation=correlation) * transient


def found_in(values: np.ndarray, seed: int):
    return truncate({"ttft": Series(np.log(values).reshape(BLOCKS, -1).mean(axis=1))}, seed)


@pytest.mark.parametrize(
    ("end", "shape", "factor"),
    [
        (0.05, "fading", 5.0),
        (0.1, "line", 4.0),
        (0.3, "line", 4.0),
        (0.3, "line", 1.5),
        (0.3, "fading", 4.0),
        (0.3, "step", 2.0),
        (0.6, "line", 4.0),
        (0.6, "fading", 4.0),
        (0.6, "step", 3.0),
    ],
)
def test_a_transient_is_cut_where_it_ends(end: float, shape: str, factor: float) -> None:
    rng = np.random.default_rng([20261121, int(100 * end), int(10 * factor)])
    errors, ideal, covered, untold = [], [], 0, 0
    for trial in range(TRIALS):
        values = run_of(rng, end, shape, factor)
        found = found_in(values, trial)
        if found.state == NO_STATIONARY_PART:
            untold += 1
            continue
        estimate = percentiles(values[int(found.share * REQUESTS) :], (95,))[95]
        errors.append(estimate.value / TRUTH_MS - 1.0)
        ideal.append(np.percentile(values[int(end * REQUESTS) :], 95) / TRUTH_MS - 1.0)
        covered += (estimate.low or 0.0) <= TRUTH_MS and (estimate.high is None or estimate.high >= TRUTH_MS)
    kept = len(errors)
    ratio = float(np.sqrt(np.mean(np.square(errors)) / np.mean(np.square(ideal))))
    print(
        f"{shape} to {end:.0%}, x{factor:g}: median bias {np.median(errors):+.1%}, RMSE {ratio:.2f} times, "
        f"covered {covered / kept:.1%}, called without a stationary part {untold / TRIALS:.0%}"
    )
    # The median of so many errors is known to within about 1.25 standard errors of their mean.
    assert abs(np.median(errors)) <= 0.02 + 2.0 * 1.25 * float(np.std(errors)) / np.sqrt(kept)
    assert ratio <= 1.25
    assert covered / kept >= 0.93 - tolerance(0.07, kept)
    assert untold / TRIALS <= 0.6  # of a transient that fades for most of a run hardly anything shows the end


@pytest.mark.parametrize(("correlation", "requests"), [(0.0, 1000), (0.7, 1000), (0.7, 3000), (0.9, 3000)])
def test_a_stationary_run_is_cut_by_more_than_a_tenth_in_at_most_5_percent(correlation: float, requests: int) -> None:
    trials = runs(2000, fast=300)
    rng = np.random.default_rng(20261121)
    cut = sum(
        found_in(run_of(rng, 0.0, "line", 1.0, requests, correlation), trial).share > 0.1 for trial in range(trials)
    )
    print(f"correlation {correlation}, {requests} requests: {cut / trials:.1%} of stationary runs cut by more than 10%")
    assert cut / trials <= 0.05 + tolerance(0.05, trials)


@pytest.mark.parametrize(("factor", "requests"), [(2.0, 3000), (3.0, 3000), (4.0, 1000)])
def test_a_trend_over_the_whole_run_leaves_no_stationary_part(factor: float, requests: int) -> None:
    trials = runs(1000, fast=200)
    rng = np.random.default_rng(7)
    found = [found_in(run_of(rng, 1.0, "line", factor, requests), trial).state for trial in range(trials)]
    found += [found_in(run_of(rng, 1.0, "line", factor, requests)[::-1], trial).state for trial in range(trials)]
    told = np.mean([state == NO_STATIONARY_PART for state in found])
    print(
        f"trend from {factor:g} times, {requests} requests: {told:.1%} told; taken for stationary "
        f"{np.mean([state == STATIONARY for state in found]):.1%}, cut {np.mean([s == CUT for s in found]):.1%}"
    )
    assert told >= 0.90 - tolerance(0.10, 2 * trials)
