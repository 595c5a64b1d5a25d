"""The summary of a run for a terminal, by rich: coloured on a screen, plain when piped."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text
from tokenswarm.analysis import wording as text
from tokenswarm.analysis.figures import outages
from tokenswarm.analysis.figures.drift import STEADY, TOO_SHORT
from tokenswarm.analysis.figures.drift_series import sentence
from tokenswarm.analysis.render.answer_sentence import steady_remarks
from tokenswarm.analysis.render.figures import latency_title, rate_figures, shown_latencies
from tokenswarm.analysis.render.level_table import headings, level_rows
from tokenswarm.analysis.verdict.outcome import BY_NAME, VALID
from tokenswarm.analysis.wording import bound_words, load_sentence, shown_state, verdict_words

from tokenswarm.contract.metric import Place
from tokenswarm.contract.summary.cache_records import Yardstick
from tokenswarm.contract.summary.figure import Figure
from tokenswarm.contract.summary.summary_record import Summary
from tokenswarm.contract.summary.verdict_records import Baseline, SloGate

_VERDICT_STYLE = {"INVALID": "bold red", "INCOMPLETE": "bold yellow", "UNCHECKED": "bold yellow"}
_OUTAGES_SHOWN = 5
_STATE_STYLE = {"met": "green", "missed": "red", "undetermined": "yellow"}


def summary_table(summary: Summary) -> RenderableType:
    """What `make load` prints at its end, in 80 columns: verdict and why, latency, rates, objectives, errors."""
    parts: list[RenderableType] = [_heading(summary), *_reasons(summary)]
    parts += [_levels(summary)] if summary.levels else [_latency(summary)]
    parts.append(_rates(summary))
    gates = [gate for gate in summary.slo if not summary.levels or gate.state == "missed"]
    if gates:
        parts.append(_objectives(gates, "Objectives (SLO)" if not summary.levels else "Objectives missed"))
    if summary.cache.yardstick.recorded:
        parts.append(_cache(summary.cache.yardstick))
    if summary.replay is not None:
        style = "bold" if summary.replay.faithful else "bold red"
        parts.append(Text.assemble(("Replay: ", style), summary.replay.sentence, "\n"))
    parts += interference_lines(summary)
    parts += adapter_lines(summary)
    parts += outage_lines(summary)
    parts += drift_lines(summary)
    if summary.baseline is not None:
        parts += _baseline(summary.baseline)
    if summary.errors.kinds:
        parts.append(_errors(summary))
    return Group(*parts)


def _heading(summary: Summary) -> Text:
    run = summary.run
    line = Text()
    outcome, verdict = summary.outcome, summary.verdict
    style = _VERDICT_STYLE.get(verdict, "bold red") if outcome.code else "bold green"
    line.append(outcome.headline, style=style)
    line.append("" if outcome.headline == verdict else f"  figures {verdict}")
    if summary.simulated:
        line.append("  SIMULATED", style="bold magenta")
        line.append(" (no real engine was measured)")
    scenario = run.scenario.name or "scenario not known"
    seconds = text.duration(run.window.seconds)
    line.append(
        f"\n{run.engine.with_version} · {run.model or 'model not known'} · {scenario} · "
        f"{load_sentence(run.load, summary.levels)} · {seconds}"
    )
    return line


def _reasons(summary: Summary) -> list[Text]:
    lines = [
        Text.assemble((f"{reason.verdict.lower().replace('_', ' ')}: ", "bold"), reason.sentence)
        for reason in summary.reasons
    ]
    if BY_NAME[summary.outcome.name].verdict == VALID:  # otherwise the sentence comes from these reasons
        lines.insert(0, Text(summary.outcome.sentence))
    notes = (*steady_remarks(summary), *summary.notes)
    return lines + [Text.assemble(("note: ", "bold"), note) for note in notes]


def _table(title: str, *columns: tuple[str, JustifyMethod]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name, justify in columns:
        table.add_column(name, justify=justify, overflow="fold")
    return table


def _cell(figure: Figure) -> Text:
    if figure.value is None:
        # "needs 100 requests, has 34": the last column has the count.
        return Text((figure.why or text.MISSING).split(",")[0], style="dim")
    between = text.interval(figure)
    return Text.assemble(text.number(figure.value, figure.unit), (f"\n{between}" if between else "", "dim"))


def _latency(summary: Summary) -> Table:
    table = _table(
        "Latency (ms, with 95% interval)",
        ("", "left"),
        ("p50", "right"),
        ("p95", "right"),
        ("p99", "right"),
        ("requests", "right"),
    )
    for key, figures in shown_latencies(summary.latency).items():
        table.add_row(latency_title(key), *(_cell(figures[p]) for p in ("p50", "p95", "p99")), str(figures["p50"].n))
    if not table.row_count:
        table.add_row("no request succeeded", "", "", "", "0")
    return table


def _levels(summary: Summary) -> Table:
    """One row per load level; the page has the intervals."""
    heads: list[tuple[str, JustifyMethod]] = [
        ("Level", "left"),
        *((heading, "right") for heading in headings(summary, short=True)),
        ("gates", "left"),
    ]
    table = _table("Load levels", *heads)
    table.columns[0].no_wrap = True
    table.columns[-1].no_wrap = True
    for row in level_rows(summary):
        figures = [
            Text(text.number(figure.value, figure.unit), style="" if figure.value is not None else "dim")
            for figure in row.figures
        ]
        gates = Text(row.worst.replace("undetermined", "undet."), style=_STATE_STYLE.get(row.state, ""))
        table.add_row(f"{row.number}: {row.name}", *figures, gates)
    return table


def _rates(summary: Summary) -> Table:
    table = _table("Rates", ("", "left"), ("value", "right"), ("95% interval", "right"))
    for rate, figure in rate_figures(summary, Place.TERMINAL):
        table.add_row(rate.at(Place.TERMINAL).title, text.quantity(figure), text.interval(figure))
    counts = summary.counts.measured
    outcomes = f"{counts.ok} ok, {counts.failed} failed, {counts.cancelled} cancelled"
    table.add_row("Requests", str(counts.sent), outcomes)
    return table


def _cache(measured: Yardstick) -> Text:
    return Text.assemble(("Prefix cache: ", "bold"), measured.words, "\n")


def _objectives(gates: Sequence[SloGate], title: str) -> Table:
    table = _table(title, ("", "left"), ("limit", "right"), ("measured", "right"), ("result", "left"))
    for gate in gates:
        figure = gate.figure
        value = text.quantity(figure) if figure.value is not None else figure.why or ""
        table.add_row(
            gate.title, bound_words(gate), value, Text(verdict_words(gate), style=_STATE_STYLE[shown_state(gate)])
        )
    return table


def drift_lines(summary: Summary) -> list[Text]:
    """What changed over a long run, one line per series; empty for a run that is too short."""
    judged = [series for series in summary.drift.values() if series.state != TOO_SHORT]
    changed = [series for series in judged if series.state != STEADY]
    if not judged:
        return []
    if not changed:
        return [Text(f"Steady over the run: {', '.join(series.title for series in judged)}")]
    return [Text.assemble((f"{series.title}: ", "bold"), (sentence(series), "yellow")) for series in changed]


def interference_lines(summary: Summary) -> list[Text]:
    """What the disturbing classes did to the others; empty if none disturbs."""
    result = summary.interference
    if result is None:
        return []
    sentences = result.sentences or [f"not measured: {result.why}."]
    return [*(Text.assemble(("Interference: ", "bold"), each) for each in sentences), Text("")]


def adapter_lines(summary: Summary) -> list[Text]:
    """How long an adapter's first use takes; empty for a run without adapters."""
    lora = summary.adapters
    if lora is None:
        return []
    first, later = (
        text.quantity(figure) if figure.value is not None else figure.why or text.MISSING
        for figure in (lora.first_use_ttft_ms, lora.later_ttft_ms)
    )
    return [
        Text.assemble(
            ("LoRA adapters: ", "bold"),
            f"{lora.used} of {lora.adapters} used; median TTFT of an "
            f"adapter's first use {first}, of later requests {later}",
        ),
        Text(""),
    ]


