"""Series of pairs that are looked at after each: the error over all looks, and the pairs that stopping saves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from tokenswarm.analysis.compare.ab_test import MARGIN, Reading, Rules, difference
from tokenswarm.analysis.compare.sequential import ONLY_LOOK, Look, looks

from tests.statistics.simulated import runs, tolerance

SPREAD = 0.09
TRIALS = runs(100_000, fast=20_000)


class Looks:
    """Of many series of `planned` pairs at once: the ratio's intervals at every look, as `difference` makes them."""

    def __init__(self, planned: int, effect: float, *, naive: bool = False, tails: float | None = None) -> None:
        rng = np.random.default_rng([20261126, planned, int(1000 * effect)])
        noise = (
            rng.standard_normal((TRIALS, planned))
            if tails is None
            else rng.standard_t(tails, (TRIALS, planned)) / math.sqrt(tails / (tails - 2.0))
        )
        self.apart = math.log(effect) + SPREAD * noise
        self.low, self.high = (np.empty((TRIALS, planned)) for _ in "lh")
        for done in range(2, planned + 1):
            so_far = self.apart[:, :done]
            level = (ONLY_LOOK if naive else Look(done, planned)).level
            half = stats.t.ppf(1.0 - level / 2.0, done - 1) * so_far.std(axis=1, ddof=1) / math.sqrt(done)
            self.low[:, done - 1], self.high[:, done - 1] = so_far.mean(axis=1) - half, so_far.mean(axis=1) + half
        self.may_stop = np.arange(1, planned + 1) >= 3

    def ended(self, holds: np.ndarray) -> tuple[float, float]:
        """Share of series that end because of it, and the pairs that they take in the mean."""
        holds = holds & self.may_stop
        planned = holds.shape[1]
        pairs = np.where(holds.any(axis=1), holds.argmax(axis=1) + 1, planned)
        return float(holds.any(axis=1).mean()), float(pairs.mean())

    def different(self) -> tuple[float, float]:
        return self.ended((self.low > 0.0) | (self.high < 0.0))

    def equal(self) -> tuple[float, float]:
        margin = math.log1p(MARGIN)
        return self.ended((self.low >= -margin) & (self.high <= margin))


def test_the_intervals_here_are_those_of_a_comparison() -> None:
    series = Looks(5, 1.1)
    work = np.array([100.0, 240.0, 80.0, 130.0, 55.0])
    b = work * np.exp(series.apart[0])
    for done in looks(5):
        sides = ([Reading(float(value)) for value in values[:done]] for values in (work, b))
        found = difference(*sides, ratio=True, paired=True, look=Rules(planned_pairs=5).look(done))
        assert (math.log(found.low), math.log(found.high)) == pytest.approx(
            (series.low[0, done - 1], series.high[0, done - 1])
        )
        assert found.significant == (found.low > 1.0 or found.high < 1.0)


@pytest.mark.parametrize("planned", [3, 5, 10, 30])
def test_equal_sides_are_called_different_in_at_most_5_percent_of_series(planned: int) -> None:
    (wrong, _), (naive, _), (heavy, _) = (
        series.different()
        for series in (Looks(planned, 1.0), Looks(planned, 1.0, naive=True), Looks(planned, 1.0, tails=4.0))
    )
    print(
        f"at most {planned} pairs, equal sides: different {wrong:.1%} (heavy tails {heavy:.1%}); "
        f"by a test at 5% after each pair {naive:.1%}"
    )
    assert max(wrong, heavy) <= 0.05 + tolerance(0.05, TRIALS)
    assert planned < 5 or naive > 0.09, "this test would see nothing"


@pytest.mark.parametrize("planned", [10, 30])
def test_sides_that_differ_by_the_margin_are_called_equal_in_at_most_5_percent_of_series(planned: int) -> None:
    wrong, _ = Looks(planned, 1.0 + MARGIN).equal()
    print(f"at most {planned} pairs that differ by the margin: equal {wrong:.1%}")
    assert wrong <= 0.05 + tolerance(0.05, TRIALS)


@pytest.mark.parametrize(
    ("planned", "effect", "least", "most_pairs"), [(10, 1.10, 0.77, 8.6), (10, 1.20, 0.99, 6.3), (30, 1.05, 0.75, 23.5)]
)
def test_stopping_saves_pairs_and_finds_nearly_as_much(
    planned: int, effect: float, least: float, most_pairs: float
) -> None:
    found, pairs = Looks(planned, effect).different()
    once = float((Looks(planned, effect, naive=True).low[:, -1] > 0.0).mean())
    print(
        f"a true {effect - 1:.0%}, at most {planned} pairs: found in {found:.1%} after {pairs:.1f} pairs "
        f"(one test after all {planned}: {once:.1%})"
    )
    assert found >= least and pairs <= most_pairs
    assert found >= once - 0.08
