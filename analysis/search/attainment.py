"""Whether a load meets its limits, decided while it is measured: attainment with an interval that is valid at any look.

Attainment is the share of sent requests that meet every limit. Requests that are close in time are dependent; the
variance between batches of successive requests shows how many independent ones they count as. Batches are as long as
the dependence requires (Sokal, Monte Carlo Methods in Statistical Mechanics, 1989, section 3: a window of several times
the correlation time), so a longer run has more batches, and more data makes the interval narrower.

A level with hardly any bad request cannot show how bad requests cluster. What it shows itself is weighted by its
number of batches, and the rest comes from the loads beside the target: at a load that just meets the target, which is
what a pass has to exclude, bad requests cluster as they do there.

Looks are few (each at about twice the requests of the previous one), and each look at each level gets a small part of
the error, so all decisions of a search together are wrong with at most that probability (Bonferroni over looks and
levels; Lan and DeMets, Biometrika 70, 1983, for spending it by looks).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats
from scipy.special import betaincinv
from tokenswarm.analysis.search.margin_line import steps_of

FEWEST_BLOCKS, MOST_BLOCKS, REQUESTS_A_BLOCK = 20, 1024, 25
"""Blocks of time of one run: about this many requests each, within a minimum and maximum number of blocks."""
BATCH_WORTH = 8.0
"""A batch is as long as this many independent requests: shorter ones miss part of the dependence."""
FEWEST_BATCHES = 10
_LONGER = 1.5
"""Factor between successive batch lengths that are tried."""
LEAST_DEPENDENCE = 3.0
"""How many requests count as one if nothing shows it, because no level near the target had bad ones."""
BORROWED = 20.0
"""Batches that the dependence beside the target counts as, at a level with few of its own."""
ERROR = 0.05
"""Probability that any decision of a whole search is wrong."""
SLOW = 0.5
"""Share of its limit from which a latency shows how bad requests cluster.

Latencies far below the limit (a pause of the client, a long prompt) cluster for other reasons.
"""
DECISIVE_LEVELS = 4
MOST_LOOKS = 6
"""Number of equal parts into which the error is split. A search has more levels, but those further from the capacity
than a few percent are misjudged so rarely that they add nothing.
"""
_FEWEST_FREE = 4
_CERTAIN = 10_000
"""Batches from which a variance counts as known."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """One run's requests in successive blocks of time: how many were `sent`, `good`, and `slow`.

    `slow`: among the run's own slowest (worse than the target's quantile and than SLOW), which shows how bad requests
    cluster if there are hardly any.
    """

    sent: tuple[int, ...]
    good: tuple[int, ...]
    slow: tuple[int, ...]
    steps: tuple[int, ...] = ()
    """The run's margins, as counts (`margin_line`)."""

    @property
    def requests(self) -> int:
        return sum(self.sent)


NOTHING = Blocks((), (), ())
"""The blocks of a run in which nothing was measured."""


