"""What stands in the dashboard's tables and cards: pure functions from a summary to cells of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenswarm.analysis import wording as text
from tokenswarm.analysis.figures import outages
from tokenswarm.analysis.figures.drift import STEADY, TOO_SHORT
from tokenswarm.analysis.figures.drift_series import sentence as drift_sentence
from tokenswarm.analysis.figures.quantities import GAPS
from tokenswarm.analysis.render.figures import rate_figures
from tokenswarm.analysis.verdict.outcome import VALID
from tokenswarm.analysis.wording import bound_words, verdict_words

from tokenswarm.contract.metric import Place, Rate
from tokenswarm.contract.metrics import METRICS

_VERDICT_WORDS = {
    "VALID": "The load generator kept up: these figures are the engine's.",
    "INVALID": "Do not trust these figures: the load generator was part of what was measured.",
    "INCOMPLETE": "This run is not whole; the figures cover what was measured.",
    "OVERLOADED": "The engine did not keep up with the arrivals: a longer run would show other figures.",
}


def head(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Title, subtitle and badges."""
    run, engine, scenario = summary["run"], summary["run"]["engine"], summary["run"]["scenario"]
    name = engine["title"] or engine["name"] or "Engine not known"
    started = str(run["started_at"] or "").replace("T", " ").replace("Z", " UTC")
    return {
        "engine": name if not engine["version"] else f"{name} {engine['version']}",
        "model": run["model"] or "model not known",
        "scenario": scenario["title"] or scenario["name"] or "scenario not known",
        "description": scenario["description"],
        "started": started or "start not known",
        "configuration": configuration(run),
        "seconds": text.duration(run["window"]["seconds"]),
        "verdict": summary["verdict"],
        "verdict_words": _VERDICT_WORDS[summary["verdict"]],
        "outcome": summary["outcome"],
        "tone": summary["verdict"] if summary["verdict"] != VALID or not summary["outcome"]["code"] else "MISSED",
        "blocking": [r for r in summary["reasons"] if r["verdict"] != "NOTE"],
        "remarks": [r["sentence"] for r in summary["reasons"] if r["verdict"] == "NOTE"] + list(summary["notes"])
        + [told for told in (outages.sentence(summary["outages"]),) if told],
    }


_SETTINGS = {
    "device": "on {}",
    "dtype": "{}",
    "quantization": "quantization {}",
    "tensor_parallel": "tensor parallel {}",
    "context_length": "context {}",
    "kv_capacity_tokens": "KV cache {} tokens",
    "kv_tokens": "KV cache {} tokens",
    "block_size": "blocks of {}",
    "prefix_cache": "prefix cache {}",
    "max_num_seqs": "at most {} at once",
    "max_sequences": "at most {} at once",
    "prefill_budget": "prefill budget {}",
}
"""What of an engine's effective configuration matters most, as words; all of it stands at the page's end."""


def configuration(run: Mapping[str, Any]) -> str:
    """The effective configuration in a line, and how long the engine took to start."""
    effective = run["effective"]
    parts = [
        words.format({True: "on", False: "off"}.get(value, _words(value)) if isinstance(value, bool) else _words(value))
        for key, words in _SETTINGS.items()
        if (value := effective.get(key)) not in (None, "", "none")
    ]
    cold = run["engine"]["cold_start_s"]
    if isinstance(cold, int | float):
        parts.append(f"cold start {text.duration(cold)}")
    return " · ".join(parts)


def outcome_sentence(summary: Mapping[str, Any]) -> str:
    """What became of the requests of the measure phase; the parts add up."""
    counts = summary["counts"]["measured"]
    parts = " + ".join(f"{counts[name]:,} {name}" for name in ("ok", "failed", "cancelled"))
    ended = " A request that was cancelled when the run ended is no error." if counts["cancelled"] else ""
    return f"{counts['sent']:,} sent = {parts}.{ended}"


