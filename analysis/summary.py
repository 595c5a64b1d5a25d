"""A run as one nested dictionary of figures: summary.json (described in docs/results.md)."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pandas as pd
from tokenswarm.analysis.cache import yardstick as cache
from tokenswarm.analysis.figures import quantities as metrics
from tokenswarm.analysis.figures import server_view, slo
from tokenswarm.analysis.figures.cost import cost_figures
from tokenswarm.analysis.figures.drift_series import drift_figures
from tokenswarm.analysis.figures.outages import outage_figures
from tokenswarm.analysis.figures.rates import every_rate
from tokenswarm.analysis.figures.statistics import Estimate, share
from tokenswarm.analysis.figures.window import Window, find_window
from tokenswarm.analysis.read.run_folder import Run
from tokenswarm.analysis.verdict import validity
from tokenswarm.analysis.verdict.gates import judged

from tokenswarm.contract.manifest import CacheResetRecord, CostRecord, WarmupRecord
from tokenswarm.contract.summary import SUMMARY_FORMAT
from tokenswarm.contract.tables import ERROR_KINDS


def summarise(run: Run) -> dict[str, Any]:
    """Every figure that the dashboard and the terminal show, with units and 95% intervals."""
    window = find_window(run)
    rows = run.measured
    facts = validity.gather(run, window)
    verdict, reasons, checks = validity.judge(facts, validity.recorded_reasons(run))
    objectives, refused = slo.parse(run.manifest.scenario.table("slo"))
    rates = every_rate(run.requests, rows, window, objectives)
    goodput = slo.goodput_figures(rows, objectives, window)
    cost = run.manifest.cost or CostRecord()
    summary = {
        "format": SUMMARY_FORMAT,
        "run_id": run_id(run),
        "verdict": verdict,
        "reasons": reasons,
        "simulated": run.manifest.simulated,
        "notes": [*run.notes, *recorded_notes(run), *beginning_notes(run), *metrics.wave_notes(rows)],
        "run": header(run, window),
        "latency": metrics.latency_figures(rows),
        "gaps": metrics.gap_figures(rows),
        "rates": rates,
        "per_user_tok_s": metrics.per_user_rate(rows),
        "goodput": goodput,
        "slo": [*slo.evaluate(objectives, refused, rows, goodput, rates), *class_gates(run, rows, window)],
        "errors": errors(rows),
        "valid_output": metrics.valid_output(rows).figure("share"),
        "tokens": metrics.token_facts(rows),
        "cache": cache.cache_figures(run, rows, window),
        "server": metrics.server_view(run, rows, window),
        "server_ttft": server_view.server_ttft(run),
        "server_latency": server_view.server_figures(run),
        "drift": drift_figures(run, window),
        "outages": outage_figures(run, window),
        "cost": cost_figures(cost.gpu_hour_usd, cost.gpus, rates),
        "counts": counts(run, rows),
        "generator": generator(run, facts, window) | {"checks": checks},
        "user_classes": by_user_class(rows, objectives, window),
    }
    return summary | {"outcome": judged(summary)}


def class_gates(run: Run, rows: pd.DataFrame, window: Window | None) -> list[dict[str, Any]]:
    """The gates of single user classes ([slo.RagReader] in the scenario), evaluated on their own requests."""
    results = []
    for name, table in slo.class_tables(run.manifest.scenario.table("slo")).items():
        objectives, refused = slo.parse(table)
        everything = run.requests[(run.requests["user_class"] == name).to_numpy()]
        part = rows[(rows["user_class"] == name).to_numpy()]
        goodput = slo.goodput_figures(part, objectives, window)
        found = slo.evaluate(objectives, refused, part, goodput, every_rate(everything, part, window, objectives))
        for result in found:
            if not len(part) and len(rows):  # the rows of others show that the load went on: a name that nobody has
                result["figure"] = Estimate(None, why=f"no {name} sent a request").figure(str(result.get("unit") or ""))
                result |= {"state": "missed", "certain": False, "margin": None}
            results.append(slo.of_class(result, name))
    return results


def recorded_notes(run: Run) -> list[str]:
    """What the run itself noted: settings that the engine could not take, an engine on a CPU. Not of the simulator."""
    return [] if run.manifest.simulated else [note for note in run.manifest.notes if note]


def beginning_notes(run: Run) -> list[str]:
    """What a reader must know of how the measure phase began: an engine that was not known to be warm, or a cache that
    was not empty though it was wanted so."""
    notes = []
    manifest = run.manifest
    warmup, reset = manifest.warmup or WarmupRecord(), manifest.cache_reset or CacheResetRecord()
    wanted_steady = warmup.mode == "until_steady"
    if warmup.limit_s and (warmup.steady is False or (warmup.steady is None and wanted_steady)):
        notes.append(str(warmup.sentence or "TTFT was not steady when the warm-up ended."))
    told = any("prefix cache was not emptied" in note for note in recorded_notes(run))
    if reset.done is False and manifest.scenario.table("load").get("reset_cache") is not False and not told:
        notes.append(f"The prefix cache was not emptied before the run: {reset.detail or 'no reason is known'}")
    return notes


def run_id(run: Run) -> str:
    """The run's identity: from the manifest, else the folder's name."""
    return str(run.manifest.run_id or run.folder.resolve().name)


def header(run: Run, window: Window | None) -> dict[str, Any]:
    """What was measured, on what, when, with which load."""
    start, manifest = window.start if window else None, run.manifest
    return {
        "status": manifest.status,
        "going": run.going,
        "ended_early": _table(manifest.ended_early),
        "engine": {
            key: getattr(manifest.engine, key)
            for key in ("name", "title", "version", "base_url", "runtime", "cold_start_s", "image_digest")
        },
        "effective": manifest.engine.effective,
        "model": manifest.model,
        "scenario": {key: getattr(manifest.scenario, key) for key in ("name", "title", "description", "workload")},
        "overrides": manifest.scenario.overrides,
        "load": _table(manifest.load),
        "started_at": manifest.started_at,
        "ended_at": manifest.ended_at,
        "window": {
            "start_unix_s": start,
            "end_unix_s": window.end if window else None,
            "seconds": window.seconds if window else None,
            "source": window.source if window else None,
        },
        "seed": manifest.seed,
        "salt": manifest.salt,
        "host": _table(manifest.host),
        "gpus": manifest.gpus,
        "versions": manifest.versions,
        "git": _table(manifest.git),
    }


def _table(record: msgspec.Struct | None) -> dict[str, Any]:
    """A record as summary.json holds it; empty where nothing of it is known."""
    return {} if record is None or record == type(record)() else msgspec.to_builtins(record)


def errors(rows: pd.DataFrame) -> dict[str, Any]:
    """Error rate, and the failures by kind with an example of each, most frequent first."""
    failed = rows[(rows["status"] == "failed").to_numpy()]
    kinds = failed["error"].astype("object").where(failed["error"].notna(), "unknown").astype("str")
    out = []
    for kind, count in kinds.value_counts().items():
        of_kind = failed[(kinds == kind).to_numpy()]
        details = of_kind["error_detail"].dropna()
        codes = sorted({int(code) for code in of_kind["http_status"].dropna().unique()})
        out.append(
            {
                "kind": str(kind),
                "count": int(count),
                "share": share(int(count), len(rows)).figure("share"),
                "meaning": ERROR_KINDS.get(str(kind), "not a kind that this version knows"),
                "http_status": codes,
                "example": str(details.iloc[0]) if len(details) else None,
                "request_id": str(of_kind["request_id"].iloc[0]),
            }
        )
    return {"rate": metrics.error_rate(rows).figure("share"), "kinds": out}


def counts(run: Run, rows: pd.DataFrame) -> dict[str, Any]:
    """Requests of the measure phase by outcome, and of the whole file."""
    return {
        "measured": metrics.outcome_counts(rows),
        "all_phases": metrics.outcome_counts(run.requests),
        "rows_in_file": len(run.requests),
        "sent_by_generator": run.manifest.counts.sent if run.manifest.counts else None,
        "damaged_lines": run.damaged_lines,
    }


def generator(run: Run, facts: validity.Facts, window: Window | None) -> dict[str, Any]:
    """The load generator's own health inside the window."""
    workers = validity.worker_samples(run, window)
    return {
        "workers": int(workers["source"].nunique()) or None,
        "cpu_share_max": _plain(facts.cpu_share, "share", "CPU was not sampled"),
        "cpu_us_per_token": _plain(_cpu_us_per_token(workers), "us", "CPU or tokens were not sampled"),
        "timing_error_bound_ms": _plain(facts.error_bound_ms, "ms", "timing errors were not recorded"),
        "loop_lag_max_ms": _plain(_max(workers["loop_lag_ms"]), "ms", "loop lag was not sampled"),
        "read_lag_p99_max_ms": _plain(_max(workers["read_lag_p99_ms"]), "ms", "read lag was not sampled"),
        "lateness_p99_ms": _plain(facts.lateness_p99_ms, "ms", "closed loop: arrivals have no schedule"),
        "rss_max_mb": _plain(_max(workers["rss_mb"]), "MiB", "memory was not sampled"),
        "in_flight_max": _plain(
            None if facts.in_flight_max is None else int(facts.in_flight_max),
            "requests",
            "requests in flight were not sampled",
        ),
    }


