"""The load levels of a run: the stretches in which one and the same load was asked for, each with its requests.

A request belongs to the level in which it was sent, also where its answer came in the next one. The borders are those
of run.json; of an older folder, which has none, they follow from the load that it says was planned.
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
    """One level: what was asked for, its stretch of the measure window, and the measured requests sent in it."""

    record: LevelRecord
    window: Window
    rows: pd.DataFrame


def load_levels(run: Run, window: Window | None) -> list[LoadLevel]:
    """The levels of a run's measure window, in order; one where it was one load, none without a window."""
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
    """What was asked for, level by level, numbered from 1; the first begins where the window does."""
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
