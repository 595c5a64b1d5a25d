"""Whether an objective is certainly met: the test of MLPerf's early stopping, for requests that depend on each other.

"pX <= L" says that at most a share 1 - X of requests is over L. If more were, seeing as few over L as observed would
have at most probability P(Bin(n_eff, 1 - X) <= number over L). If that is at most 1%, the objective is certified at 99%
(MLPerf Inference: Reddi et al., ISCA 2020; its early stopping criterion). No two-sided interval is needed: with none
over the limit, 90 independent requests certify a p95.

n_eff is n / the dependence of *being over the limit*. If there are enough requests over the limit, their clusters show
it. If there are none or few, three things take its place:

- The strongest dependence at any lower level, over time and over the requests of a session. Latencies that exceed a
  level together do not exceed a higher one together more often.
- Because it is an estimate, its excess over 1 counts twice near the limit.
- It matters less the further all requests are below the limit. If the largest request is at 1/k of the way from the
  median to the limit, it is divided by k. A share 1 - X over the limit would mean 1 - X^k over a k-th of the way,
  unless the latency's tail were heavier than one without a mean (Frechet distribution with index 1, for which F(L / k)
  = F(L)^k). So n / d requests below a k-th of the way say as much as k n / d below the limit. Half of the requests are
  above the median, so k is capped where X^k is a half (13.5 for a p95): a run dominated by waves as long as itself is
  never certified.

No such rule can cover events too rare to occur in the run that then affect many requests at once (a stall).
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import betainc
from tokenswarm.analysis.figures.statistics import Dependence, design_effect, levels_of

from tokenswarm.contract.summary.verdict_records import Certification

CERTIFIED_AT = 0.99


def certify(values: np.ndarray, q: float, limit: float, sessions: np.ndarray | None = None) -> Certification:
    """Whether "percentile `q` (0..100) <= `limit`" is certified by `values` (in order of time; NaN = not measured).

    `sessions`: the number (0, 1, ...) of each value's session, if known.
    """
    is_known = ~np.isnan(values)
    known, groups = values[is_known], None if sessions is None else sessions[is_known]
    if not len(known):
        return Certification()
    over = int(np.sum(known > limit))
    dependence = _dependence_of_exceeding(known, q, limit, groups)
    worth = len(known) / dependence
    certified = chance_of_so_few(over / dependence, worth, q) <= 1.0 - CERTIFIED_AT
    return Certification(certified, len(known), over, worth)


def _dependence_of_exceeding(known: np.ndarray, q: float, limit: float, sessions: np.ndarray | None) -> float:
    """How many requests count as one, for being over the limit."""
    seen = Dependence(known)
    over = known > limit
    below, of_those_over = max(seen.at(q), seen.strongest(q)), design_effect(over)
    if sessions is not None:
        levels = [known <= seen.level(level) for level in levels_of(len(known), q)]
        below = max([below, *(cluster_effect(hits, sessions) for hits in levels)])
        of_those_over = max(of_those_over, cluster_effect(over, sessions))
    distance = _times_below(seen.ordered, q, limit)
    return max(1.0, 2.0 * of_those_over - 1.0, (below + (below - 1.0) / distance) / distance)


def _times_below(ordered: np.ndarray, q: float, limit: float) -> float:
    """k: the limit's distance from the median over that of the largest value not over the limit."""
    middle = float(np.median(ordered))
    inside = ordered[ordered <= limit]
    if q <= 50.0 or middle > limit:
        return 1.0
    most = math.log(0.5) / math.log(q / 100.0)
    reach = float(inside[-1]) - middle
    return most if reach <= 0.0 else min(most, max(1.0, (limit - middle) / reach))


def cluster_effect(hits: np.ndarray, clusters: np.ndarray) -> float:
    """By what factor the variance of the mean of `hits` (0 or 1) exceeds that of independent members of clusters.

    The variance between clusters over the binomial one (the linearised ratio estimator: Cochran, Sampling Techniques,
    1977, section 9A), at least 1. `clusters`: the cluster number of each.
    """
    mean = float(np.mean(hits)) if len(hits) else 0.0
    sizes = np.bincount(clusters) if len(hits) else np.empty(0)
    count = int(np.count_nonzero(sizes))
    if count < 2 or not 0.0 < mean < 1.0:
        return 1.0
    apart = np.bincount(clusters, weights=hits - mean)
    return max(1.0, count / (count - 1.0) * float(apart @ apart) / (len(hits) * mean * (1.0 - mean)))


def chance_of_so_few(over: float, worth: float, q: float) -> float:
    """P(Bin(worth, 1 - q/100) <= over), by the incomplete beta function, so that neither needs to be an integer."""
    return 1.0 if over >= worth else float(betainc(worth - over, over + 1.0, q / 100.0))


def fewest_to_certify(q: float, over: int = 0) -> int:
    """Independent requests that certify a p`q` with this many over the limit: with none, 7, 44, 90, 459 for p50, p90,
    p95, p99.
    """
    high = over + 1
    while chance_of_so_few(over, high, q) > 1.0 - CERTIFIED_AT:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = math.ceil((low + high) / 2)
        low, high = (low, middle) if chance_of_so_few(over, middle, q) <= 1.0 - CERTIFIED_AT else (middle, high)
    return high
