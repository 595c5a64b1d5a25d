"""How much repeats vary on a machine, and which differences can be detected there. Pure, on summaries."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from tokenswarm.analysis.compare.ab_test import MOST_REPEATS, Difference, pairs_for, reach
from tokenswarm.analysis.compare.comparison import Compared, compared, in_pairs
from tokenswarm.analysis.figures.statistics import CONFIDENCE
from tokenswarm.analysis.wording import percent

from tokenswarm.contract.summary.summary_record import Summary

NUMBERS_OF_PAIRS = (3, 5, 10, 20)
"""For these, the smallest detectable difference is reported."""
SOUGHT = 0.10
"""For this difference, the necessary pairs are reported."""


@dataclass(frozen=True, slots=True)
class Noise:
    """Noise of one figure, as shares.

    - run_spread: standard deviation between runs, each with different work
    - pair_spread: standard deviation of a pair's ratio, with its 95% interval; both runs do the same work
    - the smallest difference that a given number of pairs finds in 80% of series
    - the pairs needed for a difference of SOUGHT (None: more than 1,000)
    - ratio: the second runs of the pairs over the first ones, with its p value
    """

    figure: Compared
    pairs: int
    run_spread: float
    pair_spread: float
    pair_spread_ci95: tuple[float, float]
    smallest: dict[int, float]
    pairs_for_sought: int | None
    second_to_first: float
    second_to_first_p: float

    def sentence(self) -> str:
        """`TTFT p95: runs spread by 24%, pairs by 9.0% (5.4% to 25.8%); 5 pairs find 16%, 10% takes 9 pairs`."""
        low, high = self.pair_spread_ci95
        least = ", ".join(f"{pairs} pairs find {percent(share)}" for pairs, share in self.smallest.items())
        takes = f"{self.pairs_for_sought} pairs" if self.pairs_for_sought else f"more than {MOST_REPEATS:,} pairs"
        return (
            f"{self.figure.title}: runs spread by {percent(self.run_spread)}, pairs by {percent(self.pair_spread)} "
            f"({percent(low)} to {percent(high)}); {least}; {SOUGHT:.0%} takes {takes}"
        )


def noise(a: Sequence[Summary], b: Sequence[Summary]) -> list[Noise]:
    """The noise of each figure that is compared as a ratio and that every run has, from pairs of identical runs.

    The start times give the order within a pair. Empty for fewer than two pairs.
    """
    pairs = in_pairs(a, b)
    return (
        []
        if pairs is None
        else [its_noise for figure in compared() if figure.ratio and (its_noise := _of(figure, *pairs)) is not None]
    )


def _of(figure: Compared, a: Sequence[Summary], b: Sequence[Summary]) -> Noise | None:
    figures = [[figure.figure_of(summary) for summary in side] for side in (a, b)]
    values = [[each.value if each is not None else None for each in side] for side in figures]
    if any(value is None or value <= 0 for side in values for value in side):
        return None
    logs = np.log(np.array(values, dtype=float))
    starts = [[summary.run.started_at or "" for summary in side] for side in (a, b)]
    order = np.where([first <= other for first, other in zip(*starts, strict=True)], 1.0, -1.0)
    later = order * (logs[1] - logs[0])
    count = len(later)
    # Both runs are the same thing, so the mean difference of a pair is 0, except for the effect of coming second.
    spread = float(later.std(ddof=1))
    ends = [
        math.sqrt((count - 1) / float(stats.chi2.ppf(share, count - 1)))
        for share in (0.5 + CONFIDENCE / 2.0, 0.5 - CONFIDENCE / 2.0)
    ]
    run_spread = math.sqrt(float(logs.var(axis=1, ddof=1).mean()))
    p = float(stats.ttest_1samp(later, 0.0).pvalue) if spread > 0 else float(later.mean() == 0.0)
    return Noise(
        figure,
        count,
        run_spread,
        spread,
        (ends[0] * spread, ends[1] * spread),
        {pairs: math.expm1(reach(pairs, spread)) for pairs in NUMBERS_OF_PAIRS},
        pairs_for(math.log1p(SOUGHT), spread),
        math.exp(float(later.mean())),
        p,
    )


def pair_noise_words(title: str, difference: Difference) -> str:
    """What a comparison's pairs say about the machine: `TTFT p95 spreads by 9.0% within a pair: 5 pairs find ...`.

    Empty if there are no pairs, or nothing varies.
    """
    if not (difference.paired and difference.ratio and difference.spread):
        return ""
    pairs = len(difference.a.runs)
    needed = pairs_for(math.log1p(SOUGHT), difference.spread)
    takes = f"{needed} pairs" if needed else f"more than {MOST_REPEATS:,} pairs"
    return (
        f"{title} spreads by {percent(difference.spread)} within a pair (standard deviation): {pairs} pairs find "
        f"{percent(math.expm1(reach(pairs, difference.spread)))} in 80% of series, and {SOUGHT:.0%} takes {takes}."
    )