def outage_lines(summary: Summary) -> list[Text]:
    """When the engine was away, and how long it took to recover; empty if it never was."""
    if not summary.outages.count:
        return []
    lines = [Text.assemble(("Outages: ", "bold"), (outages.sentence(summary.outages), "yellow"))]
    rows = outages.listed_rows(summary.outages)
    lines += [
        Text(f"  {row['began']}: recovery {row['recovery']}, {row['failed']} failed ({row['kinds']})")
        for row in rows[:_OUTAGES_SHOWN]
    ]
    left = summary.outages.count - _OUTAGES_SHOWN
    return [*lines, *([Text(f"  and {left:,} more, see the dashboard")] if left > 0 else []), Text("")]


def _baseline(baseline: Baseline) -> list[Text]:
    head = f"Against {baseline.run_id}"
    lines = [Text(head, style="bold")]
    lines += [Text.assemble((f"{gate.state:<13}", _STATE_STYLE[gate.state]), gate.sentence) for gate in baseline.gates]
    return lines + [Text.assemble(("not alike: ", "bold"), note) for note in baseline.notes]


def _errors(summary: Summary) -> Table:
    table = _table("Errors", ("kind", "left"), ("count", "right"), ("meaning", "left"), ("example", "left"))
    for kind in summary.errors.kinds:
        table.add_row(kind.kind, str(kind.count), kind.meaning, Text(kind.example or ""))
    return table
