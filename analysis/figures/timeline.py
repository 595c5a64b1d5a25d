"""A run cut into bins of time, for charts that share a time axis. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from tokenswarm.analysis.figures.statistics import interpolate
from tokenswarm.analysis.figures.window import Window, ended_at
from tokenswarm.analysis.read.run_folder import Run

from tokenswarm.contract.limits import observations_needed

_WIDTHS_S = (0.25, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
MAX_BINS = 120
MIN_BINS = 6
"""Minimum bins in the measure window: fewer hide changes, more show noise and enlarge the page."""


@dataclass(frozen=True)
class TimeBins:
    """Bins of equal width that cover a run, aligned to the start of its measure window.

    - edges_s: seconds from that start (negative during warm-up); zero: the start in unix seconds
    - unit: the unit of the time axis; per_unit: its length in seconds
    - outages: periods in which the engine was away, as pairs of unix seconds
    - levels: load levels, if there were several, as (start, end, load asked for)
    """

    zero: float
    edges_s: np.ndarray
    unit: str
    per_unit: float
    outages: tuple[tuple[float, float], ...] = ()
    levels: tuple[tuple[float, float, str], ...] = ()

    @property
    def width_s(self) -> float:
        """Width of a bin."""
        return float(self.edges_s[1] - self.edges_s[0])

    @property
    def bins(self) -> int:
        """Number of bins."""
        return len(self.edges_s) - 1

    @property
    def edges_unix(self) -> np.ndarray:
        """The edges as unix seconds."""
        return self.zero + self.edges_s

    def finer(self) -> TimeBins:
        """The same period in about MAX_BINS bins of at least a second, for sums, which need no minimum of requests."""
        first, last = float(self.edges_s[0]), float(self.edges_s[-1])
        parts = max(1, round(self.width_s / max((last - first) / MAX_BINS, 1.0)))
        count = self.bins * parts
        return replace(self, edges_s=np.linspace(first, last, count + 1))

    def axis(self, unix_s: np.ndarray) -> np.ndarray:
        """Positions of unix times on the time axis."""
        return (np.asarray(unix_s, dtype=float) - self.zero) / self.per_unit

    def centres(self) -> np.ndarray:
        """Positions of the bins' midpoints on the time axis."""
        return (self.edges_s[:-1] + self.edges_s[1:]) / 2.0 / self.per_unit

    def bin_of(self, unix_s: np.ndarray) -> np.ndarray:
        """The bin of each time; -1 outside."""
        index = np.floor((unix_s - self.zero - self.edges_s[0]) / self.width_s).astype(int)
        return np.where((index >= 0) & (index < self.bins), index, -1)


def make_timeline(run: Run, window: Window | None) -> TimeBins | None:
    """Bins over the whole run, or None if nothing happened in it.

    A bin is wide enough for a p95 if that leaves MIN_BINS bins in the window.
    """
    rows = run.requests
    if rows.empty:
        return None
    first, last = float(rows["sent_at"].min()), float(ended_at(rows).max())
    zero = window.start if window else first
    length = window.seconds if window and window.seconds > 0 else max(last - first, 1.0)
    # 1.5 times what a p95 needs, so that a sparse bin has its p95 too.
    for_p95 = 1.5 * observations_needed(95) * (last - first) / len(rows)
    wanted = max((last - first) / MAX_BINS, min(for_p95, length / MIN_BINS), _WIDTHS_S[0])
    width = next((w for w in _WIDTHS_S if w >= wanted * 0.999), float(np.ceil(wanted / 86400) * 86400))
    if width > wanted and length / width < MIN_BINS / 2:
        width = max((w for w in _WIDTHS_S if w <= wanted), default=width)
    start = np.floor((first - zero) / width + 1e-9)
    stop = max(np.ceil((last - zero) / width - 1e-9), start + 1)
    unit, per_unit = next(
        (u, s)
        for u, s, upto in (("s", 1.0, 600), ("min", 60.0, 3 * 3600), ("h", 3600.0, np.inf))
        if last - first < upto
    )
    return TimeBins(zero, np.arange(start, stop + 1) * width, unit, per_unit)


def percentiles_by_bin(
    bins: np.ndarray, count: int, values: np.ndarray, qs: tuple[float, ...]
) -> dict[float, np.ndarray]:
    """Percentiles of the values in each of `count` bins; NaN if too few values support one. Bin -1 and NaN are left
    out.
    """
    keep = (bins >= 0) & ~np.isnan(values)
    bins, values = bins[keep], values[keep]
    order = np.lexsort((values, bins))
    bins, values = bins[order], values[order]
    bounds = np.searchsorted(bins, np.arange(count + 1))
    out = {q: np.full(count, np.nan) for q in qs}
    for index in range(count):
        part = values[bounds[index] : bounds[index + 1]]
        for q in qs:
            if len(part) >= observations_needed(q):
                out[q][index] = interpolate(part, q)
    return out


def counts_by_bin(bins: np.ndarray, count: int) -> np.ndarray:
    """How many values fall into each bin."""
    return np.bincount(bins[bins >= 0], minlength=count)[:count]


def mean_by_bin(bins: np.ndarray, count: int, values: np.ndarray) -> np.ndarray:
    """Mean of the values in each bin; NaN for an empty one."""
    keep = (bins >= 0) & ~np.isnan(values)
    sums = np.bincount(bins[keep], weights=values[keep], minlength=count)
    many = np.bincount(bins[keep], minlength=count)
    return np.divide(sums, many, out=np.full(count, np.nan), where=many > 0)


def thin(table: pd.DataFrame, most: int) -> pd.DataFrame:
    """At most `most` rows, evenly spaced, in order."""
    if len(table) <= most:
        return table
    return table.iloc[np.unique(np.linspace(0, len(table) - 1, most).astype(int))]
