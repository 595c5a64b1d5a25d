"""The content of the dashboard's tables and cards: pure functions from a summary to text cells."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from tokenswarm.analysis import wording as text
from tokenswarm.analysis.figures import outages
from tokenswarm.analysis.figures.drift import STEADY, TOO_SHORT
from tokenswarm.analysis.figures.drift_series import sentence as drift_sentence
from tokenswarm.analysis.figures.quantities import GAPS
from tokenswarm.analysis.render.answer_sentence import answer, steady_remarks
from tokenswarm.analysis.render.figures import latency_title, rate_figures, shown_latencies
from tokenswarm.analysis.render.level_table import level_rows
from tokenswarm.analysis.verdict.outcome import VALID

from tokenswarm.contract.engine_title import engine_title
from tokenswarm.contract.metric import Latency, Place, Rate, percentile_digits
from tokenswarm.contract.metrics import METRICS
from tokenswarm.contract.summary.figure import Figure
from tokenswarm.contract.summary.header_records import Header
from tokenswarm.contract.summary.summary_record import Summary
from tokenswarm.contract.summary.verdict_records import Check

_VERDICT_WORDS = {
    "VALID": "The load generator kept up: these figures are the engine's.",
    "INVALID": "Do not trust these figures: the load generator was part of what was measured.",
    "INCOMPLETE": "This run is incomplete; the figures cover what was measured.",
    "UNCHECKED": "Another tool measured this run: nothing shows whether its load generator kept up.",
    "OVERLOADED": "The engine did not keep up with the arrivals: a longer run would show other figures.",
}


def head(summary: Summary) -> dict[str, object]:
    """Title, subtitle and badges."""
    run, engine, scenario = summary.run, summary.run.engine, summary.run.scenario
    name = engine_title(engine.title, engine.name)
    started = text.moment(run.started_at)
    away = outages.sentence(summary.outages)
    return {
        "engine": name if not engine.version else f"{name} {engine.version}",
        "model": run.model or "model not known",
        "scenario": scenario.title or scenario.name or "scenario not known",
        "description": scenario.description,
        "started": started or "start not known",
        "configuration": configuration(run),
        "seconds": text.duration(run.window.seconds),
        "verdict": summary.verdict,
        "verdict_words": _VERDICT_WORDS[summary.verdict],
        "outcome": summary.outcome,
        "answer": answer(summary),
        "any_checked": any(each.checked for each in summary.finish_reasons),
        "tone": summary.verdict if summary.verdict != VALID or not summary.outcome.code else "MISSED",
        "blocking": [reason for reason in summary.reasons if reason.verdict != "NOTE"],
        "remarks": [
            *steady_remarks(summary),
            *(reason.sentence for reason in summary.reasons if reason.verdict == "NOTE"),
            *summary.notes,
            *([away] if away else []),
        ],
    }


def command(argv: Sequence[str]) -> str:
    """The command that was typed, to copy: for the run, or for the series that it was part of."""
    return shlex.join(argv) if argv else ""


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
"""The most important parts of an engine's effective configuration, in words; all of it is at the end of the page."""


def configuration(run: Header) -> str:
    """The effective configuration in one line, and how long the engine took to start."""
    parts = [
        words.format({True: "on", False: "off"}.get(value, _words(value)) if isinstance(value, bool) else _words(value))
        for key, words in _SETTINGS.items()
        if (value := run.effective.get(key)) not in (None, "", "none")
    ]
    if run.engine.cold_start_s is not None:
        parts.append(f"cold start {text.duration(run.engine.cold_start_s)}")
    return " · ".join(parts)


def outcome_sentence(summary: Summary) -> str:
    """What became of the requests of the measure phase; the parts add up to the total."""
    counts = summary.counts.measured
    parts = f"{counts.ok:,} ok + {counts.failed:,} failed + {counts.cancelled:,} cancelled"
    ended = " A request that was cancelled when the run ended is not an error." if counts.cancelled else ""
    return f"{counts.sent:,} sent = {parts}.{ended}"


