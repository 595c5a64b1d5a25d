"""Simulated runs with a known truth: latencies that depend on their neighbours in time, as those of a server do."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats
from scipy.signal import lfilter

MEDIAN_MS = 100.0


def latencies_ms(rng: np.random.Generator, count: int, *, correlation: float, spread: float = 0.6,
                 run_spread: float = 0.0, scale: float = 1.0) -> np.ndarray:
    """(count,) lognormal TTFTs in order of time.

    Their logarithms are an AR(1) process: `correlation` is that of neighbours, `spread` their standard deviation.
    `run_spread` is the standard deviation of a shift of the whole run (a restart), `scale` the true effect.
    """
    noise = rng.standard_normal(count)
    noise[0] /= math.sqrt(1.0 - correlation**2)  # so that the process begins where it stays
    process = lfilter([math.sqrt(1.0 - correlation**2)], [1.0, -correlation], noise)
    return scale * MEDIAN_MS * np.exp(spread * process + run_spread * rng.standard_normal())


def true_percentile_ms(q: float, spread: float = 0.6) -> float:
    """Percentile `q` (0..100) of `latencies_ms` without a shift of the run."""
    return MEDIAN_MS * math.exp(spread * float(stats.norm.ppf(q / 100.0)))


def block_amounts(rng: np.random.Generator, blocks: int, *, mean: float, spread: float,
                  correlation: float) -> np.ndarray:
    """(blocks,) amounts of successive blocks of time, such as tokens, as an AR(1) process around `mean`."""
    noise = rng.standard_normal(blocks)
    noise[0] /= math.sqrt(1.0 - correlation**2)
    return mean + spread * lfilter([math.sqrt(1.0 - correlation**2)], [1.0, -correlation], noise)
