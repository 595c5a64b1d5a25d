"""Whether two groups of runs differ in a figure, and by how much. Pure functions over the runs' figures.

A run gives each figure a value and an interval that covers the random variation within that run. It cannot show how
much it differs from a repeat: a restart, a noisy neighbour, a busy cloud. So the unit of evidence is the run. The
spread between the repeats of each side is measured (it includes the variation within runs), and Welch's t-test
(Biometrika 34, 1947) weights the sides by it without assuming equal spreads. Ratios are tested on their logarithms.

Runs made in pairs, with the same seed and therefore the same work at the same times, are tested by their differences
within each pair (paired t), which cancels the effect of the work. Three answers are possible: different; equal within a
margin (the whole interval lies inside it: two one-sided tests, Schuirmann, Journal of Pharmacokinetics and
Biopharmaceutics 15, 1987, at 2.5% each); and undecided, with the number of repeats that it would still take.

With a single run on either side, that spread is unknown unless the user states it or the other side has repeats. Then
the run's own interval stands in for it, if both of its ends are known, and `repeated` is False: variation between runs
is not covered.

A bootstrap over three runs is overconfident: the spread of three resampled runs is two thirds of the true one on
average, so equal engines would be called different far too often. tests/statistics checks what the method here
promises.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from tokenswarm.analysis.compare.sequential import ONLY_LOOK, Look
from tokenswarm.analysis.figures.statistics import CONFIDENCE, RATE_BLOCKS, t_quantile

_Z = float(stats.norm.ppf(0.5 + CONFIDENCE / 2.0))
_SINGLE_RUN_DF = RATE_BLOCKS - 1
"""Degrees of freedom of a single run's interval: its number of blocks minus one."""


MARGIN = 0.05
"""Ratios this close to 1 count as equal in practice."""
MARGIN_POINTS = 0.01
"""The same for a difference between shares."""
POWER = 0.80
MOST_REPEATS = 1000
"""Larger numbers are not computed."""


_LARGEST_LOG = 700.0


@dataclass(frozen=True, slots=True)
class Rules:
    """What a comparison counts as equal, and what the user stated.

    - margin: as a share of a ratio; points: of a difference between shares (0..1)
    - run_spread: standard deviation between runs as a share, if known
    - planned_pairs: the series may have ended after any pair, up to this many
    - any_clocks: compare runs even if their GPUs ran at different clocks
    """

    margin: float = MARGIN
    points: float = MARGIN_POINTS
    run_spread: float | None = None
    planned_pairs: int | None = None
    any_clocks: bool = False

    @property
    def margin_words(self) -> str:
        """`5%`."""
        return f"{100.0 * self.margin:.3g}%"

    def look(self, pairs: int) -> Look:
        """The test after this many pairs."""
        return ONLY_LOOK if self.planned_pairs is None else Look(pairs, max(self.planned_pairs, pairs))


USUAL_RULES = Rules()


@dataclass(frozen=True, slots=True)
class Reading:
    """One figure of one run: its value and 95% interval (None = end not known)."""

    value: float
    low: float | None = None
    high: float | None = None

    def spread(self, log: bool) -> float | None:
        """Standard error implied by the interval, on the scale of the test; None if an end is unknown.

        Uses the wider half: if one side of an interval is open, it says nothing about how wide it is there.
        """
        if self.low is None or self.high is None or (log and self.low <= 0):
            return None
        halves = [math.log(end / self.value) if log else end - self.value for end in (self.low, self.high)]
        return max(map(abs, halves)) / _Z


