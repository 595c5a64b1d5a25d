"""The live figures of a run as Prometheus metrics: names, labels, buckets, and current samples.

All in base units (seconds, bytes, ratios from 0 to 1). Counters and histograms start at zero in each run and have all
their series from the start. So the first failure is a step from 0 to 1; a series that appears with it would not show in
rate().
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

from tokenswarm.base.presence import present
from tokenswarm.contract.manifest import Manifest
from tokenswarm.contract.metric import Latency, Place
from tokenswarm.contract.metrics import METRICS
from tokenswarm.contract.tables import ERROR_KINDS, PHASES, STATUSES
from tokenswarm.live.aggregate import LatencySketch, LiveAggregate
from tokenswarm.live.live_stats import LiveStats

LATENCY_BUCKETS_S = (
    0.005,
    0.01,
    0.02,
    0.03,
    0.05,
    0.075,
    0.1,
    0.15,
    0.2,
    0.3,
    0.4,
    0.5,
    0.75,
    1.0,
    1.5,
    2.0,
    3.0,
    4.0,
    5.0,
    7.5,
    10.0,
    15.0,
    20.0,
    30.0,
    45.0,
    60.0,
    90.0,
    120.0,
    180.0,
    300.0,
    600.0,
)
"""Upper bounds. A percentile is known to within its bucket; from 20 ms to 2 minutes no bucket is wider than two thirds
of its lower bound."""
TPOT_BUCKETS_S = (
    0.001,
    0.002,
    0.003,
    0.004,
    0.005,
    0.0075,
    0.01,
    0.0125,
    0.015,
    0.02,
    0.025,
    0.03,
    0.04,
    0.05,
    0.06,
    0.08,
    0.1,
    0.125,
    0.15,
    0.2,
    0.3,
    0.4,
    0.5,
    0.75,
    1.0,
)
SENDING_PHASES = PHASES[:2]
"""No requests are sent in the drain."""
LIGHTS = {"grey": 0, "green": 1, "amber": 2, "red": 3}
"""Values of tokenswarm_validity."""
_STALE_S = 10.0
"""A worker that has been silent this long counts as lost."""
_LABEL_CHARS = 200

Kind = Literal["counter", "gauge", "histogram", "info"]


@dataclass(frozen=True, slots=True)
class Described:
    """A metric: its name in a query (for a histogram without `_bucket`), kind, labels and meaning."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    meaning: str


_BY_CLASS = ("user_class", "phase")
_REQUESTS = (
    Described(
        "tokenswarm_run_info",
        "info",
        ("run_id", "engine", "model", "scenario", "simulated"),
        "Always 1; its labels say which run this is.",
    ),
    Described("tokenswarm_phase", "gauge", ("phase",), "1 for the phase that the run is in, 0 for the others."),
    Described("tokenswarm_users", "gauge", (), "Users that run now."),
    Described("tokenswarm_requests_in_flight", "gauge", ("user_class",), "Requests sent and not answered yet."),
    Described("tokenswarm_measured_seconds", "gauge", (), "Seconds of the measured window that have passed."),
    Described(
        "tokenswarm_requests_total",
        "counter",
        (*_BY_CLASS, "status"),
        "Requests that have ended, by the phase in which they were sent.",
    ),
    Described("tokenswarm_request_errors_total", "counter", (*_BY_CLASS, "kind"), "Failed requests by kind."),
    Described(
        "tokenswarm_good_requests_total",
        "counter",
        _BY_CLASS,
        "Requests that met every objective of their class that bounds a request; none where it has no such.",
    ),
    Described("tokenswarm_prompt_tokens_total", "counter", _BY_CLASS, "Prompt tokens of ended requests."),
    Described("tokenswarm_output_tokens_total", "counter", _BY_CLASS, "Output tokens of ended requests."),
    Described(
        "tokenswarm_cached_tokens_total",
        "counter",
        _BY_CLASS,
        "Prompt tokens that the engine says it found in its cache.",
    ),
    Described(
        "tokenswarm_cache_known_prompt_tokens_total",
        "counter",
        _BY_CLASS,
        "Prompt tokens of the answers that say how many were cached.",
    ),
    Described(
        "tokenswarm_window_output_tokens_total",
        "counter",
        ("user_class",),
        "Output tokens that arrived inside the measured window, whatever the phase of their request.",
    ),
    Described(
        "tokenswarm_window_prompt_tokens_total",
        "counter",
        ("user_class",),
        "Prompt tokens whose first output token came inside the measured window.",
    ),
    Described(
        "tokenswarm_window_answers_total",
        "counter",
        ("user_class",),
        "Answers that ended well inside the measured window.",
    ),
    Described(
        "tokenswarm_window_good_answers_total",
        "counter",
        ("user_class",),
        "Of those, the ones that met every objective of their class that bounds a request; none where it has no such.",
    ),
)
_OF_OBJECTIVES = ("tokenswarm_good_requests_total", "tokenswarm_window_good_answers_total")
"""Left out if no class has SLOs that bound a request."""
_TRUST = (
    Described(
        "tokenswarm_validity",
        "gauge",
        (),
        "Whether the load generator can be trusted now: 0 unknown, 1 green, 2 amber, 3 red (do not trust).",
    ),
    Described(
        "tokenswarm_timing_error_bound_seconds",
        "gauge",
        (),
        "How far TTFTs of the last 10 s may be off: 99th percentile over requests.",
    ),
    Described("tokenswarm_workers", "gauge", (), "Load-generating processes that report."),
    Described("tokenswarm_worker_cpu_ratio", "gauge", ("worker",), "Share of one core, of the last second."),
    Described("tokenswarm_worker_loop_lag_seconds", "gauge", ("worker",), "Worst delay of a timer in the last second."),
    Described(
        "tokenswarm_worker_lateness_seconds",
        "gauge",
        ("worker",),
        "Worst lateness of an arrival in the last second; open loop only.",
    ),
    Described("tokenswarm_worker_resident_memory_bytes", "gauge", ("worker",), "Resident memory."),
)


