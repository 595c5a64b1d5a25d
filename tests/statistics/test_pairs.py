"""Pairs that share their work: what a paired test of them finds, and how many it takes.

Runs differ by their work (standard deviation 0.30 of the logarithm of a figure, as p95 TTFT does at 80% load) and by
what is left when both sides of a pair have the same (0.09).
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from tokenswarm.analysis.compare.ab_test import MARGIN, Reading, difference

from tests.statistics.simulated import runs, tolerance

WORK, REST = 0.30, 0.09
TRIALS = runs(4000, fast=1000)


def pairs(rng: np.random.Generator, count: int, effect: float) -> tuple[list[Reading], list[Reading]]:
    work = 100.0 * np.exp(rng.normal(0.0, WORK, count))
    rest = rng.normal(0.0, REST / math.sqrt(2.0), (2, count))
    return (
        [Reading(value) for value in work * np.exp(rest[0])],
        [Reading(value) for value in work * np.exp(rest[1]) * effect],
    )


def share(count: int, effect: float, told, *, paired: bool = True) -> float:
    rng = np.random.default_rng([20261126, count, int(1000 * effect)])
    return sum(told(difference(*pairs(rng, count, effect), ratio=True, paired=paired)) for _ in range(TRIALS)) / TRIALS


@pytest.mark.parametrize("count", [2, 5, 10, 20])
def test_equal_sides_are_called_different_in_at_most_5_percent(count: int) -> None:
    assert share(count, 1.0, lambda found: found.significant) <= 0.05 + tolerance(0.05, TRIALS)


@pytest.mark.parametrize("count", [5, 10, 20, 40])
def test_sides_that_differ_by_the_margin_are_called_equal_in_at_most_5_percent(count: int) -> None:
    wrong = share(count, 1.0 + MARGIN, lambda found: found.is_equal())
    print(f"{count} pairs that differ by {MARGIN:.0%}: called equal {wrong:.1%}")
    assert wrong <= 0.05 + tolerance(0.05, TRIALS)


@pytest.mark.parametrize(("effect", "needed"), [(1.05, 29), (1.10, 10), (1.20, 5)])
def test_the_pairs_that_a_true_difference_needs(effect: float, needed: int) -> None:
    found = share(needed, effect, lambda each: each.significant)
    unpaired = share(needed, effect, lambda each: each.significant, paired=False)
    print(f"{effect - 1:.0%}: {needed} pairs find {found:.0%}, tested as unpaired {unpaired:.0%}")
    assert found >= 0.80 - tolerance(0.20, TRIALS)
    assert unpaired < 0.5


@pytest.mark.parametrize("effect", [1.1, 1.2])
def test_the_number_that_is_told_finds_it(effect: float) -> None:
    """`repeats_needed`, from twenty pairs that know the spread well: about the number that gives 80%."""
    rng = np.random.default_rng(3)
    told = [difference(*pairs(rng, 20, effect), ratio=True, paired=True).repeats_needed() for _ in range(200)]
    middle = int(np.median([each for each in told if each is not None]))
    found = share(middle, effect, lambda each: each.significant)
    print(f"{effect - 1:.0%}: {middle} pairs are told in the median; they find {found:.0%}")
    assert 0.70 <= found <= 0.92
