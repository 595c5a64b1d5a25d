"""Interference on the page: the table of before, during and after, and each bystander by the time since the latest
disturbance.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tokenswarm.analysis import wording as text
from tokenswarm.analysis.figures.interference import (
    STRETCHES,
    TITLES,
    Probes,
    classes_of,
    disturbances,
    probes,
)
from tokenswarm.analysis.read.run_folder import Run
from tokenswarm.analysis.render.chart import Chart, ChartSection, axis, latency_axis, numbers

from tokenswarm.contract.summary.figure import Figure
from tokenswarm.contract.summary.interference_records import Interference, Stretch

_MOST_POINTS = 2000
_COLORS = ("c:sky", "c:vermillion", "c:orange")
_TITLE = "Interference"


def interference_rows(result: Interference | None) -> list[dict[str, object]]:
    """One row per latency and percentile: its value in each stretch, and the ratio to the one before."""
    rows: list[dict[str, Any]] = []
    for disturbed in result.latencies.values() if result is not None else ():
        stretches = (disturbed.before, disturbed.during, disturbed.after)
        rows.append({"name": disturbed.title, "cells": [{"value": "", "below": _counts(part)} for part in stretches]})
        for name in disturbed.rise:
            cells = [_cell(stretch.percentiles.get(name) or Figure()) for stretch in stretches]
            rows.append(
                {"name": name, "cells": [*cells, _cell(disturbed.rise[name]), _cell(disturbed.rise_after[name])]}
            )
    for row in rows:  # a reason for the whole row is shown once
        cells = row["cells"]
        if len({(cell["value"], cell["below"]) for cell in cells}) == 1:
            row["cells"] = [cells[0], *({**cell, "below": ""} for cell in cells[1:])]
    return rows


def _counts(part: Stretch) -> str:
    return f"{part.ok:,} ok" + (f", {part.failed:,} failed" if part.failed else "")


def _cell(figure: Figure) -> dict[str, str]:
    """A figure with its interval beneath, or why there is none."""
    if figure.value is None:
        return {"value": text.MISSING, "below": (figure.why or "").split(",")[0]}
    return {"value": text.number(figure.value), "below": text.interval(figure)}


def interference_section(run: Run, result: Interference | None) -> ChartSection:
    """Each bystander's latencies by the time since a disturbance began; nothing if no class disturbs."""
    classes = classes_of(run.manifest)
    if result is None or classes is None or not result.latencies:
        return ChartSection("bystanders", _TITLE)
    starts, length_s = disturbances(classes, run.requests, run.measured)
    charts = []
    for key, title in TITLES.items():
        seen = probes(classes, run.measured, key, starts, length_s)
        if len(seen.values) and seen.values.max() > 0:
            charts.append(_scatter(key, title, seen))
    return ChartSection(
        "bystanders",
        "Interference, request by request",
        charts,
        "Each point is a bystander's request, by when it was sent (or had its first token) after the latest "
        f"long prefill of {' or '.join(result.disturbers)} was sent.",
        nav="Bystanders",
    )


def _scatter(key: str, title: str, seen: Probes) -> Chart:
    known = ~np.isnan(seen.since_s) & (seen.values > 0)
    every = max(1, int(known.sum()) // _MOST_POINTS)
    traces = []
    for number, name in enumerate(STRETCHES):
        chosen = known & (seen.stretch == number)
        x, y = seen.since_s[chosen][::every], seen.values[chosen][::every]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": numbers(x),
                "y": numbers(y),
                "name": name,
                "marker": {"color": _COLORS[number], "size": 5, "opacity": 0.6},
                "hovertemplate": "%{x:.2f} s: %{y:.4g} ms<extra>" + name + "</extra>",
            }
        )
    shown = seen.values[known] if known.any() else seen.values
    layout = {
        "xaxis": axis("seconds since the latest long prefill was sent"),
        "yaxis": latency_axis(float(shown.min()), float(shown.max()), f"{title} (log scale)"),
        "hovermode": "closest",
        "showlegend": True,
    }
    return Chart(f"interference-{key.replace('_', '-')}", f"{title} of bystanders", traces, layout, height=320)
