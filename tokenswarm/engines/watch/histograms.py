"""The engine's own latency histograms, and the difference between two readings. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tokenswarm.contract.manifest import HistogramRecord, ServerLatencyRecord
from tokenswarm.engines.spec.engine_spec import HistogramSource
from tokenswarm.engines.spec.metrics_text import Sample, samples

_PARTS = ("bucket", "sum", "count")
_STARTED = "process_start_time_seconds"
"""Exported by most Prometheus clients; another value than before means another process."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Observations in seconds by bucket. `bounds_s`: upper ends, rising; `counts`: in each bucket, not cumulative, with
    one more for what is beyond the last bound."""

    bounds_s: tuple[float, ...]
    counts: tuple[int, ...]
    sum_s: float

    @property
    def count(self) -> int:
        """Number of observations."""
        return sum(self.counts)

    def record(self) -> HistogramRecord:
        """As run.json holds it."""
        return HistogramRecord(list(self.bounds_s), list(self.counts), round(self.sum_s, 6), self.count)


@dataclass(frozen=True, slots=True)
class HistogramReading:
    """All histograms at a moment (unix seconds); one that the engine did not export yet is missing."""

    at: float
    histograms: Mapping[str, Histogram]
    process_started: float | None = None


def read(text: str, sources: Mapping[str, HistogramSource], at: float) -> HistogramReading:
    """The histograms of a /metrics text under their canonical names; series of one name are added up."""
    wanted = frozenset(f"{name}_{part}" for source in sources.values() for name in source.names for part in _PARTS)
    scraped = samples(text, wanted | {_STARTED})
    histograms = {}
    for canonical, source in sources.items():
        for name in source.names:
            buckets, sums = (_chosen(scraped.get(f"{name}_{part}", []), source.where) for part in ("bucket", "sum"))
            if (histogram := _histogram(buckets, sums)) is not None:
                histograms[canonical] = histogram
                break
    started = [series.value for series in scraped.get(_STARTED, [])]
    return HistogramReading(at, histograms, max(started) if started else None)


def _chosen(series: list[Sample], where: Mapping[str, str]) -> list[Sample]:
    return [each for each in series if where.items() <= each.labels.items()]


def _histogram(buckets: list[Sample], sums: list[Sample]) -> Histogram | None:
    cumulative: dict[float, float] = {}
    for series in buckets:
        try:
            bound = float(series.labels["le"])
        except (KeyError, ValueError):
            return None
        cumulative[bound] = cumulative.get(bound, 0.0) + series.value
    bounds = sorted(cumulative)
    if len(bounds) < 2 or bounds[-1] != float("inf"):
        return None
    totals = [round(cumulative[bound]) for bound in bounds]
    counts = [after - before for before, after in zip([0, *totals], totals, strict=False)]
    if min(counts) < 0:
        return None  # no histogram: cumulative counts only grow
    return Histogram(tuple(bounds[:-1]), tuple(counts), sum(series.value for series in sums))


def growth(before: Histogram | None, after: Histogram) -> Histogram | None:
    """What was observed between two readings; None where the engine began to count anew, or with other buckets.

    A histogram that was missing before counts as empty.
    """
    if before is None:
        return after
    if before.bounds_s != after.bounds_s:
        return None
    counts = tuple(late - early for early, late in zip(before.counts, after.counts, strict=True))
    if min(counts) < 0 or after.sum_s < before.sum_s:
        return None
    return Histogram(after.bounds_s, counts, after.sum_s - before.sum_s)


def between(start: HistogramReading | None, end: HistogramReading | None) -> ServerLatencyRecord:
    """What was observed between two readings; `why` says what is missing, or is None."""
    record = ServerLatencyRecord(start.at if start else None, end.at if end else None)
    if start is None or end is None:
        side = "start" if start is None else "end"
        record.why = f"the engine's metrics could not be read at the {side} of the measured phase"
        return record
    restarted = (
        None not in (start.process_started, end.process_started) and start.process_started != end.process_started
    )
    grown = (
        {}
        if restarted
        else {name: growth(start.histograms.get(name), histogram) for name, histogram in end.histograms.items()}
    )
    if restarted or any(histogram is None for histogram in grown.values()):
        record.why = "the engine's counters started over in between: it was restarted"
    elif not grown:
        record.why = "the engine exports no histogram of its latencies"
    else:
        record.histograms = {name: histogram.record() for name, histogram in grown.items() if histogram}
    return record
