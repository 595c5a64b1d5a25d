"""Building blocks of the charts: plotly figures as plain data.

A colour is a name such as `c:blue`, which the page replaces by its theme's colour (the colour-blind-safe palette of
Okabe and Ito). Untrusted text passes through `plain`, because plotly interprets some HTML in labels.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tokenswarm.base.foreign import table

PALETTE = ("c:blue", "c:vermillion", "c:green", "c:purple", "c:orange", "c:sky")
P50, P95, P99 = "c:sky", "c:blue", "c:vermillion"
_LABEL_CHARS = 80
_WIDE = 2.2
"""Decades from which a log axis has one tick per decade."""
_STEPS: tuple[Sequence[float], ...] = ((1, 2, 5), range(1, 10), [1 + fifth / 5 for fifth in range(45)])
GOOD, BAD, IDLE = "c:green", "c:vermillion", "c:grey"


Trace = dict[str, object]
"""A plotly trace, by plotly's own schema."""


@dataclass(frozen=True)
class Chart:
    """One chart of the page. `sync` names the group of charts whose x axes move together."""

    id: str
    title: str
    data: Sequence[Mapping[str, object]]
    layout: Mapping[str, object]
    note: str = ""
    height: int = 280
    sync: str | None = None
    wide: bool = False

    def spec(self) -> dict[str, object]:
        """What the page's script needs to draw the chart."""
        return {"id": self.id, "data": self.data, "layout": self.layout, "height": self.height, "sync": self.sync}


@dataclass(frozen=True)
class ChartSection:
    """A headed group of charts."""

    id: str
    title: str
    charts: list[Chart] = field(default_factory=list)
    note: str = ""
    nav: str = ""
    """Its name in the list of sections, if the title is too long."""


def plain(text: object) -> str:
    """Text for a label, without markup that plotly would interpret, and shortened to fit a legend.

    Quotes are kept: plotly would not decode them, and without a `<` there is no tag that they could end.
    """
    words = str(text)
    short = words if len(words) <= _LABEL_CHARS else words[: _LABEL_CHARS - 1] + "…"
    return html.escape(short, quote=False)


def numbers(values: Sequence[float] | np.ndarray, digits: int = 5) -> list[float | None]:
    """Values for JSON with this many significant digits; non-finite values become gaps."""
    plain_values = np.asarray(values, dtype=float).tolist()
    return [float(f"{value:.{digits}g}") if math.isfinite(value) else None for value in plain_values]


def line(x: Sequence[object], y: Sequence[object], name: str, color: str, **more: object) -> Trace:
    """A line trace."""
    style = {"color": color, "width": 2, **table(more.pop("line", {}))}
    return {"type": "scatter", "mode": "lines", "x": x, "y": y, "name": name, "line": style} | more


def axis(title: str, **more: object) -> dict[str, object]:
    """An axis with its title, which includes the unit."""
    return {"title": {"text": title}} | more


def latency_axis(low_ms: float, high_ms: float, title: str) -> dict[str, object]:
    """A log axis of milliseconds, labelled in ms or s."""
    return _log_axis(
        max(low_ms, 1e-3), max(high_ms, 2e-3), title, lambda t: f"{t / 1000:g} s" if t >= 1000 else f"{t:g} ms"
    )


def count_axis(low: float, high: float, title: str) -> dict[str, object]:
    """A log axis of counts: 500, 20k, 1M."""
    return _log_axis(max(low, 1.0), max(high, 2.0), title, _short)


def _short(number: float) -> str:
    if number >= 1e6:
        return f"{number / 1e6:g}M"
    return f"{number / 1e3:g}k" if number >= 1e4 else f"{number:,g}"


def _log_axis(least: float, most: float, title: str, label: Callable[[float], str]) -> dict[str, object]:
    """Ticks at 1, 2, 5 of each decade: fewer on a long axis, more on a short one.

    An axis with fewer than two ticks is unreadable, and plotly cannot place its title.
    """
    low, high = 0.8 * least, 1.25 * most
    decades = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    ticks: list[float] = []
    for steps in _STEPS if np.log10(high / low) < _WIDE else ((1.0,), *_STEPS):
        ticks = [s * 10.0**d for d in decades for s in steps if low <= s * 10.0**d <= high]
        if len(ticks) > 1:
            break
    labels = [label(tick) for tick in ticks]
    bounds = [float(np.log10(low)), float(np.log10(high))]
    return axis(title, type="log", range=bounds, tickvals=numbers(ticks), ticktext=labels, minor={"showgrid": False})
