"""Whether the measured phase was stationary, and the figures of its stationary part: summary.json's `steady_part`.

Looked at are TTFT (of answers that were not streamed, E2E), the hit rate, and output tokens/s, over blocks of equal
time.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from tokenswarm.analysis.figures.flow import output_flow
from tokenswarm.analysis.figures.quantities import is_ok, latency_figures
from tokenswarm.analysis.figures.statistics import percentiles
from tokenswarm.analysis.figures.truncation import (
    CUT,
    FEWEST_BLOCKS,
    MOST_BLOCKS,
    NO_STATIONARY_PART,
    TOO_SHORT,
    Series,
    Truncation,
    truncate,
)
from tokenswarm.analysis.figures.window import Window
from tokenswarm.analysis.wording import number, percent

from tokenswarm.base.presence import present
from tokenswarm.contract.metrics import METRICS
from tokenswarm.contract.summary.time_records import SteadyPart

REQUESTS_A_BLOCK = 8
"""Requests that a block has in the mean, at least."""
_LEAST_HIT_RATE_CHANGE = 0.02
_MOST_EMPTY = 0.2
LOAD_CHANGED = "the load changed"
"""The state of a run with several load levels."""
_COLUMNS = ["sent_at", "ttft_ms", "e2e_ms", "cached_tokens", "prompt_tokens"]
HIT_RATE, OUTPUT = "hit_rate", "output_tok_s"


def steady_part(everything: pd.DataFrame, rows: pd.DataFrame, window: Window | None) -> SteadyPart:
    """Of the requests `rows` that were measured in `window`, under one load. `everything`: those of all phases too,
    whose tokens arrive inside the window."""
    if window is None or window.seconds <= 0:
        return SteadyPart(TOO_SHORT)
    ok = rows.loc[is_ok(rows), _COLUMNS]
    latency = "e2e_ms" if ok["ttft_ms"].isna().all() else "ttft_ms"
    truncation = truncate(series_of(everything, ok, window, latency))
    at_s = truncation.share * window.seconds
    if truncation.state == NO_STATIONARY_PART:
        return SteadyPart(
            truncation.state, because=list(truncation.because), sentence=_sentence(ok, latency, window, truncation)
        )
    if truncation.state != CUT:
        return SteadyPart(truncation.state)
    after = (rows["sent_at"] >= window.start + at_s).to_numpy()
    return SteadyPart(
        truncation.state,
        at_s,
        list(truncation.because),
        _sentence(ok, latency, window, truncation),
        latency_figures(rows[after]),
    )


def series_of(everything: pd.DataFrame, ok: pd.DataFrame, window: Window, latency: str) -> dict[str, Series]:
    """The series that are looked at, over blocks of the window; without those that nobody measured."""
    blocks = min(MOST_BLOCKS, len(ok) // REQUESTS_A_BLOCK)
    if blocks < FEWEST_BLOCKS:
        return {}
    edges = np.linspace(window.start, window.end, blocks + 1)
    place = np.clip(np.searchsorted(edges, ok["sent_at"].to_numpy(), side="right") - 1, 0, blocks - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_latency = np.log(ok[latency].to_numpy())
        log_latency[~np.isfinite(log_latency)] = np.nan
        series = {latency: Series(_ratio(log_latency, np.ones(len(ok)), place, blocks))}
        hits = _ratio(ok["cached_tokens"].to_numpy(), ok["prompt_tokens"].to_numpy(), place, blocks)
        series[HIT_RATE] = Series(hits, _LEAST_HIT_RATE_CHANGE)
        output = np.log(output_flow(everything).between(edges))
        series[OUTPUT] = Series(np.where(np.isfinite(output), output, np.nan))
    return {
        name: Series(_filled(each.values), each.least_change)
        for name, each in series.items()
        if np.mean(np.isnan(each.values)) <= _MOST_EMPTY
    }


def _ratio(above: np.ndarray, below: np.ndarray, place: np.ndarray, blocks: int) -> np.ndarray:
    """Sum of `above` / sum of `below`, of what has both, in each block; NaN where there is none."""
    known = ~(np.isnan(above) | np.isnan(below))
    sums = [np.bincount(place[known], weights=part[known], minlength=blocks) for part in (above, below)]
    return sums[0] / sums[1]


def _filled(values: np.ndarray) -> np.ndarray:
    """Blocks in which nothing was measured lie on the line between their neighbours."""
    known = ~np.isnan(values)
    return np.interp(np.arange(len(values)), np.flatnonzero(known), values[known])


def _sentence(ok: pd.DataFrame, latency: str, window: Window, truncation: Truncation) -> str:
    """`TTFT p95 fell from 130 to 22 ms within the measured phase; from t=18 s on: 22 ms.` with the whole phase's."""
    what = latency if latency in truncation.because or HIT_RATE not in truncation.because else HIT_RATE
    sent = ok["sent_at"].to_numpy()
    border = window.start + (truncation.share if truncation.state == CUT else 0.25) * window.seconds
    last = border if truncation.state == CUT else window.start + 0.75 * window.seconds
    parts = (sent < border, sent >= last, np.ones(len(ok), dtype=bool))
    title, values = _values(ok, what, parts)
    before, after, whole = values
    moved = f"{title} {'fell' if _less(ok, what, parts) else 'rose'} from {before} to {after} within the measured phase"
    if truncation.state == CUT:
        return f"{moved}; from t={truncation.share * window.seconds:.0f} s on: {after} (whole phase: {whole})."
    return (
        f"{moved} (first and last quarter; whole phase: {whole}) and did not settle: no part of it is "
        "stationary, so its figures depend on how long the run was. Measure longer, or warm up longer."
    )


def _value(ok: pd.DataFrame, what: str, part: np.ndarray) -> float | None:
    if what == HIT_RATE:
        both = ok.loc[part, ["cached_tokens", "prompt_tokens"]].dropna()
        return float(both["cached_tokens"].sum() / both["prompt_tokens"].sum()) if len(both) else None
    return percentiles(ok[what].to_numpy()[part], (95,))[95].value


def _values(ok: pd.DataFrame, what: str, parts: tuple[np.ndarray, ...]) -> tuple[str, list[str]]:
    """(title, the value of each part in words)."""
    values = [_value(ok, what, part) for part in parts]
    if what == HIT_RATE:
        return "The hit rate", ["–" if value is None else percent(value) for value in values]
    title = present(METRICS.latency(what)).title
    if any(value is None for value in values):  # too few requests before the cut for a p95
        medians = [float(ok[what][part].median()) for part in parts]
        return f"{title} p50", [f"{number(value)} ms" for value in medians]
    return f"{title} p95", [f"{number(value)} ms" for value in values]


def _less(ok: pd.DataFrame, what: str, parts: tuple[np.ndarray, ...]) -> bool:
    before, after = (_value(ok, what, part) for part in parts[:2])
    if before is None or after is None:
        before, after = (float(ok[what][part].median()) for part in parts[:2])
    return after < before
