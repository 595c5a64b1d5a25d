"""The time axis that charts share: its layout, the bands for phases and levels, and limit lines."""

from __future__ import annotations

import numpy as np
from tokenswarm.analysis.figures.timeline import TimeBins
from tokenswarm.analysis.figures.window import Window
from tokenswarm.analysis.render.chart import BAD, axis, plain


def time_layout(
    timeline: TimeBins, window: Window | None, y: dict[str, object], *, named_bands: bool = False, **more: object
) -> dict[str, object]:
    """Layout of a chart on the shared time axis. Time outside the measure window is shaded (and labelled, if asked),
    and so are outages.
    """
    low, high = (float(edge) for edge in timeline.axis(timeline.edges_unix[[0, -1]]))
    bands = [(*timeline.axis(np.array(span)), "c:outage", "engine away") for span in timeline.outages]
    # Every other one is shaded, so that borders show without lines.
    bands += [
        (*timeline.axis(np.array([start, end])), "c:level" if place % 2 else "c:none", plain(name))
        for place, (start, end, name) in enumerate(timeline.levels)
    ]
    if window is not None:
        start, end = timeline.axis(np.array([window.start, window.end]))
        bands += [(low, start, "c:shade", "warm-up"), (end, high, "c:shade", "drain")]
    bands = [band for band in bands if band[1] - band[0] > 1e-6]
    shapes = [_band(x0, x1, colour) for x0, x1, colour, _ in bands]
    notes = [_band_name(x0, x1, name) for x0, x1, _, name in bands if named_bands and x1 - x0 > 0.05 * (high - low)]
    x = axis(f"Time since measuring began ({timeline.unit})", range=[low, high], zeroline=False)
    return {"xaxis": x, "yaxis": {"rangemode": "tozero"} | y, "shapes": shapes, "annotations": notes} | more


def _band(x0: float, x1: float, colour: str) -> dict[str, object]:
    return {
        "type": "rect",
        "xref": "x",
        "yref": "paper",
        "x0": float(x0),
        "x1": float(x1),
        "y0": 0,
        "y1": 1,
        "fillcolor": colour,
        "line": {"width": 0},
        "layer": "below",
    }


def _band_name(x0: float, x1: float, name: str) -> dict[str, object]:
    return {
        "x": float(x0 + x1) / 2,
        "y": 1,
        "xref": "x",
        "yref": "paper",
        "text": name,
        "name": "band",
        "showarrow": False,
        "yanchor": "top",
        "font": {"size": 11, "color": "c:muted"},
    }


def limit_line(y: float) -> dict[str, object]:
    """A dashed horizontal line at a limit."""
    return {
        "type": "line",
        "xref": "paper",
        "yref": "y",
        "x0": 0,
        "x1": 1,
        "y0": y,
        "y1": y,
        "line": {"color": BAD, "width": 1.5, "dash": "dash"},
    }
