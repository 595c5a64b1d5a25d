"""The measure window: the period that every figure covers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from tokenswarm.analysis.read.run_folder import Run

from tokenswarm.contract.manifest import PhaseRecord


@dataclass(frozen=True, slots=True)
class Window:
    """A period in unix seconds. `source`: where it comes from, the manifest or the rows themselves."""

    start: float
    end: float
    source: str

    @property
    def seconds(self) -> float:
        """Its length."""
        return max(0.0, self.end - self.start)


def ended_at(rows: pd.DataFrame) -> np.ndarray:
    """When each request ended, in unix seconds; its last sign of life if the end was not measured."""
    latest = np.full(len(rows), np.nan)
    for sign in ("e2e_ms", "last_token_ms", "ttft_ms", "headers_ms"):
        latest = np.fmax(latest, rows[sign].to_numpy())
    return rows["sent_at"].to_numpy() + np.nan_to_num(latest, nan=0.0) / 1000.0


def phases(run: Run) -> list[PhaseRecord]:
    """The manifest's phases that have a name and a start, in order."""
    return sorted((phase for phase in run.manifest.phases if phase.name), key=lambda phase: phase.start)


def find_window(run: Run) -> Window | None:
    """The run's measure window, or None if it is unknown.

    A run that was cut off has a planned end, or none: its window ends with its last known event. A folder without a
    manifest is measured from its first to its last request of the measure phase.
    """
    rows = run.requests
    last_sign = float(np.max(ended_at(rows))) if len(rows) else None
    measure = next((p for p in phases(run) if p.name == "measure"), None)
    if measure is not None:
        start, end = float(measure.start), measure.end
        if end is None:
            end = last_sign
        elif run.manifest.status == "running" and last_sign is not None:
            end = min(float(end), last_sign)
        return None if end is None else Window(start, max(start, float(end)), "manifest")
    sent = run.measured["sent_at"].to_numpy()
    if len(sent) < 2 or sent.max() <= sent.min():
        return None
    return Window(float(sent.min()), float(sent.max()), "rows")
