"""A run in Markdown, for a pull request's comment or a CI step."""

from __future__ import annotations

from tokenswarm.analysis import wording as text
from tokenswarm.analysis.figures import outages
from tokenswarm.analysis.figures.drift import DRIFTING, STEPPED
from tokenswarm.analysis.figures.drift_series import sentence as drift_sentence
from tokenswarm.analysis.render.answer_sentence import steady_remarks
from tokenswarm.analysis.render.figures import latency_title, shown_latencies
from tokenswarm.analysis.render.level_table import headings, level_rows
from tokenswarm.analysis.verdict.gates import judged
from tokenswarm.analysis.wording import bound_words, load_sentence, shown_state, verdict_words

from tokenswarm.contract.metric import Place
from tokenswarm.contract.metrics import METRICS
from tokenswarm.contract.summary.figure import Figure
from tokenswarm.contract.summary.summary_record import Summary

_MARKS = {"met": "✅", "missed": "❌", "undetermined": "❔"}


def markdown(summary: Summary, strict: bool = False) -> str:
    """A summary for a pull request's comment or a CI step: verdict, gates, figures with intervals."""
    return (
        "\n".join(
            [
                *_head(summary, strict),
                *_gates(summary),
                *_latencies(summary),
                "",
                *_rates(summary),
                *_remarks(summary),
                *_baseline(summary),
            ]
        )
        + "\n"
    )


def _head(summary: Summary, strict: bool) -> list[str]:
    run = summary.run
    outcome = judged(summary, strict)
    return [
        f"### {escape(run.engine.with_version)} · {escape(run.scenario.name or 'scenario not known')}",
        "",
        f"{'❌' if outcome.code else '✅'} **{escape(outcome.headline)}**: {escape(outcome.sentence)}",
        "",
        f"{escape(run.model or 'model not known')}, {escape(load_sentence(run.load, summary.levels))}, measured "
        f"for {text.duration(run.window.seconds)}. Figures: **{summary.verdict}**"
        + (" · **SIMULATED**, no real engine was measured" if summary.simulated else ""),
        "",
    ]


def _gates(summary: Summary) -> list[str]:
    shown = [gate for gate in summary.slo if not summary.levels or gate.state == "missed"]
    if not shown:
        return []
    rows = []
    for gate in shown:
        figure = gate.figure
        value = text.quantity(figure) if figure.value is not None else figure.why or ""
        rows.append(
            _row(
                gate.title,
                bound_words(gate),
                value,
                text.interval(figure),
                f"{_MARKS[shown_state(gate)]} {verdict_words(gate)}",
            )
        )
    return ["| gate | limit | measured | 95% interval | result |", "|---|---|---|---|---|", *rows, ""]


def _levels(summary: Summary) -> list[str]:
    """One row per load level, instead of figures over all of them."""
    heads = ["level", *headings(summary), "gates"]
    return [
        _row(*heads),
        "|---" * len(heads) + "|",
        *(
            _row(
                f"{row.number}: {row.name}",
                *(text.number(figure.value, figure.unit) for figure in row.figures),
                f"{_MARKS.get(row.worst.partition(' ')[2], '')} {row.gates}".strip(),
            )
            for row in level_rows(summary)
        ),
    ]


def _latencies(summary: Summary) -> list[str]:
    if summary.levels:
        return _levels(summary)
    return [
        "| figure | p50 | p95 | p99 |",
        "|---|---|---|---|",
        *(
            _row(f"{latency_title(key)} (ms)", *(_cell(figures[p]) for p in ("p50", "p95", "p99")))
            for key, figures in shown_latencies(summary.latency).items()
        ),
    ]


def _rates(summary: Summary) -> list[str]:
    figures = [(rate.at(Place.MARKDOWN).title, rate.figure_of(summary)) for rate in METRICS.rates_at(Place.MARKDOWN)]
    return [
        f"- {title}: {escape(text.quantity(figure))}"
        + (f" ({escape(text.interval(figure))})" if text.interval(figure) else "")
        for title, figure in figures
        if figure is not None and figure.value is not None
    ]


def _remarks(summary: Summary) -> list[str]:
    away = outages.sentence(summary.outages)
    drifted = [series for series in summary.drift.values() if series.state in (DRIFTING, STEPPED)]
    replay = [f"- {escape(summary.replay.sentence)}"] if summary.replay is not None else []
    return [
        *(f"- {escape(each)}" for each in steady_remarks(summary)),
        *replay,
        *(f"- {escape(reason.sentence)}" for reason in summary.reasons),
        *([f"- {escape(away)}"] if away else []),
        *(f"- {escape(series.title)}: {escape(drift_sentence(series))}" for series in drifted),
    ]


def _baseline(summary: Summary) -> list[str]:
    baseline = summary.baseline
    if baseline is None:
        return []
    return [
        "",
        f"Against {escape(baseline.run_id)}:",
        "",
        *(f"- {_MARKS[gate.state]} {escape(gate.sentence)}" for gate in baseline.gates),
        *(f"- {escape(note)}" for note in baseline.notes),
    ]


def _row(*cells: str) -> str:
    return "| " + " | ".join(map(escape, cells)) + " |"


def _cell(figure: Figure) -> str:
    if figure.value is None:
        return text.MISSING
    between = text.interval(figure)
    return text.number(figure.value, figure.unit) + (f" ({between})" if between else "")


def escape(content: object) -> str:
    """Text escaped for both Markdown and HTML."""
    escaped = str(content).replace("&", "&amp;").replace("<", "&lt;").replace("\r", " ").replace("\n", " ")
    for sign in "\\|*_`[]~":
        escaped = escaped.replace(sign, "\\" + sign)
    return escaped