def cell(figure: Figure) -> dict[str, str]:
    """A figure as a table cell: its number with the interval below it, or a short reason why there is no number."""
    if figure.value is None:
        return {"value": text.MISSING, "below": (figure.why or "").split(",")[0], "kind": " why"}
    return {"value": text.number(figure.value, figure.unit), "below": text.interval(figure), "kind": ""}


def latency_rows(summary: Summary) -> list[dict[str, object]]:
    """Rows of the latency table."""
    return _latency_rows(summary.latency)


def steady_rows(summary: Summary) -> list[dict[str, object]]:
    """The same for the stationary part alone; empty if nothing was cut."""
    return _latency_rows(summary.steady_part.latency)


def _latency_rows(by_key: Mapping[str, Mapping[str, Figure]]) -> list[dict[str, Any]]:
    rows = []
    for key, figures in shown_latencies(by_key).items():
        latency = METRICS.latency(key)
        rows.append(
            {
                "name": latency_title(key),
                "meaning": latency.meaning if latency else "",
                "n": f"{figures['p50'].n:,}",
                "cells": [cell(figures[p]) for p in ("p50", "p95", "p99")],
            }
        )
    return rows


def rate_rows(summary: Summary) -> list[dict[str, object]]:
    """Rows of the table of measured rates and shares that no tile shows."""
    tiles = [] if summary.levels else [rate.name for rate, _ in rate_figures(summary, Place.CARD)]
    rows = [(rate, figure) for rate, figure in rate_figures(summary, Place.TABLE) if rate.name not in tiles]
    if server_rows(summary):  # which shows the same, over exactly the same events
        rows = [(rate, figure) for rate, figure in rows if rate.name != "server_ttft_mean"]
    shown: list[dict[str, object]] = [
        {
            "name": rate.at(Place.TABLE).title,
            "value": text.quantity(figure),
            "interval": text.interval(figure),
            "note": _note(rate, summary),
        }
        for rate, figure in rows
    ]
    return [*shown, *_energy_rows(summary)]


def _energy_rows(summary: Summary) -> list[dict[str, object]]:
    """The energy of each GPU; or why there is no figure, for an engine that could have had one."""
    energy, rows = summary.energy, []
    for gpu in energy.gpus:
        if gpu.joules is not None and gpu.mean_w is not None:
            source = "its energy counter" if gpu.by == "counter" else "its power, integrated"
            name = f"Energy of {gpu.source.upper()}"
            rows.append(_row(name, f"{gpu.joules:,.0f} J", f"{gpu.mean_w:,.0f} W on average, by {source}"))
    if energy.why and not summary.simulated and not summary.run.measured_by:
        rows.append(_row("Energy", text.MISSING, f"not known: {energy.why}"))
    return rows


def _row(name: str, value: str, note: str) -> dict[str, object]:
    return {"name": name, "value": value, "interval": "", "note": note}


def _note(rate: Rate, summary: Summary) -> str | None:
    """The note next to a figure: what it means, or what is special about it in this run."""
    if rate.unit == "$" and summary.cost is not None:
        return f"{summary.cost.gpus} GPU at ${summary.cost.gpu_hour_usd:g} an hour"
    if rate.name == "server_ttft_mean":
        return f"the client's: {text.quantity(summary.server.client_ttft_mean_ms)}"
    return f"from {summary.cache.source}" if rate.name == "hit_rate" else rate.at(Place.TABLE).note


