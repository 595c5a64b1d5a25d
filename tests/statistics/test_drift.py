"""Drift: a leak and a step are found, steady runs are left alone."""

from __future__ import annotations

import numpy as np
import pytest
from tokenswarm.analysis.figures.drift import DRIFTING, STEADY, STEPPED, judge

from tests.statistics.simulated import block_amounts, runs

RUNS, SERIES, BLOCKS, BLOCK_S = runs(100, fast=40), 7, 60, 120.0
"""A run of two hours, seven series of sixty blocks."""


def series(rng: np.random.Generator, correlation: float, *, leak: float = 0.0, step: float = 0.0) -> np.ndarray:
    """(BLOCKS,) values around 100 that depend on their neighbours; `leak` and `step` as shares of 100."""
    noise = block_amounts(rng, BLOCKS, mean=100.0, spread=4.0, correlation=correlation)
    return noise + 100 * leak * np.arange(BLOCKS) / BLOCKS + 100 * step * (np.arange(BLOCKS) >= 36)


@pytest.mark.parametrize("correlation", [0.0, 0.3])
def test_at_most_5_percent_of_steady_runs_give_a_false_alarm(correlation: float) -> None:
    rng, at = np.random.default_rng(20261121), np.arange(BLOCKS) * BLOCK_S
    alarms = sum(
        any(
            judge(at, series(rng, correlation), series=SERIES, seed=number * SERIES + one).state != STEADY
            for one in range(SERIES)
        )
        for number in range(RUNS)
    )
    print(f"correlation of blocks {correlation}: {alarms} of {RUNS} steady runs with a false alarm")
    assert alarms <= 0.05 * RUNS


@pytest.mark.parametrize("correlation", [0.0, 0.3])
def test_a_leak_and_a_step_are_found(correlation: float) -> None:
    rng, at = np.random.default_rng(7), np.arange(BLOCKS) * BLOCK_S
    leaks = [judge(at, series(rng, correlation, leak=0.25), series=SERIES, seed=number) for number in range(RUNS)]
    steps = [judge(at, series(rng, correlation, step=0.20), series=SERIES, seed=number) for number in range(RUNS)]
    found = sum(one.state != STEADY for one in leaks), sum(one.state == STEPPED for one in steps)
    print(
        f"correlation {correlation}: leak {found[0]} (called drifting {sum(o.state == DRIFTING for o in leaks)}), "
        f"step {found[1]}"
    )
    assert min(found) >= 0.8 * RUNS
    covered = sum(one.low <= 12.5 / 3600 * 3600 <= one.high for one in leaks)  # 25 in two hours
    assert covered >= 0.85 * RUNS
    times = [one.at_s for one in steps if one.state == STEPPED]
    assert abs(np.median(times) - 35.5 * BLOCK_S) <= 2 * BLOCK_S
