"""The series of a run that drift is looked for in, and the verdict on each: summary.json's `drift`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from tokenswarm.analysis import wording as text
from tokenswarm.analysis.figures.drift import DRIFTING, STEPPED, TOO_SHORT, Drift, blocks, judge
from tokenswarm.analysis.figures.flow import output_flow
from tokenswarm.analysis.figures.quantities import is_ok, tpot_ms
from tokenswarm.analysis.figures.window import Window
from tokenswarm.analysis.read.run_folder import Run

from tokenswarm.contract.metric import HIGHER
from tokenswarm.contract.metrics import METRICS
from tokenswarm.contract.summary.time_records import DriftSeries, DriftStep
from tokenswarm.contract.summary.verdict_records import Gate

SHORTEST_S = 300.0
"""A measure phase below this says nothing about hours."""
_SECONDS = 60
"""Rates are counted in so many slices."""
_LEAST = {"error_rate": 0.0, "kv_usage": 0.10}
_USUAL_LEAST = 0.05


def drift_figures(run: Run, window: Window | None) -> dict[str, DriftSeries]:
    """What became of each series, by its key."""
    if window is None or window.seconds <= 0:
        return {}
    series = [(key, title, unit, at, values) for key, title, unit, at, values in _series(run, window) if len(values)]
    out = {}
    for key, title, unit, at, values in series:
        long_enough = window.seconds >= SHORTEST_S
        drift = judge(at, values, series=len(series), least_change=_LEAST.get(key, _USUAL_LEAST)) if long_enough else \
            Drift(TOO_SHORT, level=float(np.median(values)))
        out[key] = _as_entry(title, unit, drift)
    return out


def _series(run: Run, window: Window) -> Iterator[tuple[str, str, str, np.ndarray, np.ndarray]]:
    rows = run.measured
    ok = rows[is_ok(rows)]
    at = ok["sent_at"].to_numpy() - window.start
    yield "ttft_p95", "TTFT p95", "ms", *blocks(at, ok["ttft_ms"].to_numpy(), "p95")
    yield "tpot", "TPOT", "ms", *blocks(at, tpot_ms(ok), "median")
    edges = np.linspace(window.start, window.end, _SECONDS + 1)
    middles = (edges[:-1] + edges[1:]) / 2 - window.start
    if rows["completion_tokens"].notna().any():
        yield "output_tok_s", "Output tokens", "tok/s", middles, \
            output_flow(run.requests).between(edges) / (window.seconds / _SECONDS)
    ended = rows[(rows["status"] != "cancelled").to_numpy()]
    failed = (ended["status"] == "failed").to_numpy()
    if failed.any():
        yield "error_rate", "Error rate", "share", *blocks(ended["sent_at"].to_numpy() - window.start,
                                                           failed.astype(float), "mean")
    engine = run.engine_metrics
    inside = ((engine["at"] >= window.start) & (engine["at"] <= window.end)).to_numpy()
    yield "kv_usage", "KV cache in use", "share", *blocks(
        engine["at"].to_numpy()[inside] - window.start, engine["kv_usage"].to_numpy()[inside])
    host = run.host_metrics
    inside = ((host["at"] >= window.start) & (host["at"] <= window.end)).to_numpy()
    source = host["source"].astype("str").to_numpy().astype(str)
    at, memory = host["at"].to_numpy() - window.start, host["rss_mb"].to_numpy()
    for key, title, mine in (("engine_memory", "Engine memory", source == "engine"),
                             ("generator_memory", "Load generator memory", np.char.startswith(source, "worker"))):
        yield key, title, "MiB", *blocks(at[inside & mine], memory[inside & mine])


def _as_entry(title: str, unit: str, drift: Drift) -> DriftSeries:
    share = drift.per_hour / drift.level if drift.per_hour is not None and drift.level else None
    between = None if drift.low is None or drift.high is None else [drift.low, drift.high]
    step = None
    if drift.at_s is not None and drift.before is not None and drift.after is not None:
        step = DriftStep(drift.at_s, drift.before, drift.after)
    return DriftSeries(title, unit, drift.state, drift.level, drift.per_hour, between, share, step)


def drift_gates(drift: Mapping[str, DriftSeries]) -> list[Gate]:
    """A gate for each series, of a run that is to fail on drift: met, missed (it became worse), or undetermined (the
    run is too short)."""
    return [Gate(key, series.title, _gate_state(key, series), f"{series.title}: {sentence(series)}")
            for key, series in drift.items()]


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


def sentence(series: DriftSeries) -> str:
    """`drifting: +120 MiB an hour (+80 – +160), +4.1% an hour`; `stepped after 12 min, from 40.1 to 55.0 ms`."""
    unit, step, per_hour = text.unit_of(series.unit), series.step, series.per_hour
    if series.state == STEPPED and step is not None:
        return (f"stepped after {text.duration(step.at_s)}, from {text.number(step.before, series.unit)} to "
                f"{text.number(step.after, series.unit)} {unit}").strip()
    if series.state == DRIFTING and per_hour is not None and series.per_hour_ci95:
        low, high = series.per_hour_ci95
        scale, word = (100.0, "points") if series.unit == "share" else (1.0, unit)
        share = series.per_hour_share
        slope = f"drifting: {scale * per_hour:+.3g} {word} an hour ({scale * low:+.3g} – {scale * high:+.3g})"
        return slope + (f", {100 * share:+.3g}% an hour" if share is not None else "")
    return series.state
