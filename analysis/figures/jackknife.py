"""The interval of any function of sums over a run.

The jackknife over blocks of time (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 11): the sums
without each block in turn. Blocks absorb the dependence between requests that are close in time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from tokenswarm.analysis.figures.statistics import CONFIDENCE, RATE_BLOCKS, SINGLE_POINT, Estimate, t_quantile

from tokenswarm.contract.metric import Sums

_ROUNDING = 1e-12
"""Half a width below this share of the value is rounding: all blocks give the same value."""


def jackknife(
    of_sums: Callable[[Sums], float | None], blocks: Mapping[str, np.ndarray], n: int, most: float = math.inf
) -> Estimate:
    """The interval of a function of sums, from the sums by block; `most`: the largest possible value."""
    whole = {name: float(amount.sum()) for name, amount in blocks.items()}
    value = of_sums(whole)
    if value is None:
        return Estimate(None, n=n, why="none of its inputs was measured")
    without = [
        of_sums({name: whole[name] - float(amount[block]) for name, amount in blocks.items()})
        for block in range(RATE_BLOCKS)
    ]
    if any(each is None for each in without):
        return Estimate(value, n=n)
    left = np.array(without, dtype=float)
    error = math.sqrt((RATE_BLOCKS - 1) / RATE_BLOCKS * float(((left - left.mean()) ** 2).sum()))
    half = t_quantile(0.5 + CONFIDENCE / 2.0, RATE_BLOCKS - 1) * error
    if half <= _ROUNDING * abs(value):
        return Estimate(value, n=n, why=SINGLE_POINT)
    return Estimate(value, max(0.0, value - half), min(most, value + half), n)
