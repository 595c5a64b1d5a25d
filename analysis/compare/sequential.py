"""Looking at the result after each pair without inflating the rate of false differences.

Testing at 5% after every pair, and stopping at the first difference, would find one between equal sides in up to a
third of series. So the error is spent over the looks (Lan and DeMets, Biometrika 70, 1983). In a series of at most N
pairs, the look after k pairs tests at a level proportional to (k / N)^3, late rather than early, as in Kim and DeMets
(Biometrika 74, 1987), and the levels are scaled so that all looks together have an error of 5%. The interval shown at a
look has that look's level too, so that all intervals together cover the true value in 95% of series (repeated
confidence intervals, Jennison and Turnbull, Journal of the Royal Statistical Society B 51, 1989). So intervals,
differences and equality within a margin keep their promise wherever the series stops.

The levels come from simulated series of equal sides. The paired t statistic of normal differences has a distribution
without unknown parameters, so a simulation can determine the levels as precisely as needed. tests/statistics checks the
promises.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import special
from tokenswarm.analysis.figures.statistics import CONFIDENCE

LEAST_PAIRS = 3
"""The series is not stopped before this: two pairs hardly determine their own spread."""
_FIRST_LOOK = 2
"""The user sees this look and may stop there; it costs almost no error."""
_SPENDING_POWER = 3.0
_SERIES = 100_000
_PAIRS_DRAWN = 5_000_000
_LEAST_SERIES = 10_000


@dataclass(frozen=True, slots=True)
class Look:
    """One test of a series of pairs, after `done` of at most `planned`; `planned` None: the only test there is."""

    done: int = 0
    planned: int | None = None

    @property
    def level(self) -> float:
        """Two-sided level of the test and the interval at this look."""
        if not self._is_one_of_several:
            return 1.0 - CONFIDENCE
        return _unit_level(self.planned or 0) * self._weight

    def p(self, p_now: float) -> float:
        """`p_now`, the p value of the data so far, corrected for all looks: the probability that equal sides look this
        different at any look of a series.
        """
        if not self._is_one_of_several:
            return p_now
        extremes = _extremes(self.planned or 0)
        as_far = int(np.searchsorted(extremes, p_now / self._weight, side="right"))
        return (as_far + 1) / (len(extremes) + 1)

    @property
    def may_stop(self) -> bool:
        """Whether the series may end here because of its result; a complete series has ended in any case."""
        return self.planned is not None and min(LEAST_PAIRS, self.planned) <= self.done

    def unpaired(self, p_now: float) -> float:
        """p corrected for the number of looks (Bonferroni), for a test without pairs."""
        return min(1.0, p_now * len(looks(self.planned))) if self.planned is not None else p_now

    @property
    def unpaired_level(self) -> float:
        """The level of a test without pairs."""
        return (1.0 - CONFIDENCE) / (len(looks(self.planned)) if self.planned is not None else 1)

    @property
    def _is_one_of_several(self) -> bool:
        return self.planned is not None and len(looks(self.planned)) > 1

    @property
    def _weight(self) -> float:
        return _weight(max(self.done, looks(self.planned or 0)[0]), self.planned or 0)


ONLY_LOOK = Look()


def looks(planned: int) -> range:
    """The numbers of pairs after which a series of at most `planned` is tested."""
    return range(min(_FIRST_LOOK, planned), planned + 1)


def _weight(done: int, planned: int) -> float:
    return (min(done, planned) / planned) ** _SPENDING_POWER


def _unit_level(planned: int) -> float:
    """The level of the last look."""
    extremes = _extremes(planned)
    return float(extremes[int((1.0 - CONFIDENCE) * len(extremes)) - 1])


@cache
def _extremes(planned: int) -> np.ndarray:
    """For simulated series of equal sides, sorted: the smallest p / weight over all looks."""
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