def blocks_of(sent_s: np.ndarray, margin: np.ndarray, window: tuple[float, float], target: float) -> Blocks:
    """The blocks of a run.

    - sent_s: when each request was sent
    - margin: its worst latency as a share of its limit (1: just met; infinite: failed; NaN: unknown, left out)
    - window: the measured phase, in the same seconds
    """
    known = ~np.isnan(margin)
    sent_s, margin = sent_s[known], margin[known]
    blocks = min(MOST_BLOCKS, max(FEWEST_BLOCKS, len(margin) // REQUESTS_A_BLOCK))
    edges = np.linspace(*window, blocks + 1)
    place = np.clip(np.searchsorted(edges, sent_s, side="right") - 1, 0, blocks - 1)
    slow = margin > max(SLOW, np.quantile(margin, target, method="higher")) if len(margin) else margin > 1.0

    def count(which: np.ndarray) -> tuple[int, ...]:
        return tuple(np.bincount(place[which], minlength=blocks).tolist())

    return Blocks(count(np.ones(len(margin), dtype=bool)), count(margin <= 1.0), count(slow), steps_of(margin))


@dataclass(frozen=True, slots=True)
class Attainment:
    """The share of good requests at one load.

    `low`, `high`: its interval, valid at any look. `dependence`: how many requests count as one independent one.
    `requests`: how many there were.
    """

    share: float | None
    low: float = 0.0
    high: float = 1.0
    requests: int = 0
    dependence: float = 1.0

    def state(self, target: float) -> str:
        """pass | fail if it is certainly above or below the target, else undecided."""
        if self.requests and self.low >= target:
            return "pass"
        return "fail" if self.requests and self.high < target else "undecided"


def error_of_a_look(error: float = ERROR) -> float:
    """The error probability of one look at one level, on one side."""
    return error / (DECISIVE_LEVELS * MOST_LOOKS)


@dataclass(frozen=True, slots=True)
class ShownDependence:
    """How many requests count as one: `factor`, from a level's own runs, based on `batches` with good and bad
    requests.
    """

    factor: float = LEAST_DEPENDENCE
    batches: float = 0.0

    def with_usual(self, usual: float) -> float:
        """Combined with what levels beside the target show, which weighs more the fewer batches there are."""
        return (self.batches * self.factor + BORROWED * usual) / (self.batches + BORROWED)


def attainment(runs: Sequence[Blocks], error: float, usual: float = LEAST_DEPENDENCE) -> Attainment:
    """Attainment from all runs at one load, with an interval whose ends are each wrong with probability `error`.

    `usual`: the dependence at the loads beside the target.
    """
    sent = sum(run.requests for run in runs)
    good = sum(sum(run.good) for run in runs)
    if not sent:
        return Attainment(None)
    own = dependence(runs)
    factor = max(own.factor, own.with_usual(usual))
    worse = factor * tail_factor(round(min(own.batches + BORROWED, _CERTAIN)), error)
    bad, worth = (sent - good) / worse, sent / worse
    low, high = 1.0 - _upper_end(bad, worth, error), _upper_end(worth - bad, worth, error)
    return Attainment(good / sent, low, high, sent, factor)


def _upper_end(count: float, worth: float, error: float) -> float:
    """The largest share that would still give so few out of so many with probability `error` (Clopper and Pearson,
    Biometrika 26, 1934), for non-integer numbers too.
    """
    return 1.0 if count >= worth else float(betaincinv(count + 1.0, worth - count, 1.0 - error))


def dependence(runs: Sequence[Blocks]) -> ShownDependence:
    """By what factor the variance of the share of good requests exceeds that of independent ones.

    Estimated from the good requests and from each run's slowest; the larger one counts. It is based on no more batches
    than there were bad requests, or good ones.
    """
    runs = [run for run in runs if run.requests]
    sent, good = sum(run.requests for run in runs), sum(sum(run.good) for run in runs)
    if not sent:
        return ShownDependence()
    bad = [np.subtract(run.sent, run.good) for run in runs]
    shown = max(_inflation(runs, bad, [1.0 - good / sent] * len(runs)), _of_the_slowest(runs))
    return ShownDependence(shown[0], min(shown[1], sent - good, good))


def dependence_of_the_slowest(runs: Sequence[Blocks]) -> ShownDependence:
    """The same factor for the share of each run's own slowest requests."""
    runs = [run for run in runs if run.requests]
    return ShownDependence(*_of_the_slowest(runs)) if runs else ShownDependence()


def _of_the_slowest(runs: Sequence[Blocks]) -> tuple[float, float]:
    slow = [np.asarray(run.slow) for run in runs]
    return _inflation(runs, slow, [float(each.sum()) / run.requests for each, run in zip(slow, runs, strict=True)])


def _inflation(runs: Sequence[Blocks], counts: Sequence[np.ndarray], shares: Sequence[float]) -> tuple[float, float]:
    """Variance of the sum of `counts` over the binomial one, at least 1; and the number of batches it is based on.

    The batches are the shortest that are BATCH_WORTH times as long as the number of requests that count as one, or the
    longest of which there are FEWEST_BATCHES. The remaining bias falls as 1 / length, and is added.
    """
    sizes = [run.requests for run in runs]
    binomial = sum(size * share * (1.0 - share) for size, share in zip(sizes, shares, strict=True)) / sum(sizes)
    if binomial <= 0.0:
        return 1.0, 0.0
    sums = [
        np.concatenate([[0.0], np.cumsum(count - share * np.asarray(run.sent))])
        for run, count, share in zip(runs, counts, shares, strict=True)
    ]
    length = float(REQUESTS_A_BLOCK)
    shown, batches = _variance(sums, sizes, length)
    while length < BATCH_WORTH * shown / binomial:
        longer, fewer = _variance(sums, sizes, length * _LONGER)
        if fewer < FEWEST_BATCHES:
            break
        length, shown, batches = length * _LONGER, longer, fewer
    factor = shown / binomial
    return max(1.0, factor * (1.0 + max(0.0, factor - 1.0) / (2.0 * length))), batches


def _variance(sums: Sequence[np.ndarray], sizes: Sequence[int], length: float) -> tuple[float, float]:
    """Variance per request of the sum of many, from overlapping batches of about `length` requests (Meketon and
    Schmeiser, Winter Simulation Conference 1984); and the number of non-overlapping batches.

    `sums`: of each run, cumulative over its blocks; a shorter run is one batch.
    """
    total = batches = 0.0
    for cumulated, size in zip(sums, sizes, strict=True):
        blocks = len(cumulated) - 1
        taken = max(1, min(blocks, round(length * blocks / size)))
        apart = cumulated[taken:] - cumulated[:-taken]
        total += float(apart @ apart) / len(apart) * blocks / taken
        batches += blocks / taken
    return total / sum(sizes) * batches / max(1.0, batches - 1.0), batches


@lru_cache(maxsize=4096)
def tail_factor(freedom: int, error: float) -> float:
    """The factor for a variance with this many degrees of freedom, for a tail of `error`."""
    return float(stats.t.isf(error, freedom) / stats.norm.isf(error)) ** 2


def of_few(batches: float) -> float:
    """The factor for an estimated dependence, for an interval of 95%.

    Batches with clusters, some of them long, give about half as much information about it as normal ones would.
    """
    return tail_factor(max(_FEWEST_FREE, round(batches / 2.0)), 0.025)


def fewest_requests(target: float, error: float) -> int:
    """Requests at a first look: LEAST_DEPENDENCE times the number that proves the target if none is bad and they are
    independent.

    With fewer, the blocks do not show how long bad requests stay together.
    """
    return max(200, math.ceil(LEAST_DEPENDENCE * math.log(error) / math.log(target)))
