"""Whether the measured phase was stationary, and the figures of its stationary part: summary.json's `steady_part`.

It looks at TTFT (if not streamed, E2E), the hit rate, and output tokens/s, over blocks of equal duration.
"""

from __future__ import annotations

from collections.abc import Sequence

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
"""Minimum mean number of requests per block."""
_LEAST_REQUESTS = FEWEST_BLOCKS * REQUESTS_A_BLOCK
_FINDS_WEAK, _FINDS_CLEAR = 3000, 1000
"""Requests from which the rule reliably finds a start that is 50% slower, and one that is twice as slow: see
tests/statistics/test_truncation.py.
"""
_LEAST_HIT_RATE_CHANGE = 0.02
_MOST_EMPTY = 0.2
LOAD_CHANGED = "the load changed"
"""The state of a run with several load levels."""
_COLUMNS = ["sent_at", "ttft_ms", "e2e_ms", "cached_tokens", "prompt_tokens"]
HIT_RATE, OUTPUT = "hit_rate", "output_tok_s"


def steady_part(everything: pd.DataFrame, rows: pd.DataFrame, window: Window | None) -> SteadyPart:
    """The result for the requests `rows` measured in `window`, under a constant load.

    `everything`: requests of all phases, whose tokens may arrive inside the window.
    """
    if window is None or window.seconds <= 0:
        return SteadyPart(TOO_SHORT)
    ok = rows.loc[is_ok(rows), _COLUMNS]
    latency = "e2e_ms" if ok["ttft_ms"].isna().all() else "ttft_ms"
    truncation = truncate(series_of(everything, ok, window, latency))
    at_s = truncation.share * window.seconds
    if truncation.state == NO_STATIONARY_PART:
        return SteadyPart(
            truncation.state,
            because=list(truncation.because),
            sentence=_sentence(everything, ok, latency, window, truncation),
        )
    if truncation.state != CUT:
        return SteadyPart(truncation.state, reach=_reach(truncation.state, len(ok)))
    after = (rows["sent_at"] >= window.start + at_s).to_numpy()
    return SteadyPart(
        truncation.state,
        at_s,
        list(truncation.because),
        _sentence(everything, ok, latency, window, truncation),
        latency_figures(rows[after]),
    )


def _reach(state: str, requests: int) -> str | None:
    """A sentence on what so few requests cannot show; None if there are enough."""
    if state == TOO_SHORT:
        lacking = f"; it takes {_LEAST_REQUESTS}" if requests < _LEAST_REQUESTS else ""
        return (
            f"Whether the measured phase was stationary cannot be told from its {requests} requests that "
            f"succeeded{lacking}."
        )
    if requests >= _FINDS_WEAK:
        return None
    missed = "1.5 times as slow" if requests >= _FINDS_CLEAR else "up to three times as slow"
    return (
        f"No transient was found, but {requests:,} requests cannot show each: a start that was {missed} may go "
        f"unnoticed (of {_FINDS_WEAK:,} requests nearly each is found)."
    )


def series_of(everything: pd.DataFrame, ok: pd.DataFrame, window: Window, latency: str) -> dict[str, Series]:
    """The series to look at, over blocks of the window; those that were not measured are left out."""
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
    """Sum of `above` / sum of `below` in each block, over entries that have both; NaN if there are none."""
    known = ~(np.isnan(above) | np.isnan(below))
    sums = [np.bincount(place[known], weights=part[known], minlength=blocks) for part in (above, below)]
    return sums[0] / sums[1]


def _filled(values: np.ndarray) -> np.ndarray:
    """Blocks in which nothing was measured are interpolated between their neighbours."""
    known = ~np.isnan(values)
    return np.interp(np.arange(len(values)), np.flatnonzero(known), values[known])


def _sentence(everything: pd.DataFrame, ok: pd.DataFrame, latency: str, window: Window, truncation: Truncation) -> str:
    """`TTFT p95 fell from 130 to 22 ms within the measured phase; from t=18 s on: 22 ms.`, with the figure of the whole
    phase.

    It describes the first of latency, hit rate and throughput that changed.
    """
    what = next(each for each in (latency, HIT_RATE, OUTPUT) if each in truncation.because)
    border = window.start + (truncation.share if truncation.state == CUT else 0.25) * window.seconds
    last = border if truncation.state == CUT else window.start + 0.75 * window.seconds
    if what == OUTPUT:
        title, values = _output(everything, ((window.start, border), (last, window.end), (window.start, window.end)))
    else:
        sent = ok["sent_at"].to_numpy()
        title, values = _figures(ok, what, (sent < border, sent >= last, np.ones(len(ok), dtype=bool)))
    before, after, whole = (_in_words(what, value) for value in values)
    fell = (values[1] or 0.0) < (values[0] or 0.0)
    moved = f"{title} {'fell' if fell else 'rose'} from {before} to {after} within the measured phase"
    if truncation.state == CUT:
        return f"{moved}; from t={truncation.share * window.seconds:.0f} s on: {after} (whole phase: {whole})."
    return (
        f"{moved} (first and last quarter; whole phase: {whole}) and did not settle: no part of it is "
        "stationary, so its figures depend on how long the run was. Measure longer, or warm up longer."
    )


def _in_words(what: str, value: float | None) -> str:
    if what == HIT_RATE:
        return "–" if value is None else percent(value)
    return number(value) if what == OUTPUT else f"{number(value)} ms"


def _output(everything: pd.DataFrame, spans: Sequence[tuple[float, float]]) -> tuple[str, list[float | None]]:
    """(title, the value in each interval of time)."""
    flow = output_flow(everything)
    return "Output tokens/s", [float(flow.between(np.array(span))[0]) / (span[1] - span[0]) for span in spans]


def _figures(ok: pd.DataFrame, what: str, parts: Sequence[np.ndarray]) -> tuple[str, list[float | None]]:
    """(title, the value of each part)."""
    if what == HIT_RATE:
        return "The hit rate", [_hit_rate(ok[part]) for part in parts]
    title, latency = present(METRICS.latency(what)).title, ok[what].to_numpy()
    values = [percentiles(latency[part], (95,))[95].value for part in parts]
    if any(value is None for value in values):  # too few requests before the cut for a p95
        return f"{title} p50", [float(np.median(latency[part])) for part in parts]
    return f"{title} p95", values


def _hit_rate(ok: pd.DataFrame) -> float | None:
    both = ok[["cached_tokens", "prompt_tokens"]].dropna()
    return float(both["cached_tokens"].sum() / both["prompt_tokens"].sum()) if len(both) else None
