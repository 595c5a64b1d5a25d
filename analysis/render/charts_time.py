"""Charts on the shared time axis: what users saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from tokenswarm.analysis import wording as text
from tokenswarm.analysis.figures.flow import output_flow, prompt_flow
from tokenswarm.analysis.figures.quantities import is_ok, latency_of, lateness_ms
from tokenswarm.analysis.figures.rates import by_stretch, own_sums, sums_between
from tokenswarm.analysis.figures.timeline import TimeBins, counts_by_bin, mean_by_bin, percentiles_by_bin, thin
from tokenswarm.analysis.figures.window import Window
from tokenswarm.analysis.read.run_folder import Run
from tokenswarm.analysis.render.chart import (
    BAD,
    P50,
    P95,
    P99,
    PALETTE,
    Chart,
    Trace,
    axis,
    latency_axis,
    line,
    numbers,
    plain,
)
from tokenswarm.analysis.render.time_axis import limit_line, time_layout

from tokenswarm.base.foreign import listed, table
from tokenswarm.contract.limits import observations_needed
from tokenswarm.contract.metric import Latency, Place, Rate
from tokenswarm.contract.metrics import METRICS
from tokenswarm.contract.objectives import Objective, RequestBounds, bounds_of_run

_POINTS = 2500
"""Maximum number of single requests drawn behind the percentile lines."""
_PERCENTILE_COLOURS = (P50, P95, P99)
_FEWEST_FOR_HEAT = 100
_HEAT_ROWS = 28
_HEAT_COLOURS = [[step / 4, f"c:heat-{step}"] for step in range(5)]
"""One hue, from close to the panel's own colour to far from it: readable without colour vision, in either theme."""
_NEAR = 1.4
"""An objective is drawn if it is at most this many times the longest latency."""
_AT_THE_TOP, _ROOM = 0.9, 1.12
"""An objective above this share of the longest latency extends the axis by the second factor."""


def primary_latency(rows: pd.DataFrame) -> tuple[str, str]:
    """The latency in the time charts: TTFT, or E2E for answers that were not streamed."""
    return ("ttft_ms", "TTFT") if rows["ttft_ms"].notna().any() else ("e2e_ms", "E2E")


def run_charts(
    run: Run, timeline: TimeBins, window: Window | None, objectives: list[Objective]
) -> tuple[list[Chart], list[str]]:
    """Latency, rates, shares, errors and lateness over time, in every phase; and, in words, shares that never changed,
    whose charts would be flat.
    """
    rows = run.requests
    rates, flat = _rates(rows, timeline, window, bounds_of_run(run.manifest))
    charts = [
        _latency(rows, timeline, window, objectives),
        *_heat(rows, timeline, window),
        *_latencies(rows, timeline, window),
        *rates,
    ]
    failed = rows[(rows["status"] == "failed").to_numpy()]
    if len(failed):
        charts.append(_errors(failed, timeline, window))
    late = lateness_ms(rows)
    if not np.isnan(late).all():
        charts.append(_lateness(rows, late, timeline, window))
    return charts, flat