def server_rows(summary: Summary) -> list[dict[str, Any]]:
    """The engine's own latencies and the client's for the same events; empty if the engine reported none."""
    names = {"ttft": "TTFT", "e2e": "E2E", "queue": "Queue", "itl": "Between tokens"}
    rows = []
    for key, title in names.items():
        engine = summary.server_latency.get(key)
        if engine is None or not engine.mean.n:
            continue
        client = engine.client.parts() if engine.client else {}
        cells = []
        for part, figure in engine.parts().items():
            ends, of_client = figure.bucket, client.get(part, Figure()).value
            within = "" if not ends else f"above {ends[0]:g}" if ends[1] is None else f"in {ends[0]:g} – {ends[1]:g}"
            cells.append(
                {
                    "engine": text.MISSING
                    if figure.value is None
                    else ("≈ " if ends else "") + text.number(figure.value),
                    "ends": within,
                    "client": text.number(of_client) if of_client is not None else "",
                }
            )
        rows.append({"name": title, "n": f"{engine.mean.n:,}", "cells": cells})
    return rows


def drift_rows(summary: Summary) -> list[dict[str, str]]:
    """The verdict on each series of a long run; empty if the run is too short."""
    return [
        {
            "name": series.title,
            "state": series.state,
            "words": drift_sentence(series),
            "style": "met" if series.state == STEADY else "missed",
            "level": f"{text.number(series.level, series.unit)} {text.unit_of(series.unit)}".strip(),
        }
        for series in summary.drift.values()
        if series.state != TOO_SHORT
    ]


def gap_rows(summary: Summary) -> list[dict[str, object]]:
    """Rows of the table of gaps between chunks."""
    return [
        {
            "name": GAPS[name][0],
            "value": text.quantity(figure),
            "interval": text.interval(figure),
            "note": GAPS[name][1],
        }
        for name, figure in summary.gaps.items()
        if figure.value is not None
    ]


def level_cells(summary: Summary) -> list[dict[str, object]]:
    """Rows of the table of load levels; empty for a run with a single load."""
    return [
        {
            "number": row.number,
            "name": row.name,
            "when": row.when,
            "counts": row.counts,
            "gates": row.gates,
            "state": row.state,
            "cells": [cell(figure) for figure in row.figures],
        }
        for row in level_rows(summary)
    ]


def class_columns(summary: Summary) -> list[str]:
    """The headings of the table of user classes, after class and requests; empty if there is only one class."""
    return [title for title, _ in _class_figures(summary)] if len(summary.user_classes) > 1 else []


def class_rows(summary: Summary) -> list[dict[str, Any]]:
    """One row per user class, with the cells of `class_columns`; empty if there is only one class."""
    if len(summary.user_classes) < 2:
        return []
    figures = [figure_of for _, figure_of in _class_figures(summary)]
    rows = []
    for name, part in summary.user_classes.items():
        alone = summary.of_class(name)
        share = part.share
        sent = f"{part.counts.sent:,}" + (f" ({text.quantity(share.requests)})" if share is not None else "")
        rows.append(
            {"name": name, "sent": sent, "cells": [cell(figure_of(alone) or Figure()) for figure_of in figures]}
        )
    return rows


def _class_figures(summary: Summary) -> list[tuple[str, Callable[[Summary], Figure | None]]]:
    """(heading, figure in a class's summary) of each column, from the registry of metrics."""

    def percentile(latency: Latency, q: float) -> Callable[[Summary], Figure | None]:
        return lambda of: of.percentile(latency.key, f"p{percentile_digits(q)}")

    latencies = [
        (f"{latency.at(Place.CLASSES).title} p{q:g} (ms)", percentile(latency, q))
        for latency in METRICS.latencies_at(Place.CLASSES)
        for q in latency.shown_percentiles(Place.CLASSES)
    ]
    bounded = bool(summary.goodput.bounds)
    rates = [
        (f"{rate.at(Place.CLASSES).title}{f' ({unit})' if (unit := text.unit_of(rate.unit)) else ''}", rate.figure_of)
        for rate in METRICS.rates_at(Place.CLASSES)
        if bounded or not rate.of_objectives
    ]
    return [*latencies, *rates]


