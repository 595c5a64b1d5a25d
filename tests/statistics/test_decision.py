"""What a decision promises: of two equal engines one is named in at most 5% of decisions, by whichever figure."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tokenswarm.analysis.compare.ab_test import Reading, difference
from tokenswarm.analysis.compare.sequential import Look
from tokenswarm.analysis.search.decision import DECIDED, SAME, EngineChoice, Interval, choose, ratio_of

from tests.statistics.simulated import runs, tolerance

DECISIONS = runs(2000, fast=500)
PLANNED = 10


def decided(apart: float, error: float, spread: float, rng: np.random.Generator) -> EngineChoice:
    """One decision between engines whose capacity and goodput differ by the factor exp(apart). `error`: the standard
    error of a capacity; `spread`: of one pair's difference."""
    estimates = [float(each) for each in np.exp(rng.normal([apart, 0.0], error))]
    capacity = ratio_of(
        *(Interval(each, each * math.exp(-1.96 * error), each * math.exp(1.96 * error)) for each in estimates)
    )
    logs, goodput = rng.normal(apart, spread, PLANNED), None
    for pairs in range(2, PLANNED + 1):
        look = Look(pairs, PLANNED)
        known = difference(
            [Reading(1.0)] * pairs,
            [Reading(float(np.exp(each))) for each in logs[:pairs]],
            ratio=True,
            paired=True,
            look=look,
        )
        goodput = Interval(known.change, known.low, known.high, known.p)
        if look.may_stop and (goodput.direction(0.025) or goodput.is_within(0.05)):
            break
    return choose(capacity, goodput)


@pytest.mark.parametrize(("error", "spread"), [(0.05, 0.09), (0.02, 0.03), (0.15, 0.2)])
def test_one_of_two_equal_engines_is_named_in_at_most_5_percent_of_decisions(error: float, spread: float) -> None:
    rng = np.random.default_rng([1, int(1000 * error), int(1000 * spread)])
    named = sum(decided(0.0, error, spread, rng).state == DECIDED for _ in range(DECISIONS)) / DECISIONS
    print(f"error {error:.0%}, spread {spread:.0%}: one of two equal engines named in {named:.1%}")
    assert named <= 0.05 + tolerance(0.05, DECISIONS)


def test_what_is_named_is_the_better_one_and_equal_is_said_of_equals() -> None:
    rng = np.random.default_rng(2)
    better = [decided(0.2, 0.04, 0.06, rng) for _ in range(200)]
    assert np.mean([each.state == DECIDED and each.first for each in better]) > 0.9
    assert not any(each.state == DECIDED and not each.first for each in better)
    assert np.mean([decided(0.0, 0.04, 0.02, rng).state == SAME for _ in range(200)]) > 0.8