def _heat(rows: pd.DataFrame, timeline: TimeBins, window: Window | None) -> list[Chart]:
    """All latencies at each time: it shows what percentile lines hide, such as two modes."""
    ok = rows.loc[is_ok(rows), ["sent_at", "ttft_ms", "e2e_ms"]]
    column, name = primary_latency(ok)
    known = ok[ok[column].notna() & (ok[column] > 0)]
    if len(known) < _FEWEST_FOR_HEAT:
        return []
    values = np.log10(known[column].to_numpy())
    edges = np.linspace(values.min() - 1e-6, values.max() + 1e-6, _HEAT_ROWS + 1)
    bins = timeline.bin_of(known["sent_at"].to_numpy())
    inside = (bins >= 0) & (bins < timeline.bins)
    cells = np.zeros((_HEAT_ROWS, timeline.bins))
    np.add.at(cells, (np.clip(np.digitize(values[inside], edges) - 1, 0, _HEAT_ROWS - 1), bins[inside]), 1)
    in_each = cells.sum(axis=0)
    shares = 100.0 * cells / np.maximum(in_each, 1)
    # A bin with few, equal requests must not dominate the colour scale.
    telling = in_each >= observations_needed(95)
    darkest = shares[:, telling].max() if telling.any() else shares.max()
    shares[cells == 0] = np.nan
    data = [
        {
            "type": "heatmap",
            "x": numbers(timeline.centres(), 6),
            "y": numbers(10.0**edges),
            "z": [numbers(row, 3) for row in shares],
            "zmin": 0,
            "zmax": float(f"{darkest:.3g}"),
            "colorscale": _HEAT_COLOURS,
            "colorbar": {
                "orientation": "h",
                "x": 1,
                "xanchor": "right",
                "y": 1.02,
                "yanchor": "bottom",
                "len": 0.22,
                "thickness": 8,
                "ticksuffix": "%",
                "nticks": 4,
                "tickfont": {"size": 10},
            },
            "hovertemplate": "%{z:.0f}% of the requests of this moment<extra></extra>",
            "showlegend": False,
            "name": name,
        }
    ]
    y = latency_axis(10.0 ** edges[0] / 0.8, 10.0 ** edges[-1] / 1.25, f"{name} (ms)") | {"rangemode": "normal"}
    # As narrow as the margins of the charts on the same axis.
    y["ticktext"] = [f"{tick:,g}" for tick in listed(y["tickvals"])]
    return [
        Chart(
            "heat",
            f"{name} of all requests over time",
            data,
            time_layout(timeline, window, y, hovermode="closest", margin={"t": 40, "autoexpand": False}),
            f"Share of the requests sent in each {timeline.width_s:g} s, on a log scale; every successful one is in.",
            320,
            "time",
            True,
        )
    ]


def _latencies(rows: pd.DataFrame, timeline: TimeBins, window: Window | None) -> list[Chart]:
    """Percentiles over time of the measured latencies that the registry lists for this place."""
    ok = rows[is_ok(rows)]
    charts, (main, _) = [], primary_latency(ok)
    for latency in METRICS.latencies_at(Place.TIME):
        values = latency_of(latency, ok)
        known = ~np.isnan(values)
        if latency.key == main or not known.any() or _repeats(latency, values, ok):
            continue
        bins = timeline.bin_of(ok["sent_at"].to_numpy()[known])
        qs = latency.shown_percentiles(Place.TIME)
        percentiles = percentiles_by_bin(bins, timeline.bins, values[known], qs)
        x, label = numbers(timeline.centres(), 6), latency.at(Place.TIME)
        data = [
            line(
                x,
                numbers(percentiles[q]),
                f"p{q:g}",
                _PERCENTILE_COLOURS[place % len(_PERCENTILE_COLOURS)],
                mode="lines+markers",
                marker={"size": 4},
            )
            for place, q in enumerate(qs)
            if not np.isnan(percentiles[q]).all()
        ]
        note = f"{_capital(label.note)} of the requests sent in each {timeline.width_s:g} s."
        charts.append(
            Chart(
                latency.name,
                plain(label.title),
                data,
                time_layout(timeline, window, axis(f"{plain(label.title)} (ms)")),
                note,
                240,
                "time",
            )
        )
    return charts


def _repeats(latency: Latency, values: np.ndarray, ok: pd.DataFrame) -> bool:
    """Whether a latency equals another for every request, as TTFO equals TTFT without reasoning."""
    other = METRICS.latency(f"{latency.repeats}_ms")
    return other is not None and bool(np.array_equal(values, latency_of(other, ok), equal_nan=True))


def _capital(words: str | None) -> str:
    return words[0].upper() + words[1:] if words else ""