def _plain(value: float | None, unit: str, why: str) -> dict[str, Any]:
    return Estimate(value, why=why).figure(unit)


def _max(values: pd.Series) -> float | None:
    return float(values.max()) if values.notna().any() else None


def _cpu_us_per_token(workers: pd.DataFrame) -> float | None:
    """CPU time of all workers / events with text that they received, in the intervals that know both."""
    cpu_s = tokens = 0.0
    for _, samples in workers.groupby("source", observed=True):
        ordered = samples.sort_values("at")
        seconds = np.diff(ordered["at"].to_numpy())
        used = ordered["cpu_share"].to_numpy()[1:] * seconds
        got = ordered["tokens"].to_numpy()[1:]
        both = ~np.isnan(used) & ~np.isnan(got)
        cpu_s, tokens = cpu_s + used[both].sum(), tokens + got[both].sum()
    return 1e6 * cpu_s / tokens if tokens else None


def by_user_class(
    rows: pd.DataFrame, objectives: list[slo.Objective], window: Window | None
) -> dict[str, dict[str, Any]]:
    """The main figures of each Locust user class, by name."""
    out = {}
    names = rows["user_class"].dropna().unique()
    for name in sorted(map(str, names)):
        part = rows if len(names) == 1 else rows[(rows["user_class"] == name).to_numpy()]
        goodput = slo.goodput_figures(part, objectives, window)
        out[str(name)] = {
            "counts": metrics.outcome_counts(part),
            "latency": metrics.latency_figures(part),
            "error_rate": metrics.error_rate(part).figure("share"),
            "goodput_rps": goodput["goodput_rps"],
            "attainment": goodput["attainment"],
            "valid_output": metrics.valid_output(part).figure("share"),
        }
    return out
