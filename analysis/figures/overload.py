"""Whether the engine kept up with an open loop: completed against offered rate, and growth of queue and latency.

Beyond capacity the queue grows as long as the load lasts, so every latency depends on the length of the run. Three
things must be significant together: fewer requests are completed than offered; the number in the system grows; and so
does the waiting time (slopes over blocks of time). A queue near capacity also wanders, and starts empty: its random
variation comes from a bootstrap of an AR(1) process, and the growth must continue in the second half. Times count from
the scheduled arrival, because a limit on requests in flight moves the queue in front of the engine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tokenswarm.analysis.figures.drift import growth_chance
from tokenswarm.analysis.figures.statistics import t_quantile

BLOCKS = 20
REQUESTS_A_BLOCK = 5
_MOMENTS = 10
"""Number of times at which a block is sampled."""
LEAST_SHORTFALL = 0.02
"""Minimum share of the offered requests that must be left over: less may be the ordinary queue at the end of a run.
"""
_LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Overload:
    """Rates in requests/s; growth per second of the requests in the system (`in_flight_a_s`) and, in ms, of TTFT from
    the scheduled arrival (`ttft_ms_a_s`).

    `overloaded` is None if there is too little data.
    """

    overloaded: bool | None
    offered_s: float | None = None
    completed_s: float | None = None
    in_flight_a_s: float | None = None
    ttft_ms_a_s: float | None = None


def judge_overload(
    arrived_at: np.ndarray, ended_at: np.ndarray, ttft_ms: np.ndarray, start: float, end: float
) -> Overload:
    """The verdict on the requests of an open loop, of all phases, in seconds of one clock.

    `arrived_at`: when each was due. `ended_at`: when it ended, NaN or infinite if it did not. `ttft_ms`: from
    `arrived_at`, NaN if there was none.
    """
    ended = np.where(np.isnan(ended_at), np.inf, ended_at)
    inside = (arrived_at >= start) & (arrived_at < end)
    if end <= start or inside.sum() < BLOCKS * REQUESTS_A_BLOCK:
        return Overload(None)
    edges = np.linspace(start, end, BLOCKS + 1)
    middles = (edges[1:] + edges[:-1]) / 2.0
    offered, _ = np.histogram(arrived_at, edges)
    completed, _ = np.histogram(ended[np.isfinite(ended)], edges)
    shortfall = offered - completed
    present = _present(arrived_at, ended, edges)
    waited = _medians(arrived_at[inside], ttft_ms[inside], edges)
    seconds = end - start
    rates = float(offered.sum()) / seconds, float(completed.sum()) / seconds
    known = ~np.isnan(waited)
    slopes = _slope(middles, present), _slope(middles[known], waited[known]) if known.sum() > 2 else np.nan
    sure = (
        rates[0] - rates[1] >= LEAST_SHORTFALL * rates[0]
        and _surely_positive(shortfall)
        and shortfall[BLOCKS // 2 :].sum() >= LEAST_SHORTFALL * offered[BLOCKS // 2 :].sum()
        and growth_chance(middles, present) < _LEVEL
        and known.sum() >= BLOCKS // 2
        and growth_chance(middles[known], waited[known]) < _LEVEL
        and _slope(middles[BLOCKS // 2 :], present[BLOCKS // 2 :]) > 0.0
    )
    return Overload(bool(sure), *rates, slopes[0], None if np.isnan(slopes[1]) else slopes[1])


def _present(arrived: np.ndarray, ended: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Mean number in the system (arrived and not ended) in each block."""
    at = np.linspace(edges[0], edges[-1], _MOMENTS * (len(edges) - 1) + 1)
    counted = np.searchsorted(np.sort(arrived), at, side="right") - np.searchsorted(np.sort(ended), at, side="right")
    return ((counted[1:] + counted[:-1]) / 2.0).reshape(-1, _MOMENTS).mean(axis=1)


def _medians(at: np.ndarray, values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    place = np.clip(np.searchsorted(edges, at, side="right") - 1, 0, len(edges) - 2)
    known = ~np.isnan(values)
    return np.array(
        [
            np.median(values[known & (place == block)]) if (known & (place == block)).any() else np.nan
            for block in range(len(edges) - 1)
        ]
    )


def _slope(at: np.ndarray, values: np.ndarray) -> float:
    apart = at - at.mean()
    return float(apart @ values) / float(apart @ apart)


def _surely_positive(values: np.ndarray) -> bool:
    """One-sided t over blocks. Conservative, because work left over in one block is missing in the next."""
    error = float(values.std(ddof=1)) / np.sqrt(len(values))
    return bool(values.mean() > t_quantile(1.0 - _LEVEL, len(values) - 1) * error)