def _latency(rows: pd.DataFrame, timeline: TimeBins, window: Window | None, objectives: list[Objective]) -> Chart:
    ok = rows.loc[is_ok(rows), ["sent_at", "ttft_ms", "e2e_ms"]]
    column, name = primary_latency(ok)
    known = ok[ok[column].notna()]
    bins = timeline.bin_of(known["sent_at"].to_numpy())
    percentiles = percentiles_by_bin(bins, timeline.bins, known[column].to_numpy(), (50, 95, 99))
    some = thin(known, _POINTS)
    data: list[Trace] = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "single requests",
            "hoverinfo": "skip",
            "x": numbers(timeline.axis(some["sent_at"].to_numpy()), 6),
            "y": numbers(some[column].to_numpy(), 4),
            "marker": {"size": 4, "color": "c:grey", "opacity": 0.28},
        }
    ]
    x = numbers(timeline.centres(), 6)
    for q, color in ((50, P50), (95, P95), (99, P99)):
        if not np.isnan(percentiles[q]).all():
            data.append(line(x, numbers(percentiles[q]), f"p{q}", color, mode="lines+markers", marker={"size": 4}))
    note = f"Percentiles of the requests sent in each {timeline.width_s:g} s; a p95 needs 20 of them, a p99 100."
    layout = time_layout(timeline, window, axis(f"{name} (ms)"), named_bands=True)
    limits = [objective.limit for objective in objectives if objective.metric == column]
    # A line far above the data would flatten it.
    highest = float(np.nanmax(known[column].to_numpy(), initial=0.0))
    near = [limit for limit in limits if limit <= _NEAR * highest]
    if near and max(near) > _AT_THE_TOP * highest:  # its line would strike out the names of the phases
        layout["yaxis"] = {**table(layout["yaxis"]), "range": [0.0, _ROOM * max(*near, highest)]}
    layout["shapes"] = [*listed(layout["shapes"]), *map(limit_line, near)]
    if near:
        note += " Dashed: the objective."
    elif limits:
        note += f" The objective ({text.limit(min(limits), 'ms')}) is far above."
    return Chart("latency-time", f"{name} over time", data, layout, note, 320, "time", True)


@dataclass(frozen=True, slots=True)
class _Look:
    """How a rate's chart differs from the default: its name on the page, its line's name, its colour."""

    chart: str
    line: str
    colour: str


_LOOKS: Mapping[str, _Look] = {
    "output_tok_s": _Look("output-time", "output tokens", "c:green"),
    "total_tok_s": _Look("total-time", "prompt + output", "c:purple"),
}
_AXES: Mapping[str, str] = {"tok/s": "tokens/s", "req/s": "requests/s", "share": "%"}


def _rates(
    rows: pd.DataFrame, timeline: TimeBins, window: Window | None, bounds: RequestBounds
) -> tuple[list[Chart], list[str]]:
    """The measured rates and shares over time that the registry lists for this place; and, in words, constant
    shares.
    """
    charts: list[Chart] = []
    flat: list[str] = []
    measured = _Stretches(rows, bounds)
    for place, rate in enumerate(METRICS.rates_at(Place.TIME)):
        # A share needs more requests than a sum.
        line_of = timeline if rate.unit == "share" else timeline.finer()
        values = measured.values(rate, line_of.edges_unix)
        if np.isnan(values).all():
            continue
        if rate.unit == "share" and np.nanmin(values) == np.nanmax(values):
            flat.append(f"{plain(rate.title)} {text.percent(float(np.nanmax(values)))}")
            continue
        charts.append(_rate_chart(rate, values, line_of, window, PALETTE[place % len(PALETTE)]))
    return charts, flat


def _rate_chart(rate: Rate, values: np.ndarray, timeline: TimeBins, window: Window | None, colour: str) -> Chart:
    label, share = rate.at(Place.TIME), rate.unit == "share"
    look = _LOOKS.get(rate.name, _Look(f"{rate.name}-time", rate.title, colour))
    more: dict[str, object] = (
        {"fill": "tozeroy", "fillcolor": f"{look.colour}-fill"}
        if rate.name in _LOOKS
        else {"mode": "lines+markers", "marker": {"size": 4}, "connectgaps": True}
        if share
        else {}
    )
    trace = line(
        numbers(timeline.centres(), 6),
        numbers((100.0 if share else 1.0) * values),
        plain(look.line),
        look.colour,
        **more,
    )
    note = _capital(label.note or rate.meaning) + (f", of each {timeline.width_s:g} s." if share else ".")
    return Chart(
        look.chart,
        plain(label.title or rate.title),
        [trace],
        time_layout(timeline, window, axis(_AXES.get(rate.unit, rate.unit))),
        note,
        230,
        "time",
    )


