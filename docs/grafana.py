"""Grafana's dashboard of a run, completed from the registry of metrics, so that every exported metric is shown.

Panels arranged by hand stay as they are. Exported metrics that none of them uses get a row at the end. `make docs`
writes it; a test checks that it was run.
"""

from __future__ import annotations

import json
from copy import deepcopy
from itertools import count
from pathlib import Path
from typing import Any

from tokenswarm.contract.metric import TABLE_PERCENTILES, Latency, Rate
from tokenswarm.contract.metrics import METRICS
from tokenswarm.live.prometheus import exported

BOARD = Path(__file__).resolve().parents[1] / "compose" / "observe" / "grafana" / "dashboards" / "tokenswarm.json"
ROW = "Further metrics of the registry: all phases, as they come"
_ASKED = '{instance=~"$instance",user_class=~"$user_class"}'
_UNITS = {"share": "percentunit", "ms": "ms", "tok/s": "short", "req/s": "reqps", "$": "currencyUSD"}
_WIDTH, _HEIGHT, _SCREEN = 8, 8, 24


def completed(board: dict[str, Any]) -> dict[str, Any]:
    """The dashboard with added panels for exported metrics that no panel uses."""
    arranged = _arranged(board["panels"])
    text = json.dumps(arranged)
    names = {each.name for each in exported()}
    queries = [
        (metric, queries)
        for metric in METRICS
        if (queries := _queries(metric, names)) and not any(name in text for name, _, _ in queries)
    ]
    if not queries:
        return {**board, "panels": arranged}
    ids = count(max(panel["id"] for panel in arranged) + 1)
    top = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in arranged)
    row = {
        "id": next(ids),
        "type": "row",
        "title": ROW,
        "collapsed": False,
        "panels": [],
        "gridPos": {"x": 0, "y": top, "w": _SCREEN, "h": 1},
    }
    like = next(panel for panel in arranged if panel["type"] == "timeseries")
    panels = []
    for place, (metric, asked_for) in enumerate(queries):
        across, down = place % (_SCREEN // _WIDTH), place // (_SCREEN // _WIDTH)
        panel = deepcopy(like) | {
            "id": next(ids),
            "title": metric.title,
            "description": f"{metric.title}: {metric.meaning}.",
            "gridPos": {"x": across * _WIDTH, "y": top + 1 + down * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
            "targets": [
                like["targets"][0] | {"expr": expression, "legendFormat": legend, "refId": chr(ord("A") + i)}
                for i, (_, expression, legend) in enumerate(asked_for)
            ],
        }
        panel["fieldConfig"]["defaults"]["unit"] = (
            "s" if isinstance(metric, Latency) else _UNITS.get(metric.unit, "short")
        )
        panels.append(panel)
    return {**board, "panels": [*arranged, row, *panels]}


def current(text: str) -> str:
    """The completed content of the dashboard's file."""
    return json.dumps(completed(json.loads(text)), indent=2, ensure_ascii=False) + "\n"


def _arranged(panels: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The dashboard without the generated panels."""
    end = next((place for place, panel in enumerate(panels) if panel["title"] == ROW), len(panels))
    return panels[:end]


def _queries(metric: Any, names: set[str]) -> list[tuple[str, str, str]]:
    """(Prometheus name, query, legend) of each line of a metric's panel; empty if it is not exported."""
    if isinstance(metric, Latency) and f"tokenswarm_{metric.name}_seconds" in names:
        name = f"tokenswarm_{metric.name}_seconds_bucket"
        return [
            (name, f"histogram_quantile({q / 100:g}, sum by (le) (rate({name}{_ASKED}[$__rate_interval])))", f"p{q:g}")
            for q in TABLE_PERCENTILES
        ]
    if isinstance(metric, Rate) and f"tokenswarm_{metric.name}" in names:
        name = f"tokenswarm_{metric.name}"
        return [(f"{name}{{", f"{name}{_ASKED}", "{{user_class}}")]
    return []
