"""Latencies as the engine itself measured them, from its histograms over the measure phase, beside the client's.

A histogram only says how many observations fell into a bucket. A percentile from it is interpolated inside one bucket,
so each figure names the ends of that bucket: the true value lies between them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from tokenswarm.analysis.figures.statistics import Estimate, interpolate, observations_needed
from tokenswarm.analysis.figures.window import ended_at
from tokenswarm.analysis.read.run_folder import Run

from tokenswarm.contract.manifest import HistogramRecord, ServerLatencyRecord

QUANTILES = (50, 95, 99)
COARSEST = 2.5
"""Ratio of a bucket's ends up to which a value inside it is worth a number; engines' buckets grow by this at most,
apart from the first ones."""
_MS_PER_S = 1000.0


def histogram_percentile(bounds_s: list[float], counts: list[int], q: float) -> tuple[float | None, float, float]:
    """(value, lower end, upper end) in the unit of the bounds: percentile `q` (0..100) of a histogram of at least one.

    `bounds_s` are the buckets' upper ends, rising; `counts` has one more entry, for what is beyond the last of them,
    and what falls there has no value and an infinite upper end. Linear inside a bucket, whose lower end is the bound
    before (0 for the first), as Prometheus' histogram_quantile does.
    """
    rank = q / 100.0 * sum(counts)
    below = 0
    for (low, high), count in zip(pairwise([0.0, *bounds_s, float("inf")]), counts, strict=True):
        if count and below + count >= rank:
            value = None if high == float("inf") else low + (high - low) * (rank - below) / count
            return value, low, high
        below += count
    raise ValueError("the histogram is empty")


def server_figures(run: Run) -> dict[str, dict[str, Any]]:
    """By latency (`ttft`, `queue`, `itl`, `e2e`), each with figures `p50`, `p95`, `p99`, `mean` in ms, and `client`.

    `client` holds the same figures of the same events as the client timed them: of `ttft` the first tokens, of `e2e`
    the ends, that came between the engine's two readings, in whatever phase they were sent; None for the others.
    """
    record = run.manifest.server_latency or ServerLatencyRecord()
    span = record.start_at, record.end_at
    known = None not in span
    out = {}
    for name in ("ttft", "queue", "itl", "e2e"):
        histogram = _checked(record.histograms.get(name)) if known else None
        why = record.why or "the engine's histograms were not read"
        figures = _missing(str(why)) if histogram is None else _figures(*histogram)
        out[name] = {**figures, "client": _client(run.requests, name, *span) if histogram else None}
    return out


def server_ttft(run: Run) -> dict[str, Any]:
    """The engine's own TTFT (see `server_figures`), with the moments of its two readings in unix seconds."""
    record = run.manifest.server_latency or ServerLatencyRecord()
    return {"start_unix_s": record.start_at, "end_unix_s": record.end_at,
            **server_figures(run)["ttft"]}


def _needs(q: float, count: int) -> str:
    return f"needs {observations_needed(q)} observations, has {count}"


def _checked(histogram: HistogramRecord | None) -> tuple[list[float], list[int], float] | None:
    """(bounds, counts, sum), or None for what is no histogram."""
    if histogram is None or histogram.sum_s is None or len(histogram.counts) != len(histogram.bounds_s) + 1:
        return None
    bounds, counts, total = histogram.bounds_s, histogram.counts, histogram.sum_s
    rising = all(low < high for low, high in pairwise(bounds))
    return (bounds, counts, total) if rising and min(counts) >= 0 else None


def _missing(why: str, count: int = 0) -> dict[str, Any]:
    return {f"p{q}": Estimate(None, n=count, why=why).figure("ms") for q in QUANTILES} \
        | {"mean": Estimate(None, n=count, why=why).figure("ms")}


def _figures(bounds_s: list[float], counts: list[int], sum_s: float) -> dict[str, Any]:
    total = sum(counts)
    if not total:
        return _missing("the engine counted none in the measure phase")
    out = {}
    for q in QUANTILES:
        if total < observations_needed(q):
            out[f"p{q}"] = Estimate(None, n=total, why=_needs(q, total)).figure("ms")
            continue
        out[f"p{q}"] = _quantile(*(None if end is None else end * _MS_PER_S
                                   for end in histogram_percentile(bounds_s, counts, q)), total)
    return out | {"mean": Estimate(_MS_PER_S * sum_s / total, n=total).figure("ms")}


def _quantile(value_ms: float | None, low_ms: float, high_ms: float, count: int) -> dict[str, Any]:
    """A figure with its `bucket`; without a value where the bucket is open or too coarse to tell one."""
    ends = [low_ms, None if high_ms == float("inf") else high_ms]
    if value_ms is None:
        figure = Estimate(None, n=count, why=f"above {low_ms:g} ms: the engine has no further bucket").figure("ms")
    elif high_ms > COARSEST * low_ms:
        within = f"between {low_ms:g} and {high_ms:g} ms: the engine has no finer bucket"
        figure = Estimate(None, n=count, why=within).figure("ms")
    else:
        figure = Estimate(value_ms, n=count).figure("ms")
    return figure | {"bucket": ends}


def _client(rows: pd.DataFrame, name: str, start: float, end: float) -> dict[str, Any] | None:
    if name == "ttft":
        values = rows["ttft_ms"].to_numpy()
        at = rows["sent_at"].to_numpy() + values / _MS_PER_S
    elif name == "e2e":
        values = np.where((rows["status"] == "ok").to_numpy(), rows["e2e_ms"].to_numpy(), np.nan)
        at = ended_at(rows)
    else:
        return None
    seen = np.sort(values[(at >= start) & (at <= end) & ~np.isnan(values)])
    figures = {}
    for q in QUANTILES:
        value = float(interpolate(seen, q)) if len(seen) >= observations_needed(q) else None
        figures[f"p{q}"] = Estimate(value, n=len(seen), why=_needs(q, len(seen))).figure("ms")
    mean = float(seen.mean()) if len(seen) else None
    return figures | {"mean": Estimate(mean, n=len(seen)).figure("ms")}
