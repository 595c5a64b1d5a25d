"""A comparison as a page, as Markdown and for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from tokenswarm.analysis import wording as text
from tokenswarm.analysis.compare.comparison import BETTER, EQUAL, UNDECIDED, WORSE, Result, shown
from tokenswarm.analysis.compare.comparison_report import QUANTILES, Comparison, curve_titles
from tokenswarm.analysis.compare.groups import Groups, about, shared_settings
from tokenswarm.analysis.render.assets import chart_page, environment
from tokenswarm.analysis.render.chart import GOOD, IDLE, Chart, axis, latency_axis, line, numbers, plain
from tokenswarm.analysis.render.markdown import escape
from tokenswarm.analysis.render.page import head
from tokenswarm.analysis.wording import load_sentence

from tokenswarm.base.files import link_to
from tokenswarm.contract.metric import Place
from tokenswarm.contract.metrics import METRICS
from tokenswarm.contract.tables import DASHBOARD_HTML

_WIDE = 10.0
COLOR_A, COLOR_B = "c:blue", "c:vermillion"
_STYLE = {BETTER: "better", WORSE: "worse", EQUAL: "equal"}
_TERMINAL_STYLE = {BETTER: "green", WORSE: "red", EQUAL: "dim"}


def render_comparison(comparison: Comparison, folder: Path | None = None) -> str:
    """comparison.html: one file, offline, with the same protection as the dashboard.

    `folder`: where it will be written, so that it can link to the pages of its runs.
    """
    groups, first = comparison.groups, comparison.groups.a[0]
    charts = comparison_charts(comparison)
    return (
        environment()
        .get_template("comparison.html.j2")
        .render(
            label_a=groups.label_a,
            label_b=groups.label_b,
            about=about(groups),
            shared=shared_settings(groups),
            by=groups.by,
            head=head(first),
            load_sentence=load_sentence(first.run.load),
            count_a=len(groups.a),
            count_b=len(groups.b),
            simulated=comparison.simulated,
            verdict=comparison.verdict,
            advice=comparison.advice,
            agreement=comparison.agreement,
            unfair=comparison.unfair,
            notes=comparison.notes,
            left_out=groups.left_out,
            rows=list(rows(comparison.results)),
            classes=list(class_rows(comparison)),
            charts=charts,
            setup=comparison.setup,
            runs=list(_runs(comparison, folder)),
            **chart_page([chart.spec() for chart in charts]),
        )
    )


def rows(results: Sequence[Result]) -> Iterator[dict[str, Any]]:
    """The table of figures as text cells."""
    for result in results:
        base = {
            "title": result.metric.title,
            "better": result.metric.better,
            "state": result.state,
            "style": _STYLE.get(result.state, "unknown"),
            "headline": result.metric.headline,
        }
        difference = result.difference
        if difference is None:
            yield (
                base
                | dict.fromkeys(("a", "b", "change"), text.MISSING)
                | {"a_interval": "", "b_interval": "", "change_interval": result.why, "p_values": ""}
            )
            continue
        sides = {}
        for name, side in (("a", difference.a), ("b", difference.b)):
            sides[name] = shown(side.value, result.unit)
            sides[f"{name}_interval"] = f"{_number(side.low, result)} – {_number(side.high, result)}"
        yield (
            base
            | sides
            | {
                "change": _change(result, difference.change),
                "change_interval": _bounds(result),
                "p_values": _p_values(result),
            }
        )


def class_rows(comparison: Comparison) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """(user class, its rows) of a mix, with the figures of the dashboard's table of user classes."""
    shown_keys = {
        latency.percentile_key(q)
        for latency in METRICS.latencies_at(Place.CLASSES)
        for q in latency.shown_percentiles(Place.CLASSES)
    } | {rate.name for rate in METRICS.rates_at(Place.CLASSES)}
    for name, results in comparison.classes.items():
        chosen = rows([result for result in results if result.metric.key in shown_keys])
        yield name, [row | {"headline": False} for row in chosen]  # the verdict rests on the whole mix


