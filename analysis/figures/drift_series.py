"""The series of a run that drift is looked for in, and the verdict on each: summary.json's `drift`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from tokenswarm.analysis.figures.drift import DRIFTING, STEPPED, TOO_SHORT, Drift, blocks, judge
from tokenswarm.analysis.figures.flow import output_flow
from tokenswarm.analysis.figures.quantities import is_ok, tpot_ms
from tokenswarm.analysis.figures.window import Window
from tokenswarm.analysis.read.run_folder import Run

from tokenswarm.contract.metric import HIGHER
from tokenswarm.contract.metrics import METRICS

SHORTEST_S = 300.0
"""A measure phase below this says nothing about hours."""
_SECONDS = 60
"""Rates are counted in so many slices."""
_LEAST = {"error_rate": 0.0, "kv_usage": 0.10}
_USUAL_LEAST = 0.05


def drift_figures(run: Run, window: Window | None) -> dict[str, dict[str, Any]]:
    """By series: title, unit, state (steady, drifting, stepped, too short), level, per_hour with ci95, and the step."""
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


def _as_entry(title: str, unit: str, drift: Drift) -> dict[str, Any]:
    share = drift.per_hour / drift.level if drift.per_hour is not None and drift.level else None
    return {
        "title": title, "unit": unit, "state": drift.state, "level": drift.level, "per_hour": drift.per_hour,
        "per_hour_ci95": None if drift.low is None else [drift.low, drift.high], "per_hour_share": share,
        "step": None if drift.state != STEPPED else {"at_s": drift.at_s, "before": drift.before, "after": drift.after},
    }


def drift_gates(drift: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """A gate for each series, of a run that is to fail on drift: {key, title, state, sentence}, where `state` is met,
    missed (it became worse), or undetermined (the run is too short)."""
    return [{"key": key, "title": str(series["title"]), "state": _gate_state(key, series),
             "sentence": f"{series['title']}: {sentence(dict(series))}"} for key, series in drift.items()]


def _gate_state(key: str, series: Mapping[str, Any]) -> str:
    if series["state"] == TOO_SHORT:
        return "undetermined"
    change = series["step"]["after"] - series["step"]["before"] if series["state"] == STEPPED else \
        series["per_hour"] if series["state"] == DRIFTING else 0.0
    more_is_better = key in METRICS and METRICS[key].better == HIGHER
    return "missed" if (change < 0 if more_is_better else change > 0) else "met"


def sentence(series: dict[str, Any]) -> str:
    """`drifting: +120 MiB an hour (+80 – +160), +4.1% an hour`; `stepped after 12 min, from 40.1 to 55.0 ms`."""
    from tokenswarm.analysis import wording as text

    unit = text.unit_of(series["unit"])
    if series["state"] == STEPPED:
        step = series["step"]
        return (f"stepped after {text.duration(step['at_s'])}, from {text.number(step['before'], series['unit'])} to "
                f"{text.number(step['after'], series['unit'])} {unit}").strip()
    if series["state"] == DRIFTING:
        low, high = series["per_hour_ci95"]
        scale, word = (100.0, "points") if series["unit"] == "share" else (1.0, unit)
        share = series["per_hour_share"]
        slope = f"drifting: {scale * series['per_hour']:+.3g} {word} an hour ({scale * low:+.3g} – {scale * high:+.3g})"
        return slope + (f", {100 * share:+.3g}% an hour" if share is not None else "")
    return str(series["state"])
