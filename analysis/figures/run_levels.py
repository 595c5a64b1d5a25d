"""The load levels of a run: the periods of constant requested load, each with its requests.

A request belongs to the level in which it was sent, even if its answer came in the next one. The borders are those in
run.json; for older folders without them, they follow from the planned load.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from msgspec.structs import replace
from tokenswarm.analysis.figures.window import Window
from tokenswarm.analysis.read.run_folder import Run

from tokenswarm.contract.levels import LevelRecord, planned_levels


@dataclass(frozen=True)
class LoadLevel:
    """One level: the load asked for, its part of the measure window, and the measured requests sent in it."""

    record: LevelRecord
    window: Window
    rows: pd.DataFrame


def load_levels(run: Run, window: Window | None) -> list[LoadLevel]:
    """The levels of a run's measure window, in order; one if the load was constant, none without a window."""
    if window is None:
        return []
    records = _asked(run, window)
    rows = run.measured
    number = np.searchsorted([level.start for level in records[1:]], rows["sent_at"].to_numpy(), side="right")
    ends = [*(level.start for level in records[1:]), window.end]
    return [
        LoadLevel(
            level,
            Window(float(level.start), float(end), window.source),
            rows if len(records) == 1 else rows[number == place],
        )
        for place, (level, end) in enumerate(zip(records, ends, strict=True))
    ]


def _asked(run: Run, window: Window) -> list[LevelRecord]:
    """The load asked for, level by level, numbered from 1; the first begins with the window."""
    load = run.manifest.load
    levels = sorted((level for level in run.manifest.levels if math.isfinite(level.start)), key=lambda each: each.start)
    if not levels:
        levels = (
            planned_levels(load, window.start, window.end)
            if window.source == "manifest"
            else [LevelRecord(1, window.start, window.end, "start", users=load.users, rate=load.rate)]
        )
    begun = [level for place, level in enumerate(levels) if place == 0 or level.start < window.end]
    begun[0] = replace(begun[0], start=window.start)
    return [replace(level, number=number) for number, level in enumerate(begun, 1)]
