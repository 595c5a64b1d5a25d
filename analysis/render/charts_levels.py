"""Curves over the load levels of a run: latency, throughput and goodput against load."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tokenswarm.analysis import wording as text
from tokenswarm.analysis.figures.level_figures import rising
from tokenswarm.analysis.render.chart import PALETTE, Chart, ChartSection, Trace, axis, latency_axis, numbers, plain
from tokenswarm.analysis.render.level_table import rate_of

from tokenswarm.base.foreign import listed
from tokenswarm.contract.metric import Place
from tokenswarm.contract.metrics import METRICS
from tokenswarm.contract.summary.figure import Figure
from tokenswarm.contract.summary.level_records import LevelFigures
from tokenswarm.contract.summary.summary_record import Summary

_HEIGHT = 300


def levels_section(summary: Summary) -> ChartSection:
    """The curves, if the run had several levels of known load."""
    levels = [level for level in summary.levels if level.load is not None]
    if len(levels) < 2:
        return ChartSection("levels", "Load levels")
    charts = [_latency(levels), *_rates(levels, summary)]
    ramp = any(level.began == "ramp" for level in levels)
    note = "Each point is one level, with its 95% interval." + (
        " A piece of a ramp is drawn at its middle, although its load changes all the time." if ramp else ""
    )
    return ChartSection("levels", "Figures against load", [chart for chart in charts if chart is not None], note)


def _latency(levels: Sequence[LevelFigures]) -> Chart | None:
    """p95 of the main latencies, on one log axis."""
    traces, seen = [], []
    for latency, color in zip(METRICS.latencies_at(Place.CURVES), PALETTE, strict=False):
        figures = [level.percentile(latency.key, "p95") for level in levels]
        if any(figure.value is not None for figure in figures):
            traces.append(_trace(levels, figures, f"{latency.title} p95", color))
            seen += [end for figure in figures for end in (figure.value, *figure.ends) if end]
    if not traces:
        return None
    return Chart(
        "levels-latency",
        "Latency against load",
        traces,
        _layout(levels, latency_axis(min(seen), max(seen), "p95 (log scale)")),
        "95th percentile of the requests sent in each level; a gap: too few requests.",
        _HEIGHT,
    )


def _rates(levels: Sequence[LevelFigures], summary: Summary) -> list[Chart | None]:
    answers = [("requests_s", "answered", "c:blue")]
    if summary.goodput.bounds:
        answers.append(("goodput_rps", "met every objective (goodput)", "c:green"))
    return [
        _rate_chart(
            "levels-output",
            "Output tokens against load",
            "tokens/s",
            levels,
            [("output_tok_s", "output tokens", "c:green")],
            "Tokens that arrived while the level lasted.",
        ),
        _rate_chart(
            "levels-answers",
            "Answers and goodput against load",
            "requests/s",
            levels,
            answers,
            "Answers count where they ended, goodput where the request was sent.",
        ),
    ]


def _rate_chart(
    name: str, title: str, unit: str, levels: Sequence[LevelFigures], rates: Sequence[tuple[str, str, str]], note: str
) -> Chart | None:
    traces = [_trace(levels, [rate_of(rate, level) for level in levels], label, color) for rate, label, color in rates]
    if all(value is None for trace in traces for value in listed(trace["y"])):
        return None
    return Chart(name, title, traces, _layout(levels, axis(unit, rangemode="tozero")), note, _HEIGHT)


def _trace(levels: Sequence[LevelFigures], figures: Sequence[Figure], name: str, color: str) -> Trace:
    """Points with their intervals; joined by a line if the load only rose, else labelled with the level's number."""
    joined = rising(list(levels))
    loads = [level.load or 0.0 for level in levels]
    values = [math.nan if figure.value is None else float(figure.value) for figure in figures]
    down, up = ([_distance(figure, end) for figure in figures] for end in (0, 1))
    trace: Trace = {
        "type": "scatter",
        "mode": "lines+markers" if joined else "markers+text",
        "x": numbers(loads),
        "y": numbers(values),
        "name": name,
        "line": {"color": color, "width": 2},
        "marker": {"color": color, "size": 8},
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": numbers(up),
            "arrayminus": numbers(down),
            "color": color,
            "thickness": 1,
            "width": 3,
        },
        "customdata": [plain(text.level_name(level)) for level in levels],
        "hovertemplate": "%{customdata}: %{y:.4g}<extra>" + plain(name) + "</extra>",
    }
    if not joined:
        trace |= {"text": [str(level.number) for level in levels], "textposition": "top center"}
    return trace


def _distance(figure: Figure, end: int) -> float:
    """Distance from the value to the lower (0) or upper (1) end of its interval; 0 if there is none."""
    edge = figure.ends[end]
    return 0.0 if figure.value is None or edge is None else abs(edge - figure.value)


def _layout(levels: Sequence[LevelFigures], y: Mapping[str, object]) -> dict[str, object]:
    unit = "requests/s asked for" if levels[0].rate is not None else "users"
    return {"xaxis": axis(unit, rangemode="tozero"), "yaxis": y, "hovermode": "closest", "showlegend": True}
