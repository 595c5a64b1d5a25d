"""All results on one page, and as a terminal list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from rich.table import Table
from rich.text import Text
from tokenswarm.analysis import wording as text
from tokenswarm.analysis.library.entries import COLUMNS, DAMAGED, RUN, Entry
from tokenswarm.analysis.library.trends import Trend
from tokenswarm.analysis.render.assets import environment, text_page

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 560.0, 150.0, 56.0, 10.0, 12.0, 22.0
_GOOD, _BAD = "met", "missed"
_TONES: Mapping[str, str] = {
    "PASSED": _GOOD,
    "RUNNING": "unknown",
    "UNDETERMINED": "undetermined",
    "NO REPORT": "undetermined",
    "INCOMPLETE": "undetermined",
    "UNCHECKED": "undetermined",
    "ENDED EARLY": "undetermined",
}
_STYLES = {_GOOD: "green", _BAD: "red", "undetermined": "yellow", "unknown": "dim"}


@dataclass(frozen=True)
class _Dot:
    x: float
    y: float
    top: float
    bottom: float
    title: str
    href: str
    version: str


def render_library(entries: Sequence[Entry], trends: Sequence[Trend]) -> str:
    """index.html: one file that opens offline, with links to the pages of the runs beside it."""
    return (
        environment()
        .get_template("library.html.j2")
        .render(
            columns=COLUMNS,
            rows=[_row(entry) for entry in entries],
            trends=[_chart(trend) for trend in trends],
            kinds=sorted({entry.kind for entry in entries}),
            scenarios=sorted({entry.scenario for entry in entries} - {""}),
            engines=sorted({entry.engine for entry in entries} - {""}),
            count=len(entries),
            simulated=_how_many_simulated(entries),
            **text_page("library.js"),
        )
    )


def _how_many_simulated(entries: Sequence[Entry]) -> str:
    count = sum(entry.simulated for entry in entries)
    return "" if not count else "ALL" if count == len(entries) else f"{count:,}"


def _row(entry: Entry) -> dict[str, object]:
    return {
        "kind": entry.kind,
        "started": _started(entry),
        "engine": entry.engine_words,
        "engine_name": entry.engine,
        "model": entry.model,
        "scenario": entry.scenario,
        "load": entry.load_words,
        "label": entry.label,
        "outcome": entry.outcome or entry.kind,
        "tone": tone(entry),
        "sentence": entry.sentence,
        "simulated": entry.simulated,
        "name": entry.name,
        "href": _href(entry),
        "cells": [_cell(entry, column.key) for column in COLUMNS],
    }


def tone(entry: Entry) -> str:
    """The colour class of an outcome: met, missed, undetermined or unknown."""
    if entry.kind == DAMAGED:
        return _BAD
    return _TONES.get(entry.outcome, _BAD) if entry.kind == RUN else "unknown"


def _cell(entry: Entry, key: str) -> dict[str, object]:
    figure = entry.figures.get(key)
    return {
        "value": text.quantity(figure) if figure else text.MISSING,
        "interval": text.interval(figure),
        "number": "" if figure is None else figure.value,
    }


def _started(entry: Entry) -> str:
    return entry.started_at[:16].replace("T", " ")


def _href(entry: Entry) -> str:
    return f"{quote(entry.name)}/{quote(entry.page)}" if entry.page else ""


def _chart(trend: Trend) -> dict[str, object]:
    """A trend as an SVG: points with their intervals, evenly spaced in the order of the runs."""
    ends = [end for point in trend.points for end in (point.value, point.low, point.high) if end is not None]
    low, high = min(ends), max(ends)
    room = (high - low) * 0.12 or abs(high) * 0.1 or 1.0
    low, high = low - room, high + room
    step = (_WIDTH - _LEFT - _RIGHT) / max(len(trend.points) - 1, 1)

    def y(value: float) -> float:
        return round(_TOP + (high - value) / (high - low) * (_HEIGHT - _TOP - _BOTTOM), 1)

    dots = [
        _Dot(
            round(_LEFT + place * step, 1),
            y(point.value),
            y(high if point.high is None else point.high),
            y(low if point.low is None else point.low),
            f"{_started(point.entry)}: {text.number(point.value, trend.column.unit)} {text.unit_of(trend.column.unit)}"
            f"{_bounds(point.low, point.high, trend.column.unit)}, {point.entry.engine_words}",
            _href(point.entry),
            point.new_version,
        )
        for place, point in enumerate(trend.points)
    ]
    last = trend.last
    changed = [(round(dot.x - step / 2, 1), dot.version) for dot in dots if dot.version]
    return {
        "title": f"{trend.column.title}, {text.unit_of(trend.column.unit)}",
        "better": trend.column.better,
        "changed": changed,
        "of": " · ".join(part for part in (last.scenario, last.engine, last.model, last.load_words) if part),
        "dots": dots,
        "line": " ".join(f"{dot.x},{dot.y}" for dot in dots),
        "width": _WIDTH,
        "height": _HEIGHT,
        "left": _LEFT,
        "right": _WIDTH - _RIGHT,
        "top": _TOP,
        "bottom": _HEIGHT - _BOTTOM,
        "high": text.number(high, trend.column.unit),
        "low": text.number(low, trend.column.unit),
        "first_day": _started(trend.points[0].entry)[:10],
        "last_day": _started(last)[:10],
    }


def _bounds(low: float | None, high: float | None, unit: str) -> str:
    return "" if low is None or high is None else f" ({text.number(low, unit)} – {text.number(high, unit)})"


def library_list(entries: Sequence[Entry]) -> Table:
    """The entries for a terminal of any width, two lines each: what was run, and the result."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for entry in entries:
        engine = f"{entry.engine_words} (simulated)" if entry.simulated and entry.engine else entry.engine_words
        what = [entry.label, entry.scenario, engine, entry.model, entry.load_words]
        figures = [
            f"{column.title} {_cell(entry, column.key)['value']}" for column in COLUMNS if column.key in entry.figures
        ]
        answer = figures if entry.kind == RUN else [entry.sentence]
        about = Text(" · ".join(filter(None, what)))
        below = Text(" · ".join(filter(None, [*answer, entry.name])), "dim")
        grid.add_row(
            Text(_started(entry) or "not known"),
            Text(entry.outcome or entry.kind, _STYLES[tone(entry)]),
            Text("\n").join([about, below]) if about else below,
        )
    return grid