class _Stretches:
    """Rates between evenly spaced edges. Sums are computed on demand, once per set of edges."""

    def __init__(self, rows: pd.DataFrame, bounds: RequestBounds) -> None:
        self._rows, self._bounds = rows, bounds
        self._sums: dict[int, dict[str, np.ndarray]] = {}

    def values(self, rate: Rate, edges: np.ndarray) -> np.ndarray:
        """The rate in each interval; NaN if unknown."""
        rows, width_s = self._rows, float(edges[1] - edges[0])
        if rate.name == "output_tok_s":  # these two without the other sums, which cost more
            return output_flow(rows).between(edges) / width_s
        if rate.name == "total_tok_s":
            known = rows["prompt_tokens"].notna().any()
            return (
                (output_flow(rows).between(edges) + prompt_flow(rows).between(edges)) / width_s
                if known
                else np.full(len(edges) - 1, np.nan)
            )
        if rate.name == "valid_output":
            checked = rows[rows["valid_output"].notna().to_numpy() & is_ok(rows)]
            bins = np.searchsorted(edges, checked["sent_at"].to_numpy(), "right") - 1
            return mean_by_bin(bins, len(edges) - 1, checked["valid_output"].to_numpy())
        if len(edges) not in self._sums:
            self._sums[len(edges)] = sums_between(rows, rows, edges, self._bounds)
        return by_stretch(rate, self._sums[len(edges)] | own_sums(rate, rows, edges))


def _errors(failed: pd.DataFrame, timeline: TimeBins, window: Window | None) -> Chart:
    bins = timeline.bin_of(failed["sent_at"].to_numpy())
    kinds = failed["error"].astype("object").where(failed["error"].notna(), "unknown").astype("str")
    data = []
    for index, kind in enumerate(kinds.value_counts().index):
        count = counts_by_bin(bins[(kinds == kind).to_numpy()], timeline.bins)
        data.append(
            {
                "type": "bar",
                "x": numbers(timeline.centres(), 6),
                "y": count.tolist(),
                "name": plain(kind),
                "marker": {"color": PALETTE[::-1][index % len(PALETTE)], "line": {"width": 0}},
            }
        )
    layout = time_layout(
        timeline,
        window,
        axis("failed requests", **_whole(failed, timeline)),
        barmode="stack",
        bargap=0.1,
        showlegend=True,
    )
    return Chart(
        "errors-time",
        "Failures over time",
        data,
        layout,
        f"By when the request was sent, per {timeline.width_s:g} s.",
        230,
        "time",
    )


def _whole(failed: pd.DataFrame, timeline: TimeBins) -> dict[str, object]:
    """Ticks at integers: there are no half failures."""
    most = counts_by_bin(timeline.bin_of(failed["sent_at"].to_numpy()), timeline.bins).max()
    return {"dtick": 1} if most <= 5 else {}


def _lateness(rows: pd.DataFrame, late: np.ndarray, timeline: TimeBins, window: Window | None) -> Chart:
    bins = timeline.bin_of(rows["sent_at"].to_numpy())
    percentiles = percentiles_by_bin(bins, timeline.bins, late, (50,))
    keep = (bins >= 0) & ~np.isnan(late)
    worst = np.full(timeline.bins, np.nan)
    np.fmax.at(worst, bins[keep], late[keep])
    x = numbers(timeline.centres(), 6)
    data = [line(x, numbers(worst), "latest", BAD), line(x, numbers(percentiles[50]), "median", P50)]
    return Chart(
        "lateness-time",
        "Arrivals late",
        data,
        time_layout(timeline, window, axis("ms")),
        "How much later than scheduled a request left.",
        230,
        "time",
    )