@dataclass(frozen=True, slots=True)
class Side:
    """One group's value of a figure: mean of its runs (geometric for a ratio) with a 95% interval."""

    value: float
    low: float
    high: float
    runs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """B against A. `change` is B/A for a ratio and B - A for a difference, with its 95% interval and a p value.

    `repeated`: the interval covers variation between runs, because both sides have several or the user stated the
    spread.
    """

    a: Side
    b: Side
    change: float
    low: float
    high: float
    p: float
    repeated: bool
    ratio: bool
    paired: bool = False
    spread: float | None = None
    """Standard deviation of one pair's (one run's) difference, on the scale of the test; None without repeats."""
    wilcoxon_p: float | None = None
    """p of Wilcoxon's signed-rank test of the pairs, shown next to `p`. It assumes no normal distribution, and is not
    corrected for repeated looks.
    """

    def is_equal(self, margin: float = MARGIN, points: float = MARGIN_POINTS) -> bool:
        """Whether the whole interval lies within the margin: a share of a ratio, `points` (0..1) of a difference."""
        least, most = self._bounds(margin, points)
        return least <= self.low and self.high <= most

    @staticmethod
    def _scale(value: float, ratio: bool) -> float:
        return math.log(value) if ratio else value

    def _bounds(self, margin: float, points: float) -> tuple[float, float]:
        return (1.0 / (1.0 + margin), 1.0 + margin) if self.ratio else (-points, points)

    def repeats_needed(self, margin: float = MARGIN, points: float = MARGIN_POINTS) -> int | None:
        """Pairs (or runs of each side) needed, with a power of 80%, to tell a true difference as large as the measured
        one from none, or to show that it lies within the margin, whichever takes fewer.

        None if the spread is unknown, or more than MOST_REPEATS are needed.
        """
        if self.spread is None or self.spread <= 0.0:
            return None
        apart = abs(self._scale(self.change, self.ratio))
        to_margin = self._scale(self._bounds(margin, points)[1], self.ratio) - apart
        return pairs_for(max(apart, to_margin), self.spread, paired=self.paired)

    @property
    def significant(self) -> bool:
        """Whether the 95% interval excludes equality."""
        return self.p < 1.0 - CONFIDENCE


def reach(pairs: int, spread: float, *, paired: bool = True) -> float:
    """The difference, on the scale of the test, that this many pairs (runs of each side) tell from none with a power of
    80%.

    `spread`: the standard deviation of one pair's difference.
    """
    df = pairs - 1 if paired else 2 * (pairs - 1)
    return (t_quantile(0.5 + CONFIDENCE / 2.0, df) + t_quantile(POWER, df)) * spread / math.sqrt(pairs)


def pairs_for(apart: float, spread: float, *, paired: bool = True) -> int | None:
    """Pairs (runs of each side) needed to detect a difference of `apart`; None if more than MOST_REPEATS."""
    return next((count for count in range(2, MOST_REPEATS + 1) if reach(count, spread, paired=paired) <= apart), None)


def difference(
    a: Sequence[Reading],
    b: Sequence[Reading],
    *,
    ratio: bool,
    paired: bool = False,
    run_spread: float | None = None,
    look: Look = ONLY_LOOK,
) -> Difference | None:
    """B against A, as a ratio (of positive figures) or as a difference; None if it is unknown.

    A ratio is None if a value is not above 0; either is None if neither repeats nor intervals show the random
    variation.

    - paired: a[i] and b[i] are runs of the same work
    - run_spread: standard deviation between runs, as a share (ratio) or in the figure's unit, if the user stated it;
      used for a single run
    - look: which of several tests this is
    """
    if not a or not b or (ratio and min(reading.value for reading in (*a, *b)) <= 0):
        return None
    if paired and len(a) == len(b) > 1:
        return _paired(a, b, ratio, look)
    side_a, side_b = _side(a, b, ratio, run_spread), _side(b, a, ratio, run_spread)
    if side_a is None or side_b is None:
        return None
    (mean_a, error_a, df_a), (mean_b, error_b, df_b) = side_a, side_b
    error = math.hypot(error_a, error_b)
    if error == 0.0:  # nothing varies: shares of 0 or 1 on both sides, or the same figure in every run
        df = df_a + df_b
        p = 1.0 if mean_a == mean_b else 0.0
    else:
        df = error**4 / (_part(error_a, df_a) + _part(error_b, df_b))
        p = float(2.0 * stats.t.sf(abs(mean_b - mean_a) / error, df))
    half = t_quantile(1.0 - look.unpaired_level / 2.0, df) * error
    change = mean_b - mean_a
    to_scale = _exp if ratio else float
    return Difference(
        a=_shown(a, mean_a, error_a, df_a, ratio),
        b=_shown(b, mean_b, error_b, df_b, ratio),
        change=to_scale(change),
        low=to_scale(change - half),
        high=to_scale(change + half),
        p=look.unpaired(p),
        repeated=min(len(a), len(b)) > 1 or run_spread is not None,
        ratio=ratio,
        spread=math.hypot(error_a * math.sqrt(len(a)), error_b * math.sqrt(len(b))) if len(a) * len(b) > 1 else None,
    )


