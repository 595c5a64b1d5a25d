"""How noisy a machine is, from pairs of identical runs."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from tokenswarm.analysis.compare.ab_test import pairs_for, reach
from tokenswarm.analysis.compare.comparison_report import compare_runs
from tokenswarm.analysis.compare.noise import noise

from tests.analysis.compare.test_comparison import run


def qualified(folder: Path, factors: list[float]):
    work = [100, 180, 70, 130, 95, 160][: len(factors)]
    a = [
        run(folder, f"one-{seed}", level, seed=seed, started_at=f"2026-11-26T10:{2 * seed:02d}:00Z")
        for seed, level in enumerate(work)
    ]
    b = [
        run(folder, f"two-{seed}", level * factor, seed=seed, started_at=f"2026-11-26T10:{2 * seed + 1:02d}:00Z")
        for seed, (level, factor) in enumerate(zip(work, factors, strict=True))
    ]
    compared = compare_runs(a=a, b=b, labels=("one", "two"))
    figures = {each.figure.key: each for each in noise(compared.groups.a, compared.groups.b)}
    return compared, figures


def test_the_spread_within_a_pair_is_told_from_that_between_runs(tmp_path: Path) -> None:
    factors = [1.02, 0.98, 1.01, 0.99]
    compared, figures = qualified(tmp_path, factors)
    ttft = figures["ttft_p95_ms"]
    assert ttft.pair_spread == pytest.approx(float(np.log(factors).std(ddof=1)), rel=0.02)
    assert ttft.run_spread == pytest.approx(float(np.log([100, 180, 70, 130]).std(ddof=1)), rel=0.05)
    low, high = ttft.pair_spread_ci95
    assert low < ttft.pair_spread < high < 4 * ttft.pair_spread
    assert ttft.smallest[5] == pytest.approx(math.expm1(reach(5, ttft.pair_spread)))
    assert list(ttft.smallest.values()) == sorted(ttft.smallest.values(), reverse=True)
    assert ttft.second_to_first_p > 0.2
    assert "TTFT p95: runs spread by 39" in ttft.sentence() and "10% takes 3 pairs" in ttft.sentence()
    assert any("TTFT p95 spreads by 1.8% within a pair" in note for note in compared.notes)


def test_what_comes_second_and_is_always_faster_is_told(tmp_path: Path) -> None:
    _, figures = qualified(tmp_path, [0.80, 0.81, 0.79, 0.80])
    ttft = figures["ttft_p95_ms"]
    assert ttft.second_to_first == pytest.approx(0.80, rel=0.01) and ttft.second_to_first_p < 0.001


def test_a_single_pair_says_nothing(tmp_path: Path) -> None:
    assert qualified(tmp_path, [1.0])[1] == {}


def test_reach_and_pairs_belong_together() -> None:
    for spread in (0.03, 0.09, 0.3):
        pairs = pairs_for(math.log(1.1), spread)
        assert reach(pairs, spread) <= math.log(1.1) < (reach(pairs - 1, spread) if pairs > 2 else math.inf)
    assert pairs_for(math.log(1.1), 9.0) is None