def exported() -> tuple[Described, ...]:
    """Everything that is exported, in order (the table of docs/observe.md): what is known of every run, a histogram of
    each live latency, and a gauge of each live rate that cannot be had from the counters."""
    return (
        *_REQUESTS,
        *(
            Described(_histogram_name(latency), "histogram", _BY_CLASS, present(latency.at(Place.PROMETHEUS).title))
            for latency in _latencies()
        ),
        *(
            Described(
                f"tokenswarm_{rate.name}",
                "gauge",
                ("user_class",),
                f"{rate.at(Place.PROMETHEUS).title}, of the measured phase so far: {rate.formula}.",
            )
            for rate in METRICS.rates()
            if rate.live and rate.gauge and rate.of_sums
        ),
        *_TRUST,
    )


def _latencies() -> list[Latency]:
    return [latency for latency in METRICS.latencies() if latency.live]


def _histogram_name(latency: Latency) -> str:
    return f"tokenswarm_{latency.name}_seconds"


@dataclass(frozen=True, slots=True)
class Moment:
    """What is known about a run now besides its live figures. `run`: the labels of tokenswarm_run_info. `in_flight`: by
    user class."""

    run: Mapping[str, str]
    phase: str
    measured_s: float
    in_flight: Mapping[str, int]
    users: int
    user_classes: Iterable[str]


def families(live: LiveStats, moment: Moment) -> Iterator[Metric]:
    """The metrics of `exported` with their current samples, in pieces of about a millisecond: a histogram is one piece
    per user class."""
    names = sorted({*moment.user_classes, *moment.in_flight, *(name for _, name in live.tallies)})
    yield from _plain(_situation(moment, names))
    yield from _plain(_counters(live, names))
    described = {each.name: each for each in exported()}
    for latency in _latencies():
        for name in names:
            yield _histogram(latency, described[_histogram_name(latency)], live, name)
    yield from _plain(_gauges(live, names, moment))
    yield from _plain(_trust(live))


Samples = list[tuple[tuple[str, ...], float]]


def _plain(values: Mapping[str, Samples]) -> Iterator[Metric]:
    for described in exported():
        if described.name in values:
            family = (CounterMetricFamily if described.kind == "counter" else GaugeMetricFamily)(
                described.name, described.meaning, labels=described.labels
            )
            for labels, value in values[described.name]:
                family.add_metric([_printable(label) for label in labels], value)
            yield family


def _situation(moment: Moment, names: list[str]) -> dict[str, Samples]:
    return {
        "tokenswarm_run_info": [(tuple(moment.run[label] for label in _REQUESTS[0].labels), 1.0)],
        "tokenswarm_phase": [((phase,), float(phase == moment.phase)) for phase in PHASES],
        "tokenswarm_users": [((), moment.users)],
        "tokenswarm_requests_in_flight": [((name,), moment.in_flight.get(name, 0)) for name in names],
        "tokenswarm_measured_seconds": [((), moment.measured_s)],
    }


