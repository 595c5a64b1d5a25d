"""Pairs of whole runs in virtual time, by this project's own dispatcher: equal sides, and what common work gains.

The engine is a small one, so that a run near its capacity is computed in a moment. The speed of the machine differs by
1% from run to run (standard deviation): without that, equal sides with one seed are equal to the last digit.
"""

from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest
from tokenswarm.analysis.compare.ab_test import Reading, difference

from tests.statistics.simulated import runs
from tokenswarm.base.config_text import parse_set
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.virtual.run import VirtualRun, run
from tokenswarm.virtual.simulated_engine import simulated
from tokenswarm.workloads.corpus import load_corpus

PAIRS = runs(60, fast=8)
TRIALS = 4000
NOISE = 0.01
MOST_ABOVE = runs(15, fast=25) / 1000
"""So many pairs of a normal law, drawn from again and again, show a rate of 3.2 to 7.4% (with FULL=1 of 4 to 6.5%)."""
SHORT = "rag.document_tokens=300 output.max_tokens=8 load.warmup_s=5 load.duration_s=30"
LOADS = {"open, 30%": "load.rate=4.5", "open, 80%": "load.rate=12", "open, 90%": "load.rate=13.5"}
LOADS |= {"closed": "load.users=9 load.spawn_rate=9"}
"""Of about 15 requests/s: four at a time, at a fifth of the profile's speed."""


def played(settings: str, seed: int, speed: float) -> VirtualRun:
    scenario = load_scenario("rag", parse_set(f"{SHORT} {settings}"))
    engine = simulated("--max-num-seqs", "4", "--time-scale", f"{0.2 * speed:.6f}")
    return run(scenario, engine, load_corpus(), seed=seed, salt=f"pair-{seed}")


def log_p95(found: VirtualRun) -> float:
    return math.log(np.percentile([row["ttft_ms"] for row in found.measured() if row["status"] == "ok"], 95))


@pytest.fixture(scope="module")
def equal() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By load: log TTFT p95 of both sides of pairs of equal engines, each pair with a seed."""
    sides = {}
    for name, settings in LOADS.items():
        rng = Random(f"speeds/{name}")
        a, b = [], []
        for seed in range(1, PAIRS + 1):
            first = played(settings, seed, math.exp(rng.gauss(0.0, NOISE)))
            answer_s = f" load.answer_s={first.timeline.pace.answer_s:g}"
            second = played(settings + answer_s, seed, math.exp(rng.gauss(0.0, NOISE)))
            a.append(log_p95(first))
            b.append(log_p95(second))
        sides[name] = np.array(a), np.array(b)
    return sides


def test_five_pairs_of_equal_sides_are_called_different_in_at_most_5_percent(equal) -> None:
    """Series of five of these pairs, those of each load scaled to the same spread so that there are many to draw from;
    which of two equal sides is called A is chance."""
    apart = np.concatenate([(b - a) / math.sqrt(float(np.mean((b - a) ** 2))) for a, b in equal.values()])
    rng, hits = np.random.default_rng(20261127), 0
    for _ in range(TRIALS):
        drawn = 0.05 * rng.choice(apart, 5, replace=False) * rng.choice((-1.0, 1.0), 5)
        b = [Reading(100.0 * math.exp(each)) for each in drawn]
        result = difference([Reading(100.0)] * 5, b, ratio=True, paired=True)
        hits += result is not None and result.significant
    print(f"{len(apart)} pairs of equal sides: five of them called different in {hits / TRIALS:.1%}")
    assert hits / TRIALS <= 0.05 + MOST_ABOVE


@pytest.mark.parametrize("name", [name for name in LOADS if name.startswith("open")])
def test_in_an_open_loop_common_work_leaves_half_as_much_to_chance_as_other_seeds_do_or_less(equal, name: str) -> None:
    common, independent = spreads(name, *equal[name])
    assert common < 0.5 * independent


def test_in_a_closed_loop_it_does_no_harm(equal) -> None:
    """There the moments of arrival follow from the answers, and drift apart after the first that is not as fast."""
    common, independent = spreads("closed", *equal["closed"])
    assert common < 1.5 * independent


def spreads(name: str, a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Standard deviations of log B/A: with common work, and with other seeds on either side."""
    common = float((b - a).std(ddof=1))
    independent = float(np.std([b[j] - a[i] for i in range(len(a)) for j in range(len(a)) if i != j]))
    print(f"{name}: p95 {math.exp(a.mean()):.0f} ms; spread {common:.3f} with common work, {independent:.3f} without")
    return common, independent
