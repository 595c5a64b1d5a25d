"""Whether a load keeps its limits, told while it is being measured: attainment with an interval that holds at any look.

Attainment is the share of sent requests that meet every limit. Requests of one moment share their moment, so runs are
cut into blocks of time, and what the blocks vary tells for how many independent requests they count. Looks are few
(each at about twice the requests of the look before), and each look at each level has its own small part of the error,
so that all of a search's decisions together are wrong in at most that error (Bonferroni over looks and levels; Lan and
DeMets, Biometrika 70, 1983, for spending it by looks).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.special import betaincinv

BLOCKS = 20
"""Blocks of time of one run: each long against a request, and enough to see how much they vary."""
ERROR = 0.05
"""Probability that any decision of a whole search is wrong."""
LAGS = 3
"""How far apart blocks may be whose dependence is counted."""
SLOW = 0.5
"""Share of its limit from which a latency tells how bad ones cluster: how those come together that are far below the
limit (a pause of the client, a long prompt) is another matter."""
MOST_LEVELS = 16
MOST_LOOKS = 6
"""Over which the error is spent in equal parts."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """One run's requests in successive blocks of time: how many were `sent`, how many of them were `good`, and how many
    were among the run's own slowest (`slow`: worse than the target's quantile and than SLOW), which tells how the bad
    ones cluster where there are hardly any."""

    sent: tuple[int, ...]
    good: tuple[int, ...]
    slow: tuple[int, ...]

    @property
    def requests(self) -> int:
        return sum(self.sent)


def blocks_of(sent_s: np.ndarray, margin: np.ndarray, window: tuple[float, float], target: float) -> Blocks:
    """The blocks of a run. `sent_s`: when each request was sent; `margin`: its worst latency as a share of its limit
    (1: just met; infinite: it failed; NaN: not known, left out); `window`: the measured phase, in the same seconds."""
    known = ~np.isnan(margin)
    sent_s, margin = sent_s[known], margin[known]
    edges = np.linspace(*window, BLOCKS + 1)
    place = np.clip(np.searchsorted(edges, sent_s, side="right") - 1, 0, BLOCKS - 1)
    slow = margin > max(SLOW, np.quantile(margin, target, method="higher")) if len(margin) else margin > 1.0

    def count(which: np.ndarray) -> tuple[int, ...]:
        return tuple(int(each) for each in np.bincount(place[which], minlength=BLOCKS))

    return Blocks(count(np.ones(len(margin), dtype=bool)), count(margin <= 1.0), count(slow))


@dataclass(frozen=True, slots=True)
class Attainment:
    """The share of good requests at one load. `low`, `high`: its interval, valid at any look; `dependence`: how many
    requests count as one independent one; `requests`: how many there were."""

    share: float | None
    low: float = 0.0
    high: float = 1.0
    requests: int = 0
    dependence: float = 1.0

    def state(self, target: float) -> str:
        """pass | fail where it is surely above or below the target, else undecided."""
        if self.requests and self.low >= target:
            return "pass"
        return "fail" if self.requests and self.high < target else "undecided"


def error_of_a_look(error: float = ERROR) -> float:
    """What one look at one level may be wrong with, on one side."""
    return error / (MOST_LEVELS * MOST_LOOKS)


def attainment(runs: Sequence[Blocks], error: float) -> Attainment:
    """Attainment from all runs at one load, with the interval whose ends are each wrong with probability `error`."""
    sent = sum(run.requests for run in runs)
    good = sum(sum(run.good) for run in runs)
    if not sent:
        return Attainment(None)
    blocks = sum(sum(1 for each in run.sent if each) for run in runs)
    worse = dependence(runs) * _tail_factor(max(2, blocks - len(runs)), error)
    bad, worth = (sent - good) / worse, sent / worse
    return Attainment(
        good / sent, 1.0 - _upper_end(bad, worth, error), _upper_end(worth - bad, worth, error), sent, worse
    )


def _upper_end(count: float, worth: float, error: float) -> float:
    """The largest share that would still give so few in so many with probability `error` (Clopper and Pearson,
    Biometrika 26, 1934), for numbers that need not be whole."""
    return 1.0 if count >= worth else float(betaincinv(count + 1.0, worth - count, 1.0 - error))


def dependence(runs: Sequence[Blocks]) -> float:
    """How many times more the share of good requests varies than of independent ones: by the blocks of the good ones,
    and of each run's slowest, whichever shows more."""
    sent, good = sum(run.requests for run in runs), sum(sum(run.good) for run in runs)
    if not sent:
        return 1.0
    bad = [np.subtract(run.sent, run.good) for run in runs]
    shares = [1.0 - good / sent] * len(runs)
    slow = [np.asarray(run.slow) for run in runs]
    own = [float(each.sum()) / run.requests if run.requests else 0.0 for each, run in zip(slow, runs, strict=True)]
    return max(1.0, _inflation(runs, bad, shares), _inflation(runs, slow, own))


def _inflation(runs: Sequence[Blocks], counts: Sequence[np.ndarray], shares: Sequence[float]) -> float:
    """Variance of the sum of `counts` over the binomial one.

    What blocks up to LAGS apart have in common is counted in full where they go together: one block sees less than the
    whole dependence. Distances are from the mean of the run itself, which takes a twentieth of each of the products.
    """
    variance = binomial = 0.0
    for run, count, share in zip(runs, counts, shares, strict=True):
        apart = count - share * np.asarray(run.sent)
        products = [2.0 * float(apart[lag:] @ apart[:-lag]) for lag in range(1, LAGS + 1)]
        sums = np.cumsum([float(apart @ apart), *products])
        variance += float(sums.max()) * len(apart) / (len(apart) - 1.0 - 2.0 * LAGS)
        binomial += run.requests * share * (1.0 - share)
    return variance / binomial if binomial > 0 else 1.0


def _tail_factor(freedom: int, error: float) -> float:
    """What a variance from so many degrees of freedom is to be multiplied by, for a tail of `error`."""
    return float(stats.t.isf(error, freedom) / stats.norm.isf(error)) ** 2


def fewest_requests(target: float, error: float) -> int:
    """Requests at a first look: three times as many as prove the target where none is bad and none depends on another.
    With fewer, the blocks do not show how long the bad ones stay together."""
    return max(200, math.ceil(3.0 * math.log(error) / math.log(target)))