def cards(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The few figures that tell most, each with its interval and the objective that it is held against."""
    by_key = {result["key"]: result for result in summary["slo"]}
    latencies = summary["latency"]
    chosen: list[dict[str, Any]] = []
    for latency in METRICS.latencies_at(Place.CARD):
        figures = latencies.get(latency.key, {})
        shown = next((p for p in ("p95", "p50") if figures.get(p, {}).get("value") is not None), "p95")
        other = latencies[METRICS[latency.repeats].key] if latency.repeats else None
        same = other is not None and figures.get("p95", {}).get("value") == other["p95"].get("value")
        if figures.get("p50", {}).get("value") is not None and not same:
            label, gate = latency.at(Place.CARD), by_key.get(f"{latency.name}_{shown}_ms")
            chosen.append(_card(f"{label.title} {shown}", figures[shown], label.note, gate))
    for rate, figure in rate_figures(summary, Place.CARD):
        label, gate = rate.at(Place.CARD), by_key.get(rate.slo_key) if rate.slo else None
        chosen.append(_card(label.title, figure, label.note, gate))
    return chosen


def _card(title: str, figure: dict, note: str, result: dict | None) -> dict[str, Any]:
    return {
        "title": title,
        "value": text.number(figure["value"], figure["unit"]),
        "unit": text.unit_of(figure["unit"]),
        "interval": text.interval(figure),
        "note": note,
        "state": result["state"] if result else None,
        "limit": pretty_bound(result) if result else None,
    }


def pretty_bound(result: Mapping[str, Any]) -> str:
    """The limit with proper signs: `≤ 400 ms`."""
    return bound_words(dict(result)).replace("<=", "≤").replace(">=", "≥")


def cell(figure: Mapping[str, Any]) -> dict[str, str]:
    """A figure as a table cell: its number, and beneath it the interval, or in short why there is no number."""
    if figure["value"] is None:
        return {"value": text.MISSING, "below": str(figure.get("why") or "").split(",")[0]}
    return {"value": text.number(figure["value"], figure["unit"]), "below": text.interval(figure)}


def latency_rows(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of the latency table."""
    rows = []
    found = summary["latency"]
    for name, figures in found.items():
        latency = METRICS.latency(name)
        if latency.repeats and figures == found.get(METRICS[latency.repeats].key):
            continue  # without reasoning the first token is the first of the answer
        if figures["p50"].get("n"):
            rows.append(
                {
                    "name": latency.title,
                    "meaning": latency.meaning,
                    "n": f"{figures['p50']['n']:,}",
                    "cells": [cell(figures[p]) for p in ("p50", "p95", "p99")],
                }
            )
    return rows


def rate_rows(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of the table of rates and shares that could be measured."""
    rows = rate_figures(summary, Place.TABLE)
    if server_rows(summary):  # which tells the same, over exactly the same events
        rows = [(rate, figure) for rate, figure in rows if rate.name != "server_ttft_mean"]
    return [
        {"name": rate.at(Place.TABLE).title, "value": text.quantity(figure), "interval": text.interval(figure),
         "note": _note(rate, summary)}
        for rate, figure in rows
    ]


def _note(rate: Rate, summary: Mapping[str, Any]) -> str:
    """What stands beside a figure: what it means, or what of this run a reader must know of it."""
    if rate.path[0] == "cost":
        return f"{summary['cost']['gpus']} GPU at ${summary['cost']['gpu_hour_usd']:g} an hour"
    if rate.name == "server_ttft_mean":
        return _client_mean(summary)
    return f"from {summary['cache']['source']}" if rate.name == "hit_rate" else rate.at(Place.TABLE).note


def server_rows(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The engine's own latencies beside the client's of the same events; empty where the engine told none."""
    names = {"ttft": "TTFT", "e2e": "E2E", "queue": "Queue", "itl": "Between tokens"}
    rows = []
    for key, title in names.items():
        engine = summary["server_latency"].get(key) or {}
        if not (engine.get("mean") or {}).get("n"):
            continue
        client = engine.get("client") or {}
        cells = []
        for part in ("mean", "p50", "p95", "p99"):
            figure, ends = engine[part], engine[part].get("bucket")
            said, own = figure["value"], client.get(part) or {}
            within = "" if not ends else f"above {ends[0]:g}" if ends[1] is None else f"in {ends[0]:g} – {ends[1]:g}"
            cells.append({
                "engine": text.MISSING if said is None else ("≈ " if ends else "") + text.number(said),
                "ends": within,
                "client": text.number(own["value"]) if own.get("value") is not None else "",
            })
        rows.append({"name": title, "n": f"{engine['mean']['n']:,}", "cells": cells})
    return rows


def drift_rows(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    """What became of each series over a long run; empty where the run is too short to tell."""
    return [{"name": series["title"], "state": series["state"], "words": drift_sentence(series),
             "style": "met" if series["state"] == STEADY else "missed",
             "level": f"{text.number(series['level'], series['unit'])} {text.unit_of(series['unit'])}".strip()}
            for series in summary["drift"].values() if series["state"] != TOO_SHORT]


def gap_rows(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of the table of gaps between chunks."""
    return [
        {
            "name": GAPS[name][0],
            "value": text.quantity(figure),
            "interval": text.interval(figure),
            "note": GAPS[name][1],
        }
        for name, figure in summary["gaps"].items()
        if figure["value"] is not None
    ]


def _client_mean(summary: Mapping[str, Any]) -> str:
    return f"the client's: {text.quantity(summary['server']['client_ttft_mean_ms'])}"


def objective_rows(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of the SLO table."""
    rows = []
    for result in summary["slo"]:
        figure = result["figure"]
        rows.append(
            {
                "title": result["title"],
                "limit": pretty_bound(result) or text.MISSING,
                "value": text.quantity(figure),
                "interval": text.interval(figure) or str(figure.get("why") or ""),
                "state": result["state"],
                "words": verdict_words(result),
            }
        )
    return rows


def class_rows(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per user class, where there are several."""
    classes = summary["user_classes"]
    if len(classes) < 2:
        return []
    return [
        {
            "name": name,
            "sent": f"{part['counts']['sent']:,}",
            "cells": [
                cell(part["latency"][metric][p])
                for metric, p in (("ttft_ms", "p50"), ("ttft_ms", "p95"), ("e2e_ms", "p95"))
            ]
            + [cell(part["error_rate"])],
        }
        for name, part in classes.items()
    ]


def check_rows(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The validity rules with what they found."""
    return [
        {
            "title": check["title"],
            "state": "missed" if check["broken"] else "met",
            "value": text.quantity(check),
            "limit": text.limit(_round(check["limit"]), check["unit"]) if check["limit"] is not None else text.MISSING,
            "words": check["verdict"].lower() if check["broken"] else "ok",
        }
        for check in summary["generator"]["checks"]
    ]


def _round(value: float) -> float:
    return float(f"{value:.3g}")


_HEALTH = {
    "workers": "Worker processes",
    "cpu_share_max": "Busiest worker",
    "cpu_us_per_token": "CPU per token",
    "timing_error_bound_ms": "Timing error bound (p99)",
    "loop_lag_max_ms": "Event loop lag, worst",
    "read_lag_p99_max_ms": "Bytes unread, worst p99",
    "lateness_p99_ms": "Arrivals late (p99)",
    "rss_max_mb": "Memory",
    "in_flight_max": "In flight, at most",
}


def health_rows(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Facts about the load generator that were measured."""
    facts = summary["generator"]
    rows = [("Worker processes", str(facts["workers"]))] if facts["workers"] else []
    rows += [
        (_HEALTH[key], text.quantity(facts[key]))
        for key in _HEALTH
        if isinstance(facts[key], dict) and facts[key]["value"] is not None
    ]
    return rows


def fact_groups(summary: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """The manifest's main facts in groups, as words; nothing that is not known."""
    run = summary["run"]
    groups = [
        ("Engine, as it reports itself", {**run["engine"], **run["effective"]}),
        ("Load", {**run["load"], "seed": run["seed"], **run["overrides"]}),
        ("Requests", _request_facts(summary)),
        ("GPUs", _gpu_facts(run["gpus"])),
        ("Measured by", {**run["host"], **run["versions"], **run["git"]}),
    ]
    return [
        (
            title,
            [(_label(key), _words(value)) for key, value in facts.items() if value not in (None, "")],
        )
        for title, facts in groups
        if isinstance(facts, dict) and any(value not in (None, "") for value in facts.values())
    ]


def _gpu_facts(gpus: list[Any]) -> dict[str, Any]:
    """One entry a GPU: its name and memory."""
    facts = {}
    for index, gpu in enumerate(gpus):
        known = gpu if isinstance(gpu, dict) else {"name": gpu}
        memory = known.get("memory_mb")
        size = f", {memory / 1024:.0f} GiB" if isinstance(memory, int | float) else ""
        facts[f"GPU {known.get('index', index)}"] = f"{known.get('name') or 'not named'}{size}"
    return facts


def _request_facts(summary: Mapping[str, Any]) -> dict[str, Any]:
    counts, tokens = summary["counts"], summary["tokens"]
    facts: dict[str, Any] = dict(counts["measured"])
    facts |= {f"mean {key}": round(value, 1) for key, value in tokens["mean"].items() if value is not None}
    facts |= {f"counted from {key}": value for key, value in tokens["source"].items()}
    return facts | {"rows in the file, all phases": counts["rows_in_file"], "damaged lines": counts["damaged_lines"]}


_UNIT_ENDINGS = {"_s": " (s)", "_ms": " (ms)", "_gb": " (GB)", "_mb": " (MiB)"}


def _label(key: object) -> str:
    """A key as words, its unit in brackets: `cold_start_s` -> `cold start (s)`."""
    name = str(key)
    ending = next((e for e in sorted(_UNIT_ENDINGS, key=len, reverse=True) if name.endswith(e)), "")
    return name.removesuffix(ending).replace("_", " ") + _UNIT_ENDINGS.get(ending, "")


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:,.6g}"
    return str(value)
