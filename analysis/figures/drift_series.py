"""The series of a run that are checked for drift, and the verdict on each: summary.json's `drift`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from tokenswarm.analysis import wording as text
from tokenswarm.analysis.figures.drift import DRIFTING, MEDIAN, STEPPED, TOO_SHORT, Drift, blocks, judge
from tokenswarm.analysis.figures.flow import output_flow
from tokenswarm.analysis.figures.quantities import is_failed, is_ok, latency_of
from tokenswarm.analysis.figures.rates import by_stretch, own_sums, sums_between
from tokenswarm.analysis.figures.window import Window
from tokenswarm.analysis.read.run_folder import Run

from tokenswarm.contract.metric import HIGHER, Place, percentile_digits
from tokenswarm.contract.metrics import METRICS
from tokenswarm.contract.objectives import bounds_of_run
from tokenswarm.contract.summary.time_records import DriftSeries, DriftStep
from tokenswarm.contract.summary.verdict_records import Gate

SHORTEST_S = 300.0
"""A shorter measure phase says nothing about hours."""
_SLICES = 60
"""Number of slices in which rates are counted."""
_LEAST = {"error_rate": 0.0, "kv_usage": 0.10}
_USUAL_LEAST = 0.05


@dataclass(frozen=True, slots=True)
class _Series:
    """Blocks of one series: their midpoints in seconds from the start of measuring, and their values."""

    key: str
    title: str
    unit: str
    blocks: tuple[np.ndarray, np.ndarray]


def drift_figures(run: Run, window: Window | None) -> dict[str, DriftSeries]:
    """The verdict on each series, by its key."""
    if window is None or window.seconds <= 0:
        return {}
    series = [
        each
        for each in (*_latencies(run, window), *_rates(run, window), *_machines(run, window))
        if len(each.blocks[1])
    ]
    out = {}
    for each in series:
        long_enough = window.seconds >= SHORTEST_S
        at, values = each.blocks
        drift = (
            judge(at, values, series=len(series), least_change=_LEAST.get(each.key, _USUAL_LEAST))
            if long_enough
            else Drift(TOO_SHORT, level=float(np.median(values)))
        )
        out[each.key] = _as_entry(each, drift, window.seconds)
    return out


def _latencies(run: Run, window: Window) -> Iterator[_Series]:
    """The latencies that the registry of metrics checks for drift: a percentile of each block."""
    ok = is_ok(run.measured)
    at = run.measured["sent_at"].to_numpy()[ok] - window.start
    for latency in METRICS.latencies_at(Place.DRIFT):
        values = latency_of(latency, run.measured)[ok]
        for q in latency.shown_percentiles(Place.DRIFT):
            key, title = (
                (latency.name, latency.title)
                if q == MEDIAN
                else (f"{latency.name}_p{percentile_digits(q)}", f"{latency.title} p{q:g}")
            )
            yield _Series(key, title, "ms", blocks(at, values, q))


def _rates(run: Run, window: Window) -> Iterator[_Series]:
    """The rates and shares that the registry checks, in each of _SLICES slices of the window."""
    edges = np.linspace(window.start, window.end, _SLICES + 1)
    middles = (edges[:-1] + edges[1:]) / 2 - window.start
    sums: dict[str, np.ndarray] | None = None
    for rate in METRICS.rates_at(Place.DRIFT):
        quick = _QUICK_RATES.get(rate.name)
        if quick is not None:
            yield _Series(rate.name, rate.title, rate.unit, quick(run, window, edges))
        elif rate.of_sums is not None:
            if sums is None:
                sums = sums_between(run.requests, run.measured, edges, bounds_of_run(run.manifest))
            values = by_stretch(rate, sums | own_sums(rate, run.measured, edges))
            known = ~np.isnan(values)
            yield _Series(rate.name, rate.title, rate.unit, (middles[known], values[known]))


def _output_rate(run: Run, window: Window, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if not run.measured["completion_tokens"].notna().any():
        return np.array([]), np.array([])
    return (edges[:-1] + edges[1:]) / 2 - window.start, output_flow(run.requests).between(edges) / (
        window.seconds / _SLICES
    )


def _error_rate(run: Run, window: Window, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """By blocks of requests, since a slice may have few; nothing if no request failed."""
    ended = run.measured[is_ok(run.measured) | is_failed(run.measured)]
    failed = is_failed(ended)
    if not failed.any():
        return np.array([]), np.array([])
    return blocks(ended["sent_at"].to_numpy() - window.start, failed.astype(float), "mean")


_QUICK_RATES: Mapping[str, Callable[[Run, Window, np.ndarray], tuple[np.ndarray, np.ndarray]]] = {
    "output_tok_s": _output_rate,
    "error_rate": _error_rate,
}
"""Rates with their own calculation, faster or finer than the sums of each slice."""


def _machines(run: Run, window: Window) -> Iterator[_Series]:
    """Memory of the engine and of the load generator."""
    engine = run.engine_metrics
    inside = ((engine["at"] >= window.start) & (engine["at"] <= window.end)).to_numpy()
    yield _Series(
        "kv_usage",
        "KV cache in use",
        "share",
        blocks(engine["at"].to_numpy()[inside] - window.start, engine["kv_usage"].to_numpy()[inside]),
    )
    host = run.host_metrics
    inside = ((host["at"] >= window.start) & (host["at"] <= window.end)).to_numpy()
    source = host["source"].astype("str").to_numpy().astype(str)
    at, memory = host["at"].to_numpy() - window.start, host["rss_mb"].to_numpy()
    for key, title, mine in (
        ("engine_memory", "Engine memory", source == "engine"),
        ("generator_memory", "Load generator memory", np.char.startswith(source, "worker")),
    ):
        yield _Series(key, title, "MiB", blocks(at[inside & mine], memory[inside & mine]))


def _as_entry(series: _Series, drift: Drift, seconds: float) -> DriftSeries:
    share = drift.per_hour / drift.level if drift.per_hour is not None and drift.level else None
    between = None if drift.low is None or drift.high is None else [drift.low, drift.high]
    step = None
    if drift.at_s is not None and drift.before is not None and drift.after is not None:
        step = DriftStep(drift.at_s, drift.before, drift.after)
    return DriftSeries(
        series.title, series.unit, drift.state, drift.level, drift.per_hour, between, share, step, seconds
    )


def drift_gates(drift: Mapping[str, DriftSeries]) -> list[Gate]:
    """A gate for each series, if drift is to fail the run: met, missed (it got worse), or undetermined (the run is too
    short).
    """
    return [
        Gate(key, series.title, _gate_state(key, series), f"{series.title}: {sentence(series)}")
        for key, series in drift.items()
    ]


def _gate_state(key: str, series: DriftSeries) -> str:
    if series.state == TOO_SHORT:
        return "undetermined"
    change = 0.0
    if series.state == STEPPED and series.step is not None:
        change = series.step.after - series.step.before
    elif series.state == DRIFTING and series.per_hour is not None:
        change = series.per_hour
    more_is_better = key in METRICS and METRICS[key].better == HIGHER
    return "missed" if (change < 0 if more_is_better else change > 0) else "met"


SECONDS_AN_HOUR = 3600.0


def sentence(series: DriftSeries) -> str:
    """`drifting: +120 MiB an hour (+80 – +160), +4.1% an hour`; `stepped after 12 min, from 40.1 to 55.0 ms`.

    For runs shorter than an hour the change is over the observed time (`+2.1 ms within 5 min`), not extrapolated.
    """
    unit, step, per_hour = text.unit_of(series.unit), series.step, series.per_hour
    if series.state == STEPPED and step is not None:
        return (
            f"stepped after {text.duration(step.at_s)}, from {text.number(step.before, series.unit)} to "
            f"{text.number(step.after, series.unit)} {unit}"
        ).strip()
    if series.state == DRIFTING and per_hour is not None and series.per_hour_ci95:
        low, high = series.per_hour_ci95
        scale, word = (100.0, "points") if series.unit == "share" else (1.0, unit)
        share = series.per_hour_share
        hours = 1.0 if series.seconds is None else min(1.0, series.seconds / SECONDS_AN_HOUR)
        when = "an hour" if hours >= 1.0 else f"within {text.duration(hours * SECONDS_AN_HOUR)}"
        change, low, high = (scale * hours * each for each in (per_hour, low, high))
        slope = f"drifting: {change:+.3g} {word} {when} ({low:+.3g} – {high:+.3g})"
        return slope + (f", {100 * hours * share:+.3g}%" if share is not None else "")
    return series.state