def _counters(live: LiveStats, names: list[str]) -> dict[str, Samples]:
    none = LiveAggregate()
    tallies = {(name, phase): live.tallies.get((phase, name), none) for name in names for phase in SENDING_PHASES}

    def summed(count: str) -> Samples:
        return [(key, tally.counts[count]) for key, tally in tallies.items()]

    def of_window(count: str) -> Samples:
        every = list(live.tallies.items())
        return [((name,), sum(tally.counts[count] for (_, other), tally in every if other == name)) for name in names]

    samples: dict[str, Samples] = {
        "tokenswarm_requests_total": [
            ((*key, status), tally.counts[status]) for key, tally in tallies.items() for status in STATUSES
        ],
        "tokenswarm_request_errors_total": [
            ((*key, kind), tally.errors[kind]) for key, tally in tallies.items() for kind in ERROR_KINDS
        ],
        "tokenswarm_good_requests_total": [(key, count) for key, count in summed("good") if live.bounded(key[0])],
        "tokenswarm_prompt_tokens_total": summed("prompt_tokens"),
        "tokenswarm_output_tokens_total": summed("completion_tokens"),
        "tokenswarm_cached_tokens_total": summed("cached_tokens"),
        "tokenswarm_cache_known_prompt_tokens_total": summed("prompt_tokens_with_cache_info"),
        "tokenswarm_window_output_tokens_total": of_window("window_output"),
        "tokenswarm_window_prompt_tokens_total": of_window("window_prompt"),
        "tokenswarm_window_answers_total": of_window("window_done"),
        "tokenswarm_window_good_answers_total": [
            (key, count) for key, count in of_window("window_good") if live.bounded(key[0])
        ],
    }
    return {name: values for name, values in samples.items() if values or name not in _OF_OBJECTIVES}


def _gauges(live: LiveStats, names: list[str], moment: Moment) -> dict[str, Samples]:
    """Rates and shares without counters of their own; one that is unknown has no sample."""
    rates = [rate for rate in METRICS.rates() if rate.live and rate.gauge and rate.of_sums]
    gauges: dict[str, Samples] = {}
    for name in names if rates else ():
        sums = live.measured(name).sums(moment.measured_s, live.bounded(name), **live.of_window(name))
        for rate in rates:
            value = present(rate.of_sums)(sums)
            if value is not None:
                gauges.setdefault(f"tokenswarm_{rate.name}", []).append(((name,), value))
    return gauges


def _histogram(latency: Latency, described: Described, live: LiveStats, user_class: str) -> Metric:
    bounds_s = TPOT_BUCKETS_S if latency.scale == "token" else LATENCY_BUCKETS_S
    family = HistogramMetricFamily(described.name, described.meaning, labels=described.labels)
    for phase in SENDING_PHASES:
        tally = live.tallies.get((phase, user_class))
        seen = (tally.latencies.get(latency.key) if tally is not None else None) or LatencySketch()
        counts = zip(map(floatToGoString, bounds_s), seen.at_most(bound * 1e3 for bound in bounds_s), strict=True)
        family.add_metric([_printable(user_class), phase], [*counts, ("+Inf", seen.count)], seen.total / 1e3)
    return family


def _trust(live: LiveStats) -> dict[str, Samples]:
    judged = live.generator()
    oldest = time.time() - _STALE_S
    rows = sorted((str(row["source"]), row) for row in live.health.values() if row["at"] >= oldest)

    def of_workers(column: str, factor: float = 1.0) -> Samples:
        return [((source,), row[column] * factor) for source, row in rows if row[column] is not None]

    samples: dict[str, Samples] = {
        "tokenswarm_validity": [((), LIGHTS[judged["light"]])],
        "tokenswarm_workers": [((), len(rows))],
        "tokenswarm_worker_cpu_ratio": of_workers("cpu_share"),
        "tokenswarm_worker_loop_lag_seconds": of_workers("loop_lag_ms", 1e-3),
        "tokenswarm_worker_lateness_seconds": of_workers("lateness_max_ms", 1e-3),
        "tokenswarm_worker_resident_memory_bytes": of_workers("rss_mb", 1024.0 * 1024.0),
    }
    if judged["error_bound_ms"] is not None:
        samples["tokenswarm_timing_error_bound_seconds"] = [((), round(judged["error_bound_ms"] * 1e-3, 9))]
    return samples


def _printable(text: str) -> str:
    """Make text from an engine or a file valid as a label (a lone surrogate, for example, is not valid UTF-8)."""
    return "".join(character if character.isprintable() else " " for character in text[:_LABEL_CHARS])


def run_labels(manifest: Manifest, simulated: str) -> dict[str, str]:
    """The labels of tokenswarm_run_info, from run.json."""
    return {
        "run_id": manifest.run_id or "",
        "engine": manifest.engine.name or "",
        "model": manifest.model or "",
        "simulated": simulated,
        "scenario": manifest.scenario.name or "",
    }
