"""Charts of the distribution of latencies, and of what they depend on."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from tokenswarm.analysis import wording as text
from tokenswarm.analysis.figures.quantities import is_ok, outcome_counts
from tokenswarm.analysis.figures.statistics import interpolate
from tokenswarm.analysis.figures.timeline import thin
from tokenswarm.analysis.render.chart import BAD, GOOD, IDLE, PALETTE, Chart, axis, latency_axis, line, numbers, plain
from tokenswarm.analysis.render.charts_time import primary_latency
from tokenswarm.analysis.render.figures import latency_title

from tokenswarm.contract.limits import observations_needed
from tokenswarm.contract.objectives import Objective

_MOST_CLASSES = len(PALETTE)
_LAST_TURN = 12
"""Turns beyond this one share a box, because they are rare and a box of few requests says little."""
_PROMPT_GROUPS = 6
"""Number of groups by prompt length, of equal size."""
_FEWEST = 5
"""Minimum requests for a box; its whiskers need as many as a p95."""
_BOX_NOTE = "Box: middle half. Whiskers: p5 to p95, from 20 requests on."
_CACHED_SHARES = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)
_QUANTILES = np.unique(np.concatenate([np.linspace(0, 95, 191), np.linspace(95, 100, 101)]))
"""Points of a drawn distribution, denser in the tail."""


def shape_charts(rows: pd.DataFrame, objectives: list[Objective]) -> list[Chart]:
    """The charts that this run's rows support: distribution, turns, cached share, reasoning, valid output."""
    ok = rows[is_ok(rows)]
    charts = []
    if len(ok):
        possible = (
            _distribution(ok, objectives),
            _gap_tail(ok),
            _by_prompt(ok),
            _by_cached(ok),
            _by_turn(ok),
            *_reasoning(ok),
        )
        charts += [chart for chart in possible if chart]
    if rows["valid_output"].notna().any():
        charts.append(_valid_output(rows))
    return charts


def _ecdf(values: np.ndarray, name: str, color: str) -> dict[str, object] | None:
    ordered = np.sort(values[~np.isnan(values)])
    if not len(ordered):
        return None
    x = interpolate(ordered, _QUANTILES)
    return line(numbers(x), numbers(_QUANTILES, 6), name, color, hovertemplate="%{y:.1f}% within %{x:,.0f} ms")


def _ecdf_layout(traces: list[dict[str, Any]], title: str) -> dict[str, Any]:
    low = min(trace["x"][0] for trace in traces)
    high = max(trace["x"][-1] for trace in traces)
    return {
        "xaxis": latency_axis(low, high, title),
        "yaxis": axis("share of requests (%)", range=[0, 101]),
        "hovermode": "closest",
    }


def _distribution(ok: pd.DataFrame, objectives: list[Objective]) -> Chart | None:
    column, name = primary_latency(ok)
    classes = ok["user_class"].astype("str").value_counts().index[:_MOST_CLASSES]
    drawn = (
        _ecdf(ok.loc[(ok["user_class"] == user).to_numpy(), column].to_numpy(), plain(user), PALETTE[index])
        for index, user in enumerate(classes)
    )
    traces = [trace for trace in drawn if trace]
    if not traces:
        return None
    layout = _ecdf_layout(traces, f"{name} (log scale)")
    layout["showlegend"] = len(traces) > 1
    limits = [o for o in objectives if o.metric == column and o.limit > 0]
    if limits:
        low, high = (10**edge for edge in layout["xaxis"]["range"])
        bounds = [o.limit for o in limits]
        layout["xaxis"] = latency_axis(min(low / 0.8, *bounds), max(high / 1.25, *bounds), f"{name} (log scale)")
        layout["shapes"], layout["annotations"] = zip(*map(_objective_line, limits), strict=True)
    return Chart(
        "distribution",
        f"{name} distribution",
        traces,
        layout,
        f"Share of requests whose {name} was at most this long.",
        300,
    )


def _objective_line(objective: Objective) -> tuple[dict[str, object], dict[str, object]]:
    """A dashed vertical line at an objective, with its name."""
    line_style = {"color": BAD, "width": 1.5, "dash": "dash"}
    x = {"xref": "x", "yref": "paper", "x0": objective.limit, "x1": objective.limit, "y0": 0, "y1": 1}
    name = {
        "xref": "x",
        "yref": "paper",
        "x": float(np.log10(objective.limit)),
        "y": 0.04,
        "xanchor": "right",
        "xshift": -4,
        "showarrow": False,
        "text": f"SLO p{objective.percentile:g}",
        "font": {"size": 11, "color": BAD},
    }
    return {"type": "line", "line": line_style} | x, name


