"""Looking at pairs after each of them without paying for it in false differences.

Who tests at 5% after every pair, and stops at the first difference, finds one between equal sides in up to a third of
series. So the error is spent over the looks (Lan and DeMets, Biometrika 70, 1983): of a series of at most N pairs, a
look after k of them tests at a level in proportion to (k / N)^3, late rather than early, as Kim and DeMets do
(Biometrika 74, 1987), and the levels are set so that all looks together err in 5%. The interval that is shown at a look
has that look's level too, so that all of them together hold the true value in 95% of series (repeated confidence
intervals, Jennison and Turnbull, Journal of the Royal Statistical Society B 51, 1989): wherever one stops, the
interval, a difference and equality within a margin keep what they promise.

The levels come from simulated series of equal sides: the paired t of normal differences has a law of its own, without
any unknown, so that a simulation gives it as exactly as one likes. tests/statistics checks the promises.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import special
from tokenswarm.analysis.figures.statistics import CONFIDENCE

LEAST_PAIRS = 3
"""Before that nothing is stopped for what it says: two pairs know next to nothing of their own spread."""
_FIRST_LOOK = 2
"""Somebody sees it, and may stop there; it costs next to nothing."""
_SPENDING_POWER = 3.0
_SERIES = 100_000
_PAIRS_DRAWN = 5_000_000
_LEAST_SERIES = 10_000


@dataclass(frozen=True, slots=True)
class Look:
    """One test of a series of pairs: after `done` of at most `planned`; `planned` None: the only test there is."""

    done: int = 0
    planned: int | None = None

    @property
    def level(self) -> float:
        """The level, two-sided, of the test and of the interval at this look."""
        if not self._is_one_of_several:
            return 1.0 - CONFIDENCE
        return _unit_level(self.planned or 0) * self._weight

    def p(self, p_now: float) -> float:
        """`p_now`, of the data so far, as the chance that equal sides look as different at any look of a series."""
        if not self._is_one_of_several:
            return p_now
        extremes = _extremes(self.planned or 0)
        as_far = int(np.searchsorted(extremes, p_now / self._weight, side="right"))
        return (as_far + 1) / (len(extremes) + 1)

    @property
    def may_stop(self) -> bool:
        """Whether the series may end here for what it says; a series that is over has ended anyhow."""
        return self.planned is not None and min(LEAST_PAIRS, self.planned) <= self.done

    def unpaired(self, p_now: float) -> float:
        """The same of a test that is not of pairs: corrected for the number of looks (Bonferroni)."""
        return min(1.0, p_now * len(looks(self.planned))) if self.planned is not None else p_now

    @property
    def unpaired_level(self) -> float:
        """The level of a test that is not of pairs."""
        return (1.0 - CONFIDENCE) / (len(looks(self.planned)) if self.planned is not None else 1)

    @property
    def _is_one_of_several(self) -> bool:
        return self.planned is not None and len(looks(self.planned)) > 1

    @property
    def _weight(self) -> float:
        return _weight(max(self.done, looks(self.planned or 0)[0]), self.planned or 0)


ONLY_LOOK = Look()


def looks(planned: int) -> range:
    """After how many pairs a series of at most `planned` is tested."""
    return range(min(_FIRST_LOOK, planned), planned + 1)


def _weight(done: int, planned: int) -> float:
    return (min(done, planned) / planned) ** _SPENDING_POWER


def _unit_level(planned: int) -> float:
    """The level of the last look."""
    extremes = _extremes(planned)
    return float(extremes[int((1.0 - CONFIDENCE) * len(extremes)) - 1])


@cache
def _extremes(planned: int) -> np.ndarray:
    """Of simulated series of equal sides, sorted: the least p / weight of all looks."""
    rng = np.random.default_rng([20261126, planned])
    series = max(_LEAST_SERIES, min(_SERIES, _PAIRS_DRAWN // planned))
    total, squares, least = np.zeros(series), np.zeros(series), np.full(series, np.inf)
    chosen = looks(planned)
    for pair in range(1, planned + 1):
        difference = rng.standard_normal(series)
        total += difference
        squares += difference**2
        if pair in chosen and pair > 1:
            variance = (squares - total**2 / pair) / (pair - 1)
            t = np.abs(total) / np.sqrt(pair * variance)
            least = np.minimum(least, 2.0 * special.stdtr(pair - 1, -t) / _weight(pair, planned))
    return np.sort(least)
