"""Every rate of the registry without a calculation of its own here, from the same sums as the live figures.

Its interval is the jackknife over blocks of time (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter
11): the sums without each block in turn, which works for any function of sums. Blocks absorb the dependence between
requests that are close in time, as in `statistics.block_rate`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from tokenswarm.analysis.figures.flow import completed_flow, output_flow, prompt_flow
from tokenswarm.analysis.figures.jackknife import jackknife
from tokenswarm.analysis.figures.quantities import by_row, is_failed, is_ok, rate_figures
from tokenswarm.analysis.figures.slo import conforming, good_flow
from tokenswarm.analysis.figures.statistics import RATE_BLOCKS, Estimate
from tokenswarm.analysis.figures.window import Window

from tokenswarm.contract.metric import Rate
from tokenswarm.contract.metrics import METRICS
from tokenswarm.contract.objectives import RequestBounds
from tokenswarm.contract.summary.figure import Figure


def every_rate(
    rows: pd.DataFrame, chosen: pd.DataFrame, window: Window | None, bounds: RequestBounds
) -> dict[str, Figure]:
    """The `rates` of summary.json by name. `rows`: requests of every phase; `chosen`: those of the measure phase."""
    figures = rate_figures(rows, chosen, window)
    others = [
        rate
        for rate in METRICS.rates()
        if rate.of_sums is not None and rate.stored is None and rate.name not in figures
    ]
    if not others:
        return figures
    if window is None or window.seconds <= 0:
        why = "the measure window is not known"
        return figures | {rate.name: Estimate(None, why=why).figure(rate.unit) for rate in others}
    edges = np.linspace(window.start, window.end, RATE_BLOCKS + 1)
    sums = sums_between(rows, chosen, edges, bounds)
    for rate in others:
        whole = sums | own_sums(rate, chosen, edges)
        figures[rate.name] = estimate(rate, whole, len(chosen)).figure(rate.unit)
    return figures


def block_sums(
    rows: pd.DataFrame, chosen: pd.DataFrame, window: Window, bounds: RequestBounds
) -> dict[str, np.ndarray]:
    """`contract.metric.STANDARD_SUMS` and `seconds` for each of RATE_BLOCKS equal blocks of the window, by sending time
    (for window sums, by arrival time).

    There is no `good` if a class has no bounds.
    """
    return sums_between(rows, chosen, np.linspace(window.start, window.end, RATE_BLOCKS + 1), bounds)


def sums_between(
    rows: pd.DataFrame, chosen: pd.DataFrame, edges: np.ndarray, bounds: RequestBounds
) -> dict[str, np.ndarray]:
    """As `block_sums`, between these evenly spaced edges (unix seconds)."""
    stretches = len(edges) - 1
    ok, status = is_ok(chosen), chosen["status"].astype("object")
    cells = {
        name: chosen[name].to_numpy(dtype=float) for name in ("prompt_tokens", "cached_tokens", "completion_tokens")
    }
    prompt_of_ok = np.where(ok, cells["prompt_tokens"], np.nan)
    reported = ~np.isnan(prompt_of_ok) & ~np.isnan(cells["cached_tokens"])
    met, unknown = conforming(chosen, bounds)
    amounts = {
        **{name: (status == name).to_numpy(dtype=float) for name in ("ok", "cancelled")},
        "failed": is_failed(chosen).astype(float),
        "good": met,
        "undetermined": unknown,
        "prompt_tokens": cells["prompt_tokens"],
        "prompts_of_ok": prompt_of_ok,
        "cached_tokens": np.where(reported, cells["cached_tokens"], 0.0),
        "prompt_tokens_with_cache_info": np.where(reported, prompt_of_ok, 0.0),
        "explicit_zero_hits": reported & (cells["cached_tokens"] == 0),
        "completion_tokens": cells["completion_tokens"],
    }
    sums = {name: _by_stretch(chosen, amount, edges) for name, amount in amounts.items()}
    window_good = good_flow(rows, bounds).between(edges)
    bounded = bounds.bounded(chosen["user_class"].unique())
    if not bounded:
        del sums["good"]
    return (
        sums
        | ({"window_good": window_good} if bounded else {})
        | {
            "window_output": output_flow(rows).between(edges),
            "window_prompt": prompt_flow(rows).between(edges),
            "window_done": completed_flow(rows).between(edges),
            "seconds": np.full(stretches, (edges[-1] - edges[0]) / stretches),
        }
    )


def own_sums(rate: Rate, chosen: pd.DataFrame, edges: np.ndarray) -> dict[str, np.ndarray]:
    """The additional sums that a rate defines, between these edges."""
    return {
        name: _by_stretch(chosen, by_row(of_row, rate.columns, chosen), edges) for name, of_row in rate.sums.items()
    }


def _by_stretch(chosen: pd.DataFrame, amounts: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The sum of one amount per request (NaN = nothing) in each interval; amounts outside count towards the nearest
    one.
    """
    stretches = len(edges) - 1
    place = (chosen["sent_at"].to_numpy() - edges[0]) / (edges[-1] - edges[0]) * stretches
    stretch = np.clip(np.nan_to_num(place), 0, stretches - 1).astype(int)
    return np.bincount(stretch, weights=np.nan_to_num(np.asarray(amounts, dtype=float)), minlength=stretches)


def by_stretch(rate: Rate, sums: Mapping[str, np.ndarray]) -> np.ndarray:
    """A rate in each interval, from the sums there; NaN if unknown."""
    if rate.of_sums is None:
        return np.full(len(sums["seconds"]), np.nan)
    values = (
        rate.of_sums({name: float(amount[i]) for name, amount in sums.items()}) for i in range(len(sums["seconds"]))
    )
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def estimate(rate: Rate, blocks: Mapping[str, np.ndarray], n: int) -> Estimate:
    """A rate from its sums by block: its value over all blocks, and the jackknife's 95% interval if there is one."""
    return jackknife(rate.of_sums or (lambda sums: None), blocks, n, 1.0 if rate.unit == "share" else math.inf)