def _boxes(
    groups: list[tuple[str, np.ndarray]], color: str, x_title: str, y_title: str
) -> tuple[list[dict[str, Any]], dict[str, Any]] | None:
    """Boxes from p25 to p75 with whiskers from p5 to p95, computed here so that the page contains no raw rows."""
    known = [(label, np.sort(v[~np.isnan(v)])) for label, v in groups]
    known = [(label, v) for label, v in known if len(v) >= _FEWEST]
    if not known:
        return None
    low, q1, mid, q3, high = np.array([interpolate(v, np.array([5, 25, 50, 75, 95])) for _, v in known]).T
    few = np.array([len(v) < observations_needed(95) for _, v in known])
    low, high = np.where(few, q1, low), np.where(few, q3, high)
    labels = [f"{label}<br>n={text.count(len(v))}" for label, v in known]
    trace = {
        "type": "box",
        "x": labels,
        "lowerfence": numbers(low),
        "q1": numbers(q1),
        "median": numbers(mid),
        "q3": numbers(q3),
        "upperfence": numbers(high),
        "marker": {"color": color},
        "line": {"color": color},
        "fillcolor": f"{color}-fill",
        "showlegend": False,
        "name": "",
        "hoverinfo": "y",
    }
    layout = {
        "xaxis": axis(x_title, type="category", range=_roomy(len(known)), tickfont={"size": 10.5}),
        "yaxis": axis(y_title, rangemode="tozero"),
        "hovermode": "closest",
    }
    return [trace], layout


def _roomy(boxes: int) -> list[float]:
    """A range for a category axis that keeps a few boxes from getting too wide."""
    pad = max(0.0, (6 - boxes) / 2)
    return [-0.5 - pad, boxes - 0.5 + pad]


def _gap_tail(ok: pd.DataFrame) -> Chart | None:
    """How long answers stall while streaming. Rows have only three numbers about each stream's gaps."""
    drawn = (
        _ecdf(ok[column].to_numpy(), name, color)
        for column, name, color in (
            ("icl_p50_ms", "median gap of a request", "c:sky"),
            ("icl_p99_ms", "its 99th percentile", "c:blue"),
            ("icl_max_ms", "its longest", "c:vermillion"),
        )
    )
    traces = [trace for trace in drawn if trace]
    if not traces:
        return None
    layout = _ecdf_layout(traces, "gap between chunks (log scale)")
    return Chart(
        "gap-tail",
        "Gaps between chunks (ICL)",
        traces,
        layout,
        "Share of requests whose median, 99th percentile and longest gap was at most this long.",
        300,
    )


def _by_prompt(ok: pd.DataFrame) -> Chart | None:
    """TTFT by prompt length, which shows the cost of prefill. In tokens, or in characters if tokens were not
    counted.
    """
    column, name = primary_latency(ok)
    length, unit = ("prompt_tokens", "tokens") if ok["prompt_tokens"].notna().any() else ("prompt_chars", "characters")
    known = ok[ok[length].notna()]
    lengths = known[length].to_numpy()
    if not len(known) or lengths.min() == lengths.max():
        return None
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, _PROMPT_GROUPS + 1)).round())
    values = known[column].to_numpy()
    groups = []
    for number, (low, high) in enumerate(pairwise(edges)):
        inside = (lengths >= low) & ((lengths <= high) if number == len(edges) - 2 else (lengths < high))
        groups.append((f"{text.count(int(low))}–{text.count(int(high))}", values[inside]))
    drawn = _boxes(groups, "c:purple", f"prompt length ({unit})", f"{name} (ms)")
    return Chart("by-prompt", f"{name} by prompt length", *drawn, _BOX_NOTE, 300) if drawn else None


