"""The engine's own latencies, from its histograms over the measure phase, and the client's for comparison.

A histogram only says how many observations fell into a bucket. A percentile is interpolated inside one bucket, so each
figure has the ends of that bucket: the true value lies between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from tokenswarm.analysis.figures.statistics import Estimate, interpolate
from tokenswarm.analysis.figures.window import ended_at
from tokenswarm.analysis.read.run_folder import Run

from tokenswarm.contract.limits import observations_needed
from tokenswarm.contract.manifest import HistogramRecord, ServerLatencyRecord
from tokenswarm.contract.summary.engine_records import ServerFigures, ServerTtft, Spread
from tokenswarm.contract.summary.figure import Figure, Number

QUANTILES = (50, 95, 99)
COARSEST = 2.5
"""Ratio of a bucket's ends up to which a value inside it is reported; engines' buckets grow by at most this, except for
the first ones.
"""
_MS_PER_S = 1000.0


def histogram_percentile(
    bounds_s: Sequence[Number], counts: Sequence[Number], q: float
) -> tuple[float | None, float, float]:
    """(value, lower end, upper end) in the unit of the bounds: percentile `q` (0..100) of a non-empty histogram.

    `bounds_s` are the buckets' upper ends, ascending. `counts` has one more entry, for values beyond the last bound; a
    percentile there has no value and an infinite upper end. Linear inside a bucket, whose lower end is the previous
    bound (0 for the first), like Prometheus' histogram_quantile.
    """
    rank = q / 100.0 * sum(counts)
    below: Number = 0
    for (low, high), count in zip(pairwise([0.0, *bounds_s, float("inf")]), counts, strict=True):
        if count and below + count >= rank:
            value = None if high == float("inf") else low + (high - low) * (rank - below) / count
            return value, low, high
        below += count
    raise ValueError("the histogram is empty")


def server_figures(run: Run) -> dict[str, ServerFigures]:
    """By latency (`ttft`, `queue`, `itl`, `e2e`), in ms.

    `client` holds the client's figures for the same events: for `ttft` the first tokens, and for `e2e` the ends,
    between the engine's two readings, whatever phase their requests were sent in; None for the others.
    """
    record = run.manifest.server_latency or ServerLatencyRecord()
    start, end = record.start_at, record.end_at
    out = {}
    for name in ("ttft", "queue", "itl", "e2e"):
        histogram = _checked(record.histograms.get(name))
        if histogram is None or start is None or end is None:
            own, client = _missing(record.why or "the engine's histograms were not read"), None
        else:
            own, client = _spread(*histogram), _client(run.requests, name, start, end)
        out[name] = ServerFigures(own.p50, own.p95, own.p99, own.mean, client)
    return out


def server_ttft(run: Run) -> ServerTtft:
    """The engine's own TTFT (see `server_figures`), with the times of its two readings in unix seconds."""
    record = run.manifest.server_latency or ServerLatencyRecord()
    own = server_figures(run)["ttft"]
    return ServerTtft(own.p50, own.p95, own.p99, own.mean, own.client, record.start_at, record.end_at)


def _needs(q: float, count: int) -> str:
    return f"needs {observations_needed(q)} observations, has {count}"


def _checked(histogram: HistogramRecord | None) -> tuple[list[Number], list[Number], Number] | None:
    """(bounds, counts, sum), or None if it is not a histogram."""
    if histogram is None or histogram.sum_s is None or len(histogram.counts) != len(histogram.bounds_s) + 1:
        return None
    bounds, counts, total = histogram.bounds_s, histogram.counts, histogram.sum_s
    rising = all(low < high for low, high in pairwise(bounds))
    return (bounds, counts, total) if rising and min(counts) >= 0 else None


def _missing(why: str) -> Spread:
    p50, p95, p99, mean = (Estimate(None, why=why).figure("ms") for _ in (*QUANTILES, "mean"))
    return Spread(p50, p95, p99, mean)


def _spread(bounds_s: Sequence[Number], counts: Sequence[Number], sum_s: Number) -> Spread:
    total = int(sum(counts))
    if not total:
        return _missing("the engine counted none in the measure phase")
    figures = []
    for q in QUANTILES:
        if total < observations_needed(q):
            figures.append(Estimate(None, n=total, why=_needs(q, total)).figure("ms"))
            continue
        value_s, low_s, high_s = histogram_percentile(bounds_s, counts, q)
        value_ms = None if value_s is None else value_s * _MS_PER_S
        figures.append(_quantile(value_ms, low_s * _MS_PER_S, high_s * _MS_PER_S, total))
    p50, p95, p99 = figures
    return Spread(p50, p95, p99, Estimate(_MS_PER_S * sum_s / total, n=total).figure("ms"))


def _quantile(value_ms: float | None, low_ms: float, high_ms: float, count: int) -> Figure:
    """A figure with its `bucket`; without a value if the bucket is open or too coarse."""
    ends: list[Number | None] = [low_ms, None if high_ms == float("inf") else high_ms]
    if value_ms is None:
        figure = Estimate(None, n=count, why=f"above {low_ms:g} ms: the engine has no further bucket").figure("ms")
    elif high_ms > COARSEST * low_ms:
        within = f"between {low_ms:g} and {high_ms:g} ms: the engine has no finer bucket"
        figure = Estimate(None, n=count, why=within).figure("ms")
    else:
        figure = Estimate(value_ms, n=count).figure("ms")
    figure.bucket = ends
    return figure


def _client(rows: pd.DataFrame, name: str, start: float, end: float) -> Spread | None:
    if name == "ttft":
        values = rows["ttft_ms"].to_numpy()
        at = rows["sent_at"].to_numpy() + values / _MS_PER_S
    elif name == "e2e":
        values = np.where((rows["status"] == "ok").to_numpy(), rows["e2e_ms"].to_numpy(), np.nan)
        at = ended_at(rows)
    else:
        return None
    seen = np.sort(values[(at >= start) & (at <= end) & ~np.isnan(values)])
    figures = []
    for q in QUANTILES:
        value = float(interpolate(seen, q)) if len(seen) >= observations_needed(q) else None
        figures.append(Estimate(value, n=len(seen), why=_needs(q, len(seen))).figure("ms"))
    mean = float(seen.mean()) if len(seen) else None
    p50, p95, p99 = figures
    return Spread(p50, p95, p99, Estimate(mean, n=len(seen)).figure("ms"))