def _paired(a: Sequence[Reading], b: Sequence[Reading], ratio: bool, look: Look) -> Difference | None:
    """The paired t-test on (the logarithms of) the runs of each pair.

    For a difference, None if nothing varies and nothing differs: no error in any run does not prove that none can
    occur.
    """
    before, after = _scaled(a, ratio), _scaled(b, ratio)
    apart = after - before
    count = len(apart)
    spread, change = float(apart.std(ddof=1)), float(apart.mean())
    if spread == 0.0 and not ratio:
        return difference(a, b, ratio=ratio, look=look)
    error = spread / math.sqrt(count)
    p = float(2.0 * stats.t.sf(abs(change) / error, count - 1)) if error > 0.0 else float(change == 0.0)
    half = t_quantile(1.0 - look.level / 2.0, count - 1) * error
    to_scale = _exp if ratio else float
    in_a, in_b = (
        _shown(group, float(values.mean()), float(values.std(ddof=1)) / math.sqrt(count), count - 1, ratio)
        for group, values in ((a, before), (b, after))
    )
    return Difference(
        in_a,
        in_b,
        change=to_scale(change),
        low=to_scale(change - half),
        high=to_scale(change + half),
        p=look.p(p),
        repeated=True,
        ratio=ratio,
        paired=True,
        spread=spread,
        wilcoxon_p=_signed_ranks_p(apart),
    )


def _signed_ranks_p(apart: np.ndarray) -> float:
    """Two-sided p of Wilcoxon's signed-rank test, exact without ties (Biometrics Bulletin 1, 1945).

    With 5 pairs its smallest p is 0.0625, so it needs 6 to find anything at 5%.
    """
    moved = apart[apart != 0.0]
    return float(stats.wilcoxon(moved).pvalue) if len(moved) else 1.0


def _exp(logarithm: float) -> float:
    """The ratio from its logarithm, capped so that an extreme end of an interval from two pairs stays finite."""
    return math.exp(min(max(logarithm, -_LARGEST_LOG), _LARGEST_LOG))


def _part(error: float, df: float) -> float:
    return error**4 / df if error else 0.0


def _side(
    group: Sequence[Reading], other: Sequence[Reading], log: bool, run_spread: float | None
) -> tuple[float, float, float] | None:
    """(mean, standard error of the mean, degrees of freedom) of one side, on the scale of the test."""
    values = _scaled(group, log)
    inside = group[0].spread(log)
    if len(group) > 1:
        spread = float(values.std(ddof=1))
        if spread == 0.0 and not log:  # no error in any run does not prove that none can occur
            spread = inside or 0.0
        return float(values.mean()), spread / math.sqrt(len(group)), len(group) - 1
    if inside is None:
        return None
    between = float(_scaled(other, log).std(ddof=1)) if len(other) > 1 else 0.0
    df = len(other) - 1 if len(other) > 1 else _SINGLE_RUN_DF
    # The measured spread between repeats includes the variation within runs; a stated one may not.
    return float(values[0]), max(inside, between) if run_spread is None else math.hypot(inside, run_spread), df


def _scaled(group: Sequence[Reading], log: bool) -> np.ndarray:
    return np.array([math.log(reading.value) if log else reading.value for reading in group])


def _shown(group: Sequence[Reading], mean: float, error: float, df: float, log: bool) -> Side:
    half = t_quantile(0.5 + CONFIDENCE / 2.0, df) * error
    to_scale = _exp if log else float
    return Side(to_scale(mean), to_scale(mean - half), to_scale(mean + half), tuple(reading.value for reading in group))


def holm(p_values: Sequence[float]) -> list[bool]:
    """Which hypotheses are rejected, such that any false rejection among all has at most 5% probability.

    Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    rejected = [False] * len(p_values)
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[index] >= (1.0 - CONFIDENCE) / (len(p_values) - rank):
            break
        rejected[index] = True
    return rejected