def check_rows(summary: Summary) -> list[dict[str, object]]:
    """The validity rules that have a number, or are broken."""
    return [
        {
            "title": check.title,
            "state": "missed" if check.broken else "met",
            "value": text.quantity(Figure(check.value, check.unit)),
            "limit": text.limit(_round(check.limit), check.unit) if check.limit is not None else text.MISSING,
            "words": check.verdict.lower().replace("_", " ") if check.broken else "ok",
        }
        for check in summary.generator.checks
        if _telling(check)
    ]


def kept_checks(summary: Summary) -> list[str]:
    """The other rules, by title: they hold, and have no number to show."""
    return [check.title for check in summary.generator.checks if not _telling(check)]


def _telling(check: Check) -> bool:
    return check.broken or (check.value is not None and (check.limit is not None or bool(check.value)))


def _round(value: float) -> float:
    return float(f"{value:.3g}")


def health_rows(summary: Summary) -> list[tuple[str, str]]:
    """Measured facts about the load generator that no rule checks."""
    health = summary.generator
    figures = (
        ("CPU per token", health.cpu_us_per_token),
        ("Event loop lag, worst", health.loop_lag_max_ms),
        ("Bytes unread, worst p99", health.read_lag_p99_max_ms),
        ("Arrivals late (p99)", health.lateness_p99_ms),
        ("Memory", health.rss_max_mb),
        ("In flight, at most", health.in_flight_max),
    )
    rows = [("Worker processes", str(health.workers))] if health.workers else []
    return rows + [(title, text.quantity(figure)) for title, figure in figures if figure.value is not None]


def fact_groups(summary: Summary) -> list[tuple[str, list[tuple[str, str]]]]:
    """The manifest's main facts in groups, in words, without unknown ones."""
    run, fields = summary.run, msgspec.structs.asdict
    groups: list[tuple[str, dict[str, object]]] = [
        ("Engine, as it reports itself", {**fields(run.engine), **run.effective}),
        ("Load", {**fields(run.load), "seed": run.seed, **_further_settings(summary)}),
        ("Requests", _request_facts(summary)),
        ("GPUs", {f"GPU {index}": name for index, name in enumerate(run.gpus)}),
        ("Measured by", {**fields(run.host), **run.versions, **fields(run.git)}),
    ]
    return [
        (
            title,
            [(_label(key), _words(value)) for key, value in facts.items() if value not in _NOT_KNOWN],
        )
        for title, facts in groups
        if any(value not in _NOT_KNOWN for value in facts.values())
    ]


_NOT_KNOWN = (None, "", msgspec.UNSET)


def _further_settings(summary: Summary) -> dict[str, object]:
    """What was set (SET), without the parts of the load that stand there already."""
    shown_already = {f"load.{name}" for name in msgspec.structs.asdict(summary.run.load)}
    return {key: value for key, value in summary.run.overrides.items() if key not in shown_already}


def _request_facts(summary: Summary) -> dict[str, object]:
    counts, tokens = summary.counts, summary.tokens
    facts: dict[str, object] = msgspec.structs.asdict(counts.measured)
    facts |= {f"mean {key}": round(value, 1) for key, value in tokens.mean.items() if value is not None}
    facts |= {f"counted from {key}": value for key, value in tokens.source.items()}
    return facts | {"rows in the file, all phases": counts.rows_in_file, "damaged lines": counts.damaged_lines}


_NAMES = {"dirty": "with uncommitted changes"}
_UNIT_ENDINGS = {"_s": " (s)", "_ms": " (ms)", "_gb": " (GB)", "_mb": " (MiB)"}


def _label(key: object) -> str:
    """A key in words, with its unit in brackets: `cold_start_s` -> `cold start (s)`."""
    name = _NAMES.get(str(key), str(key))
    ending = next((e for e in sorted(_UNIT_ENDINGS, key=len, reverse=True) if name.endswith(e)), "")
    return name.removesuffix(ending).replace("_", " ") + _UNIT_ENDINGS.get(ending, "")


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:,.6g}"
    return str(value)