def _number(value: float, result: Result) -> str:
    if result.unit == "share":
        return text.percent(min(1.0, max(0.0, value)))
    return text.number(value)


def _change(result: Result, value: float) -> str:
    return f"{text.number(value)} times" if result.known.ratio else f"{text.points(value)} points"


def _bounds(result: Result) -> str:
    difference = result.known
    if difference.ratio:
        return f"{text.number(difference.low)} – {text.number(difference.high)}"
    return f"{text.points(difference.low)} to {text.points(difference.high)}"


def _p_values(result: Result) -> str:
    """`p = 0.003, Wilcoxon 0.063`, for pairs."""
    difference = result.known
    if difference.wilcoxon_p is None:
        return ""
    shown_values = ["< 0.001" if p < 0.001 else f"{p:.2g}" for p in (difference.p, difference.wilcoxon_p)]
    return "paired t p {}, Wilcoxon p {}".format(*shown_values)


def _page(run: Path, folder: Path | None) -> str:
    """The link from `folder` to a run's page; empty if there is none."""
    return f"{link_to(run, folder)}{DASHBOARD_HTML}" if folder and (run / DASHBOARD_HTML).is_file() else ""


def _runs(comparison: Comparison, folder: Path | None) -> Iterator[dict[str, str]]:
    groups = comparison.groups
    for label, group in ((groups.label_a, groups.a), (groups.label_b, groups.b)):
        for summary in group:
            yield {
                "id": summary.run_id,
                "page": _page(comparison.members[summary.run_id].folder, folder),
                "side": label,
                "started": text.moment(summary.run.started_at),
                "requests": f"{summary.counts.measured.sent:,}",
                "ttft": text.quantity(summary.percentile("ttft_ms", "p95")),
                "output": text.quantity(summary.rates.get("output_tok_s")),
            }


# ---- charts


def comparison_charts(comparison: Comparison) -> list[Chart]:
    """Ratios with intervals, each run's headline figures, and the distributions superimposed."""
    charts = [chart for chart in (_forest(comparison), _repeats(comparison)) if chart]
    for name, title in curve_titles().items():
        chart = _curves(comparison, name, title)
        if chart:
            charts.append(chart)
    return charts


def _forest(comparison: Comparison) -> Chart | None:
    groups = comparison.groups
    drawn = [result for result in reversed(comparison.results) if result.difference and result.difference.ratio]
    if not drawn:
        return None
    traces = []
    for state, color in ((BETTER, GOOD), (WORSE, "c:orange"), (EQUAL, "c:blue"), (UNDECIDED, IDLE)):
        chosen = [result for result in drawn if result.state == state]
        if chosen:
            ratios = np.array([(r.known.change, r.known.low, r.known.high) for r in chosen])
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": state,
                    "y": [r.metric.title for r in chosen],
                    "x": numbers(ratios[:, 0]),
                    "marker": {"color": color, "size": 9},
                    "error_x": {
                        "type": "data",
                        "symmetric": False,
                        "array": numbers(ratios[:, 2] - ratios[:, 0]),
                        "arrayminus": numbers(ratios[:, 0] - ratios[:, 1]),
                        "color": color,
                        "thickness": 2,
                    },
                    "hovertemplate": "%{y}: %{x:.3g} ×",
                }
            )
    low = min(result.known.low for result in drawn)
    high = max(result.known.high for result in drawn)
    low, high = max(min(low, 0.9), 0.02) * 0.95, min(max(high, 1.1), 50.0) * 1.05
    # Ticks close to 1 only if there is room.
    steps = (
        (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)
        if high / low > _WIDE
        else (0.3, 0.5, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.4, 2, 3)
    )
    ticks = [step for step in steps if low <= step <= high]
    layout = {
        "xaxis": axis(
            "ratio (log scale)",
            type="log",
            range=[float(np.log10(low)), float(np.log10(high))],
            tickvals=ticks,
            ticktext=[f"{tick:g}" for tick in ticks],
            minor={"showgrid": False},
        ),
        "yaxis": {"categoryorder": "array", "categoryarray": [result.metric.title for result in drawn]},
        "shapes": [
            {
                "type": "line",
                "xref": "x",
                "yref": "paper",
                "x0": 1,
                "x1": 1,
                "y0": 0,
                "y1": 1,
                "line": {"color": "c:muted", "width": 1.5},
            }
        ],
        "hovermode": "closest",
        "showlegend": True,
    }
    return Chart(
        "forest",
        f"Every figure: {groups.label_b} against {groups.label_a}",
        traces,
        layout,
        f"{groups.label_b} divided by {groups.label_a}, with the 95% interval of the ratio. One that crosses 1 and is "
        f"not within {comparison.rules.margin_words} of it leaves the question open.",
        60 + 26 * len(drawn),
        wide=True,
    )