def _by_turn(ok: pd.DataFrame) -> Chart | None:
    turns = ok["turn"].to_numpy()
    if not np.nanmax(turns, initial=0) > 1:
        return None
    column, name = primary_latency(ok)
    values = ok[column].to_numpy()
    last = int(min(np.nanmax(turns), _LAST_TURN + 1))
    groups = [(str(t), values[turns == t]) for t in range(1, min(last, _LAST_TURN) + 1)]
    if last > _LAST_TURN:
        groups.append((f">{_LAST_TURN}", values[turns > _LAST_TURN]))
    drawn = _boxes(groups, "c:blue", "turn of the conversation", f"{name} (ms)")
    if not drawn:
        return None
    # Many boxes with their counts need the page's full width, because vertical labels are hard to read.
    return Chart("by-turn", f"{name} by turn", *drawn, _BOX_NOTE, 300, wide=len(drawn[0][0]["x"]) > 8)


def _by_cached(ok: pd.DataFrame) -> Chart | None:
    column, name = primary_latency(ok)
    known = ok[ok["cached_tokens"].notna() & (ok["prompt_tokens"] > 0)]
    cached = (known["cached_tokens"] / known["prompt_tokens"]).to_numpy()
    if not len(known) or not cached.max() > 0:
        return None
    values = known[column].to_numpy()
    groups = [("none", values[cached <= 0])]
    for low, high in pairwise(_CACHED_SHARES):
        groups.append((f"{100 * low:.0f}–{100 * high:.0f}%", values[(cached > low) & (cached <= high)]))
    drawn = _boxes(groups, "c:green", "share of the prompt found in the cache", f"{name} (ms)")
    return Chart("by-cached", f"{name} by cached share", *drawn, _BOX_NOTE, 300) if drawn else None


def _reasoning(ok: pd.DataFrame) -> list[Chart]:
    thought = ok[(ok["ttfo_ms"] - ok["ttft_ms"]).to_numpy() > 0]
    if not len(thought):
        return []
    drawn = [
        _ecdf(ok[c].to_numpy(), latency_title(c), color)
        for c, color in (("ttft_ms", "c:sky"), ("ttfo_ms", "c:blue"), ("e2e_ms", "c:vermillion"))
    ]
    traces = [trace for trace in drawn if trace]
    layout = _ecdf_layout(traces, "time since the request was sent (log scale)")
    charts = [
        Chart(
            "reasoning",
            "First token, first answer token, whole answer",
            traces,
            layout,
            "Between TTFT and TTFO the model thinks; the user of an answer waits for TTFO.",
            300,
        )
    ]
    counted = thin(thought[thought["reasoning_tokens"].notna()], 1500)
    if len(counted):
        trace = {
            "type": "scatter",
            "mode": "markers",
            "name": "request",
            "x": numbers(counted["reasoning_tokens"]),
            "y": numbers(counted["ttfo_ms"] / 1000.0),
            "marker": {"size": 5, "color": "c:blue", "opacity": 0.45},
            "hovertemplate": "%{x} reasoning tokens: %{y:.2f} s",
        }
        layout = {
            "xaxis": axis("reasoning tokens", rangemode="tozero"),
            "yaxis": axis("TTFO (s)", rangemode="tozero"),
            "hovermode": "closest",
        }
        charts.append(Chart("thinking", "TTFO by length of reasoning", [trace], layout, "One dot a request.", 300))
    return charts


def _valid_output(rows: pd.DataFrame) -> Chart:
    counts = outcome_counts(rows)
    checked = rows.loc[is_ok(rows), "valid_output"]
    valid, wrong = int((checked == 1.0).sum()), int((checked == 0.0).sum())
    parts = [
        ("valid answer", valid, GOOD),
        ("invalid answer", wrong, "c:orange"),
        ("not checked", counts.ok - valid - wrong, IDLE),
        ("failed", counts.failed, BAD),
        ("cancelled", counts.cancelled, "c:purple"),
    ]
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "y": [""],
            "x": [100.0 * n / counts.sent],
            "name": f"{name}: {n:,}",
            "marker": {"color": color},
            "hovertemplate": f"{n:,} requests (%{{x:.1f}}%)",
        }
        for name, n, color in parts
        if n
    ]
    layout = {
        "barmode": "stack",
        "xaxis": axis("share of requests sent (%)", range=[0, 100]),
        "yaxis": {"visible": False},
        "hovermode": "closest",
        "showlegend": True,
        "legend": {"traceorder": "normal"},
        "bargap": 0.35,
    }
    return Chart("valid-output", "Answers that passed the scenario's check", data, layout, "", 190)
