"""Whether an objective is met for certain: the test of MLPerf's early stopping, for requests that depend on each other.

"pX <= L" says that at most a share 1 - X of requests is over L. If more were, then seeing as few over L as were seen
would have at most probability P(Bin(n_eff, 1 - X) <= number over L). Where that is at most 1%, the objective is
certified at 99% (MLPerf Inference: Reddi et al., ISCA 2020; its early stopping criterion). It needs no interval with
two ends: with none over the limit, 90 independent requests certify a p95.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import betainc
from tokenswarm.analysis.figures.statistics import dependence_at, design_effect

from tokenswarm.contract.summary.verdict_records import Certification

CERTIFIED_AT = 0.99


def certify(values: np.ndarray, q: float, limit: float) -> Certification:
    """Whether "percentile `q` (0..100) <= `limit`" is certified by `values` (in order of time; NaN = not measured)."""
    known = values[~np.isnan(values)]
    if not len(known):
        return Certification()
    over = known > limit
    # Nothing is seen of how requests over the limit come in clusters where there are none: the tail tells it.
    dependence = max(dependence_at(known, q), design_effect(over))
    worth = len(known) / dependence
    return Certification(
        chance_of_so_few(float(over.sum()) / dependence, worth, q) <= 1.0 - CERTIFIED_AT,
        len(known),
        int(over.sum()),
        worth,
    )


def chance_of_so_few(over: float, worth: float, q: float) -> float:
    """P(Bin(worth, 1 - q/100) <= over), by the incomplete beta function, so that neither need be a whole number."""
    return 1.0 if over >= worth else float(betainc(worth - over, over + 1.0, q / 100.0))


def fewest_to_certify(q: float, over: int = 0) -> int:
    """Independent requests that certify a p`q` with so many over the limit: 7, 44, 90, 459 for p50, p90, p95, p99."""
    high = over + 1
    while chance_of_so_few(over, high, q) > 1.0 - CERTIFIED_AT:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = math.ceil((low + high) / 2)
        low, high = (low, middle) if chance_of_so_few(over, middle, q) <= 1.0 - CERTIFIED_AT else (middle, high)
    return high
