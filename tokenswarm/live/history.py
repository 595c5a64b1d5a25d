"""The timeline of live figures, in bounded memory for runs of any length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenswarm.live.ui_columns import charted

MOST_POINTS = 900

ENGINE_FIGURES = ("running", "waiting", "kv_usage", "hit_rate")


class History:
    """Points of the last-10-s figures: every one at first, then every second one, every fourth one, ..."""

    def __init__(self, run_id: str | None) -> None:
        self.run_id = run_id
        self.points: list[dict[str, object]] = []
        self._every, self._seen = 1, 0

    def add(self, snapshot: Mapping[str, object]) -> None:
        """Add a snapshot of the live figures."""
        self._seen += 1
        if self._seen % self._every:
            return
        self.points.append(point_of(snapshot))
        if len(self.points) > MOST_POINTS:
            del self.points[::2]
            self._every *= 2


def point_of(snapshot: Mapping[str, Any]) -> dict[str, object]:
    """The values that the charts show for one moment."""
    total, engine = snapshot["last"]["total"], snapshot["engine"] or {}
    return {
        "at": snapshot["at"],
        "phase": snapshot["phase"],
        "in_flight": snapshot["in_flight"],
        "failed": total["failed"] / snapshot["last"]["seconds"],
        "client_hit_rate": total["hit_rate"],
        **{name: total[name] for name in charted()},
        **{name: engine.get(name) for name in ENGINE_FIGURES},
    }
