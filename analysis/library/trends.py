"""One headline figure over the valid runs of a kind, with intervals and changes of engine version."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tokenswarm.analysis.library.entries import COLUMNS, Entry, HeadlineColumn
from tokenswarm.analysis.library.kinds import by_kind

FEWEST = 3
"""Minimum number of runs for a trend."""


@dataclass(frozen=True)
class TrendPoint:
    """One run: its figure with the ends of the 95% interval (None: not bounded by the sample). `new_version`: the
    engine's, if it changed since the previous run.
    """

    entry: Entry
    value: float
    low: float | None
    high: float | None
    new_version: str = ""


@dataclass(frozen=True)
class Trend:
    """One figure of one kind of run; the points are in the order in which the runs were started."""

    column: HeadlineColumn
    points: Sequence[TrendPoint]

    @property
    def last(self) -> Entry:
        return self.points[-1].entry


def trends(entries: Iterable[Entry]) -> list[Trend]:
    """A trend for each kind with at least FEWEST valid runs and each headline figure that they have; the most recently
    run kind comes first.
    """
    kinds = sorted(
        by_kind(entry for entry in entries if entry.valid).values(), key=lambda runs: runs[-1].started_at, reverse=True
    )
    return [trend for runs in kinds for column in COLUMNS if len((trend := _trend(column, runs)).points) >= FEWEST]


def _trend(column: HeadlineColumn, runs: Sequence[Entry]) -> Trend:
    points: list[TrendPoint] = []
    for entry in runs:
        figure = entry.figures.get(column.key)
        if figure is None or figure.value is None:
            continue
        changed = bool(points) and points[-1].entry.version != entry.version
        points.append(TrendPoint(entry, figure.value, *figure.ends, entry.version if changed else ""))
    return Trend(column, points)