def _repeats(comparison: Comparison) -> Chart | None:
    drawn = [result for result in comparison.results if result.metric.headline and result.difference]
    if not drawn:
        return None
    traces = []
    for label, color, side in ((comparison.groups.label_a, COLOR_A, "a"), (comparison.groups.label_b, COLOR_B, "b")):
        x, y, hover = [], [], []
        for result in drawn:
            for value in getattr(result.known, side).runs:
                x.append(result.metric.title)
                y.append(value / result.known.a.value)
                hover.append(shown(value, result.unit))
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": plain(label),
                "x": x,
                "y": numbers(y),
                "text": hover,
                "marker": {"color": color, "size": 9, "opacity": 0.8},
                "hovertemplate": "%{x}: %{text}",
            }
        )
    layout = {
        "xaxis": axis(""),
        "yaxis": axis("ratio to the first side's mean"),
        "hovermode": "closest",
    }
    return Chart(
        "repeats", "Every run", traces, layout, "One dot a run: how much repeats of the same side differ.", 320
    )


def _curves(comparison: Comparison, name: str, title: str) -> Chart | None:
    traces, first, last = [], [], []
    for label, group, color in (
        (comparison.groups.label_a, comparison.groups.a, COLOR_A),
        (comparison.groups.label_b, comparison.groups.b, COLOR_B),
    ):
        for number, summary in enumerate(group):
            curve = comparison.members[summary.run_id].curves.get(name)
            if curve is not None:
                first.append(curve[0])
                last.append(curve[-1])
                traces.append(
                    line(
                        numbers(curve),
                        numbers(QUANTILES, 6),
                        plain(label),
                        color,
                        legendgroup=color,
                        showlegend=number == 0,
                        line={"width": 1.5},
                        opacity=0.75,
                        hovertemplate="%{y:.1f}% within %{x:,.0f} ms",
                    )
                )
    if not traces:
        return None
    layout = {
        "xaxis": latency_axis(min(first), max(last), f"{title} (log scale)"),
        "yaxis": axis("share of requests (%)", range=[0, 101]),
        "hovermode": "closest",
        "showlegend": True,
    }
    return Chart(f"curve-{name}", f"{title} distribution", traces, layout, "One line a run.", 320)


# ---- text


