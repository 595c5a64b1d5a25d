"""Every rate of the registry that has no calculation of its own here: from the same sums as the live figures.

Its interval is the jackknife's over blocks of time (Efron and Tibshirani, An Introduction to the Bootstrap, 1993,
chapter 11): the sums without each block in turn, so that any function of sums has one. Blocks absorb the dependence
between requests of one moment, as they do for `statistics.block_rate`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats
from tokenswarm.analysis.figures.flow import completed_flow, output_flow, prompt_flow
from tokenswarm.analysis.figures.quantities import by_row, is_ok, rate_figures
from tokenswarm.analysis.figures.slo import Objective, conforming, request_bounds
from tokenswarm.analysis.figures.statistics import CONFIDENCE, RATE_BLOCKS, Estimate
from tokenswarm.analysis.figures.window import Window

from tokenswarm.contract.metric import Rate
from tokenswarm.contract.metrics import METRICS
from tokenswarm.contract.summary.figure import Figure


def every_rate(rows: pd.DataFrame, chosen: pd.DataFrame, window: Window | None,
               objectives: list[Objective]) -> dict[str, Figure]:
    """The `rates` of summary.json by name. `rows`: requests of every phase; `chosen`: those of the measure phase."""
    figures = rate_figures(rows, chosen, window)
    others = [rate for rate in METRICS.rates()
              if rate.of_sums is not None and rate.stored is None and rate.name not in figures]
    if not others:
        return figures
    if window is None or window.seconds <= 0:
        why = "the measure window is not known"
        return figures | {rate.name: Estimate(None, why=why).figure(rate.unit) for rate in others}
    sums = block_sums(rows, chosen, window, request_bounds(objectives))
    for rate in others:
        own = {name: _by_block(chosen, by_row(of_row, rate.columns, chosen), window)
               for name, of_row in rate.sums.items()}
        figures[rate.name] = estimate(rate, sums | own, len(chosen)).figure(rate.unit)
    return figures


def block_sums(rows: pd.DataFrame, chosen: pd.DataFrame, window: Window,
               bounds: Mapping[str, float]) -> dict[str, np.ndarray]:
    """`contract.metric.STANDARD_SUMS` and `seconds` for each of RATE_BLOCKS equal blocks of the window, by when a
    request was sent (what is of the window: by when it arrived). Without `bounds` there is no `good`."""
    edges = np.linspace(window.start, window.end, RATE_BLOCKS + 1)
    ok, status = is_ok(chosen), chosen["status"].astype("object")
    cells = {name: chosen[name].to_numpy(dtype=float)
             for name in ("prompt_tokens", "cached_tokens", "completion_tokens")}
    prompt_of_ok = np.where(ok, cells["prompt_tokens"], np.nan)
    reported = ~np.isnan(prompt_of_ok) & ~np.isnan(cells["cached_tokens"])
    met, unknown = conforming(chosen, bounds)
    amounts = {
        **{name: (status == name).to_numpy(dtype=float) for name in ("ok", "failed", "cancelled")},
        "good": met, "undetermined": unknown, "prompt_tokens": cells["prompt_tokens"], "prompts_of_ok": prompt_of_ok,
        "cached_tokens": np.where(reported, cells["cached_tokens"], 0.0),
        "prompt_tokens_with_cache_info": np.where(reported, prompt_of_ok, 0.0),
        "explicit_zero_hits": reported & (cells["cached_tokens"] == 0), "completion_tokens": cells["completion_tokens"],
    }
    sums = {name: _by_block(chosen, amount, window) for name, amount in amounts.items()}
    if not bounds:
        del sums["good"]
    return sums | {
        "window_output": output_flow(rows).between(edges), "window_prompt": prompt_flow(rows).between(edges),
        "window_done": completed_flow(rows).between(edges),
        "seconds": np.full(RATE_BLOCKS, window.seconds / RATE_BLOCKS)}


def _by_block(chosen: pd.DataFrame, amounts: np.ndarray, window: Window) -> np.ndarray:
    """The sum of one amount a request (NaN = nothing) in each block of the window."""
    place = (chosen["sent_at"].to_numpy() - window.start) / window.seconds * RATE_BLOCKS
    block = np.clip(np.nan_to_num(place), 0, RATE_BLOCKS - 1).astype(int)
    return np.bincount(block, weights=np.nan_to_num(np.asarray(amounts, dtype=float)), minlength=RATE_BLOCKS)


def estimate(rate: Rate, blocks: Mapping[str, np.ndarray], n: int) -> Estimate:
    """A rate from its sums by block: its value over all, and the jackknife's 95% interval where it can be had."""
    whole = {name: float(amount.sum()) for name, amount in blocks.items()}
    value = rate.of_sums(whole)
    if value is None:
        return Estimate(None, n=n, why="nothing that it is made of was measured")
    without = [rate.of_sums({name: whole[name] - float(amount[block]) for name, amount in blocks.items()})
               for block in range(RATE_BLOCKS)]
    if any(each is None for each in without):
        return Estimate(value, n=n)
    left = np.array(without, dtype=float)
    error = math.sqrt((RATE_BLOCKS - 1) / RATE_BLOCKS * float(((left - left.mean()) ** 2).sum()))
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2.0, RATE_BLOCKS - 1)) * error
    most = 1.0 if rate.unit == "share" else math.inf
    return Estimate(value, max(0.0, value - half), min(most, value + half), n)
