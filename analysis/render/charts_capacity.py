"""The charts of a capacity, for one series or two: attainment, latency and cost against load, and the frontier."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tokenswarm.analysis.render.capacity_words import load_words
from tokenswarm.analysis.render.chart import PALETTE, Chart, Trace, axis, latency_axis, numbers, plain

from tokenswarm.contract.capacity_record import COST, ENERGY, OUTPUT, TTFT, UNITS, USER_SPEED, Capacity, CapacityLevel
from tokenswarm.contract.summary.figure import Figure

Series = tuple[str, Capacity]
_COLORS = {"pass": "c:green", "fail": "c:vermillion", "undecided": "c:grey"}
_HEIGHT = 320
_OF_A_TOKEN = {
    COST: (
        "cost",
        "Cost against load",
        "$ per million output tokens",
        "What the GPUs cost while they gave a million output tokens.",
    ),
    ENERGY: ("energy", "Energy against load", "J per output token", "What the GPUs took, over the output tokens."),
}
"""Charts of what a token costs: key, title, axis, words."""
_DECADE = 6.0
"""Ratio of the highest to the lowest load from which their axis is logarithmic."""


def capacity_charts(series: Sequence[Series]) -> list[Chart]:
    """All charts for which these series have data. `series`: (name, record); the first one's points are drawn by
    state.
    """
    drawn = [_attainment(series), _frontier(series), _against_load(series, TTFT)]
    drawn += [_against_load(series, COST), _against_load(series, ENERGY)]
    return [chart for chart in drawn if chart is not None]


def _attainment(series: Sequence[Series]) -> Chart | None:
    """Attainment with intervals, the target, and the capacity's interval as a band."""
    record = series[0][1]
    traces: list[dict[str, object]] = []
    for place, (name, each) in enumerate(series):
        groups = [(state, _COLORS[state]) for state in _COLORS] if len(series) == 1 else [("", PALETTE[place % 6])]
        for state, color in groups:
            levels = [
                level
                for level in each.levels
                if level.attainment is not None and level.state != "limited" and state in ("", level.state)
            ]
            if levels:
                traces.append(
                    _points(
                        levels,
                        [_share(level) for level in levels],
                        state or name,
                        color,
                        "%{x:,.4g}: %{y:.2f}% in time",
                    )
                )
    if not traces:
        return None
    shapes = [_target_line(100 * record.target)]
    for place, (_, each) in enumerate(series):
        low, high = each.capacity.ci95
        if low and high and high > low:
            shapes.append(
                {
                    "type": "rect",
                    "yref": "paper",
                    "y0": 0,
                    "y1": 1,
                    "x0": low,
                    "x1": high,
                    "layer": "below",
                    "line": {"width": 0},
                    "opacity": 0.18,
                    "fillcolor": "c:blue" if len(series) == 1 else PALETTE[place % 6],
                }
            )
    layout = {
        "xaxis": _load_axis(series),
        "yaxis": axis("% of the requests in time", range=[-3, 104]),
        "shapes": shapes,
        "hovermode": "closest",
        "showlegend": True,
    }
    return Chart(
        "attainment",
        "Attainment against load",
        traces,
        layout,
        "Share of the sent requests that met every limit, with an interval that holds at any look; dashed: "
        f"the target of {100 * record.target:g}%; band: the 95% interval of the capacity.",
        _HEIGHT,
        wide=True,
    )


def _frontier(series: Sequence[Series]) -> Chart | None:
    """Output tokens/s per GPU against tokens/s per user: one point per level, labelled with its load."""
    traces: list[dict[str, object]] = []
    for place, (name, record) in enumerate(series):
        color, unit = PALETTE[place % 6], UNITS[record.capacity.unit]
        levels = [each for each in _by_load(record) if _has(each, USER_SPEED) and _has(each, OUTPUT)]
        if len(levels) < 2:
            continue
        trace = _points(
            levels,
            [each.figures[OUTPUT] for each in levels],
            name,
            color,
            "%{text} " + unit + ": %{x:.3g} tok/s a user, %{y:,.4g} tok/s<extra></extra>",
            x=[each.figures[USER_SPEED] for each in levels],
        )
        dim = ["c:grey" if each.dominated else color for each in levels]
        trace |= {
            "mode": "lines+markers+text",
            "text": [load_words(each.load) for each in levels],
            "textposition": "top right",
            "textfont": {"size": 11},
            "line": {"color": color, "width": 1},
        }
        trace["marker"] = {"color": dim, "size": 8}
        traces += [trace, *_marks(record, levels, "" if len(series) == 1 else f" of {name}")]
    if not traces:
        return None
    layout = {
        "xaxis": axis("output tokens/s that a user sees (1 / TPOT p50)", rangemode="tozero"),
        "yaxis": axis("output tokens/s per GPU", rangemode="tozero"),
        "hovermode": "closest",
        "showlegend": True,
    }
    return Chart(
        "frontier",
        "Frontier: throughput against speed for a user",
        traces,
        layout,
        "Each point is a load, with 95% intervals on both axes. Grey: dominated, another point is surely "
        "better on one axis and not surely worse on the other. SLO edge: the highest load that surely passes; "
        "knee: the most throughput for its response time.",
        380,
        wide=True,
    )


