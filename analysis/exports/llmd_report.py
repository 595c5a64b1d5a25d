"""The benchmark report of llm-d, format 0.2.1 (its JSON Schema is in tests/analysis/data)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from tokenswarm.analysis.exports.measured import DEFINITIONS, ExportableRun, known

VERSION = "0.2.1"
_PERCENTILES = {
    "p1": 1,
    "p5": 5,
    "p10": 10,
    "p25": 25,
    "p50": 50,
    "p75": 75,
    "p90": 90,
    "p95": 95,
    "p99": 99,
    "p99p9": 99.9,
}


def llmd_report(of: ExportableRun) -> dict[str, object]:
    """The document. Latencies are in seconds. The format has no field for goodput, which goes, with our definitions,
    into the load's native description.
    """
    summary = of.summary
    run = summary.run
    native = {
        "tokenswarm": {
            "definitions": DEFINITIONS,
            "notes": of.caveats,
            "goodput_requests_per_s": summary.goodput.goodput_rps.value,
            "inter_token_latency": "left out: requests.csv keeps three numbers of each stream's gaps, not all of them",
        }
    }
    return {
        "version": VERSION,
        "run": {
            "uid": summary.run_id,
            "time": _time(of),
            "keywords": [summary.verdict.lower()],
            "description": f"{run.scenario.title or run.scenario.name or 'unknown scenario'}, by tokenswarm. "
            f"{summary.verdict}: {summary.outcome.sentence}",
        },
        "scenario": {
            "stack": [_engine(of)],
            "load": {
                "metadata": {"description": run.scenario.description},
                "standardized": _load(of),
                "native": {"args": dict(run.overrides), "config": native},
            },
        },
        "results": {
            "request_performance": {
                "aggregate": _without_gaps(
                    {"requests": _requests(of), "latency": _latency(of), "throughput": _throughput(of)}
                )
            }
        },
    }


def _time(of: ExportableRun) -> dict[str, str | None]:
    run, seconds = of.summary.run, of.seconds
    return {"start": run.started_at, "end": run.ended_at, "duration": None if seconds is None else f"PT{seconds:g}S"}


def _engine(of: ExportableRun) -> dict[str, object]:
    engine = of.summary.run.engine
    return {
        "metadata": {"label": "engine", "cfg_id": of.summary.run_id},
        "standardized": {
            "kind": "generic",
            "tool": engine.name or "unknown",
            "tool_version": engine.version or "unknown",
        },
        "native": {"config": {"model": of.summary.run.model, "gpus": of.summary.run.gpus, **of.summary.run.effective}},
    }


def _load(of: ExportableRun) -> dict[str, object]:
    load = of.summary.run.load
    out: dict[str, object] = {
        "tool": "tokenswarm",
        "tool_version": of.summary.run.versions.get("tokenswarm") or "unknown",
        "source": "sampled",
        "input_seq_len": _lengths(of.column("prompt_tokens")),
        "output_seq_len": _lengths(of.column("completion_tokens")),
        "rate_qps": load.rate if load.mode == "open" else None,
    }
    if load.mode == "closed" and load.users:
        out["concurrency"] = int(load.users)
    if load.workers:
        out["parallelism"] = load.workers
    return out


def _lengths(values: np.ndarray) -> dict[str, object]:
    values = known(values)
    if not len(values):
        return {"distribution": "other", "value": 0}
    return {"distribution": "other", "value": float(values.mean()), "min": int(values.min()), "max": int(values.max())}


def _statistics(values: np.ndarray, units: str, scale: float = 1.0) -> dict[str, object] | None:
    values = known(values) * scale
    if not len(values):
        return None
    return {
        "units": units,
        "mean": float(values.mean()),
        "stddev": float(values.std()),
        "min": float(values.min()),
        **{name: float(np.percentile(values, q)) for name, q in _PERCENTILES.items()},
        "max": float(values.max()),
    }


def _requests(of: ExportableRun) -> dict[str, object]:
    counts = of.summary.counts.measured
    return _without_gaps(
        {
            "total": counts.sent,
            "failures": counts.failed,
            "incomplete": counts.cancelled,
            "input_length": _statistics(of.column("prompt_tokens"), "count"),
            "output_length": _statistics(of.column("completion_tokens"), "count"),
        }
    )


def _latency(of: ExportableRun) -> dict[str, object]:
    whole, tokens = of.values("e2e"), of.column("completion_tokens")
    normalized = np.divide(whole, tokens, out=np.full(len(whole), np.nan), where=np.nan_to_num(tokens) > 0)
    return _without_gaps(
        {
            "time_to_first_token": _statistics(of.values("ttft"), "s", 1e-3),
            "time_per_output_token": _statistics(of.values("tpot"), "s/token", 1e-3),
            "normalized_time_per_output_token": _statistics(normalized, "s/token", 1e-3),
            "request_latency": _statistics(whole, "s", 1e-3),
        }
    )


def _throughput(of: ExportableRun) -> dict[str, object]:
    units = {
        "input_token_rate": ("input_tok_s", "tokens/s"),
        "output_token_rate": ("output_tok_s", "tokens/s"),
        "total_token_rate": ("total_tok_s", "tokens/s"),
        "request_rate": ("requests_s", "queries/s"),
    }
    return {
        name: {"units": unit, "mean": value}
        for name, (rate, unit) in units.items()
        if (value := of.rate(rate)) is not None
    }


def _without_gaps(values: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in values.items() if value is not None}