def markdown(comparison: Comparison) -> str:
    """comparison.md: for a pull request or a ticket."""
    groups = comparison.groups
    out = [f"## {escape(groups.label_a)} and {escape(groups.label_b)}", ""]
    out += [
        f"- {escape(label)}: {escape(setup)}"
        for label, setup in zip((groups.label_a, groups.label_b), about(groups), strict=True)
    ]
    out += [f"- both: {escape(shared)}"] if (shared := shared_settings(groups)) else []
    out.append("")
    if comparison.simulated:
        out += ["**SIMULATED**: no real engine was measured.", ""]
    out += [f"**Verdict.** {escape(comparison.verdict.sentence)}", ""]
    if not comparison.verdict.repeated:
        out += ["A side has a single run: what differs from run to run is not covered.", ""]
    if comparison.advice is not None:
        out += [f"**Rule of thumb.** {escape(comparison.advice.sentence)} {escape(comparison.agreement)}".rstrip(), ""]
    out += [f"- Not alike: {escape(sentence)}" for sentence in comparison.unfair]
    out += [f"- Note: {escape(sentence)}" for sentence in comparison.notes]
    out += [f"- Left out: {escape(run.run_id)}, {escape(run.why)}" for run in groups.left_out]
    a, b = escape(groups.label_a), escape(groups.label_b)
    heads = f"{a} | {b} | ratio or difference | {b} is |"
    out += ["", f"| figure | {heads}", "|---|---|---|---|---|"]
    out += [_markdown_row([row["title"]], row) for row in rows(comparison.results)]
    if comparison.classes:
        out += ["", f"| user class | figure | {heads}", "|---|---|---|---|---|---|"]
        out += [_markdown_row([name, row["title"]], row) for name, part in class_rows(comparison) for row in part]
    if comparison.setup:
        out += ["", f"| setting | {a} | {b} | why |", "|---|---|---|---|"]
        out += [
            "| "
            + " | ".join(
                map(escape, (each.name, each.a, each.b, each.excused or "neither varied nor the engine's own"))
            )
            + " |"
            for each in comparison.setup
        ]
    return "\n".join(out) + "\n"


def _markdown_row(first: Sequence[str], row: dict[str, Any]) -> str:
    cells = (
        *first,
        f"{row['a']} ({row['a_interval']})" if row["a_interval"] else row["a"],
        f"{row['b']} ({row['b_interval']})" if row["b_interval"] else row["b"],
        f"{row['change']} ({'; '.join(filter(None, (row['change_interval'], row['p_values'])))})",
        row["state"],
    )
    return "| " + " | ".join(map(escape, cells)) + " |"


def comparison_table(comparison: Comparison) -> RenderableType:
    """What `compare` prints: the verdict, then the figures, in 80 columns."""
    groups = comparison.groups
    lines = []
    if comparison.simulated:
        lines.append(Text.assemble(("SIMULATED", "bold magenta"), " (no real engine was measured)"))
    lines += [
        Text(f"{label}: {setup}", style="dim")
        for label, setup in zip((groups.label_a, groups.label_b), about(groups), strict=True)
    ]
    if shared := shared_settings(groups):
        lines.append(Text(f"both: {shared}", style="dim"))
    lines.append(Text.assemble(("Verdict: ", "bold"), comparison.verdict.sentence))
    if not comparison.verdict.repeated:
        lines.append(Text("A side has a single run: what differs from run to run is not covered.", style="yellow"))
    if comparison.advice is not None:
        thumb = f"{comparison.advice.sentence} {comparison.agreement}".strip()
        lines.append(Text.assemble(("Rule of thumb: ", "bold"), thumb))
    lines += [Text.assemble(("not alike: ", "bold yellow"), sentence) for sentence in comparison.unfair]
    lines += [Text.assemble(("note: ", "bold"), sentence) for sentence in comparison.notes]
    lines += [Text.assemble(("left out: ", "bold red"), f"{run.run_id}, {run.why}") for run in groups.left_out]
    title = f"{groups.label_b} against {groups.label_a}"
    tables = [_figures_table(groups, f"{title} (95% intervals)", list(rows(comparison.results)))]
    tables += [_figures_table(groups, f"{name}: {title}", part) for name, part in class_rows(comparison)]
    return Group(*lines, *tables)


def _figures_table(groups: Groups, title: str, part: Sequence[dict[str, Any]]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("", Text(groups.label_a), Text(groups.label_b), "ratio", Text(f"{groups.label_b} is")):
        table.add_column(name, justify="left" if name == "" else "right", overflow="fold")
    for row in part:
        table.add_row(
            row["title"],
            *(Text.assemble(row[key], (f"\n{row[f'{key}_interval']}", "dim")) for key in ("a", "b", "change")),
            Text(row["state"], style=_TERMINAL_STYLE.get(row["state"], "dim")),
        )
    return table