def _marks(record: Capacity, levels: Sequence[CapacityLevel], of: str) -> list[Trace]:
    """The SLO's boundary and the knee, as rings around their points."""
    wanted = (
        (record.capacity.sure_pass, f"SLO edge{of}", "c:green", "circle-open"),
        (record.knee, f"knee{of}", "c:purple", "diamond-open"),
    )
    marks: list[Trace] = []
    for load, name, color, symbol in wanted:
        level = next((each for each in levels if each.load == load), None)
        if level is not None:
            marks.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": plain(name),
                    "hoverinfo": "skip",
                    "x": numbers([_value(level.figures[USER_SPEED])]),
                    "y": numbers([_value(level.figures[OUTPUT])]),
                    "marker": {"symbol": symbol, "size": 18, "color": color, "line": {"width": 2}},
                }
            )
    return marks


def _against_load(series: Sequence[Series], name: str) -> Chart | None:
    """One figure of each level against load."""
    traces, values = [], []
    for place, (label, record) in enumerate(series):
        levels = [each for each in _by_load(record) if each.state != "limited"]
        if any(_has(each, name) for each in levels):
            figures = [each.figures.get(name, Figure()) for each in levels]  # unknown values are gaps in the line
            trace = _points(levels, figures, label, PALETTE[place % 6], "%{x:,.4g}: %{y:,.4g}")
            traces.append(trace | {"mode": "lines+markers"})
            values += [end for figure in figures for end in (figure.value, *figure.ends) if end]
    if not traces:
        return None
    if name in _OF_A_TOKEN:
        key, title, unit, words = _OF_A_TOKEN[name]
        of_a_token = {
            "xaxis": _load_axis(series),
            "yaxis": axis(unit, rangemode="tozero"),
            "hovermode": "closest",
        }
        return Chart(key, title, traces, of_a_token, words, _HEIGHT)
    limit = series[0][1].slo.get("ttft_ms")
    shapes = [] if limit is None else [_target_line(limit)]
    layout: dict[str, object] = {
        "xaxis": _load_axis(series),
        "shapes": shapes,
        "hovermode": "closest",
        "yaxis": latency_axis(min(values), max([*values, limit or 0.0]), "TTFT p95 (log scale)"),
    }
    dashed = "" if limit is None else f"; dashed: the limit of {limit:g} ms"
    return Chart("ttft", "TTFT p95 against load", traces, layout, f"With 95% intervals{dashed}.", _HEIGHT)


def _target_line(y: float) -> dict[str, object]:
    return {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": y,
        "y1": y,
        "line": {"color": "c:muted", "width": 1.5, "dash": "dash"},
    }


def _points(
    levels: Sequence[CapacityLevel],
    figures: Sequence[Figure],
    name: str,
    color: str,
    hover: str,
    x: Sequence[Figure] | None = None,
) -> dict[str, object]:
    trace: dict[str, object] = {
        "type": "scatter",
        "mode": "markers",
        "name": plain(name),
        "y": numbers([_value(each) for each in figures]),
        "x": numbers([level.load for level in levels] if x is None else [_value(each) for each in x]),
        "marker": {"color": color, "size": 9},
        "error_y": _error(figures, color),
        "hovertemplate": hover if hover.endswith("</extra>") else hover + f"<extra>{plain(name)}</extra>",
    }
    return trace if x is None else trace | {"error_x": _error(x, color)}


def _error(figures: Sequence[Figure], color: str) -> dict[str, object]:
    def distance(end: int) -> list[float]:
        return [abs(float(edge) - _value(each)) if (edge := each.ends[end]) is not None else 0.0 for each in figures]

    return {
        "type": "data",
        "symmetric": False,
        "array": numbers(distance(1)),
        "arrayminus": numbers(distance(0)),
        "color": color,
        "thickness": 1,
        "width": 3,
    }


def _share(level: CapacityLevel) -> Figure:
    """Attainment in percent."""
    return Figure(100.0 * (level.attainment or 0.0), "%", level.requests, [100.0 * end for end in level.ci95])


def _load_axis(series: Sequence[Series]) -> dict[str, object]:
    loads = [level.load for _, record in series for level in record.levels]
    title = UNITS[series[0][1].capacity.unit]
    if max(loads) <= _DECADE * min(loads):
        return axis(title)
    first, last = math.log10(min(loads)) - 0.06, math.log10(max(loads)) + 0.06
    ticks = [step * 10.0**power for power in range(math.floor(first), math.ceil(last) + 1) for step in (1, 2, 5)]
    ticks = [tick for tick in ticks if first <= math.log10(tick) <= last]
    return axis(
        f"{title} (log scale)",
        type="log",
        range=[first, last],
        tickvals=numbers(ticks),
        ticktext=[f"{tick:,g}" for tick in ticks],
        minor={"showgrid": False},
    )


def _by_load(record: Capacity) -> list[CapacityLevel]:
    return sorted(record.levels, key=lambda level: level.load)


def _has(level: CapacityLevel, name: str) -> bool:
    return name in level.figures and level.figures[name].value is not None


def _value(figure: Figure) -> float:
    return math.nan if figure.value is None else float(figure.value)
