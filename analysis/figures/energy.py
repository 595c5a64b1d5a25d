"""Joules of the measured phase, per output token and per request, from NVML's readings in host_metrics.csv.

A GPU's energy counter gives the energy between two readings; without a counter its power is integrated (trapezoids).
Figures are ratios of sums, with a jackknife interval over blocks of time.

Figures are absent, with the reason, if they would not be the engine's: no GPU reading, readings that do not cover the
phase or have gaps, a counter that decreased, a GPU that other processes use, or more GPUs than the engine uses and no
way to tell which are its own.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from msgspec.structs import replace
from tokenswarm.analysis.figures.flow import completed_flow, output_flow
from tokenswarm.analysis.figures.jackknife import jackknife
from tokenswarm.analysis.figures.statistics import RATE_BLOCKS
from tokenswarm.analysis.figures.window import Window

from tokenswarm.contract.metric import Sums
from tokenswarm.contract.summary.engine_records import Energy, GpuEnergy
from tokenswarm.contract.summary.figure import Figure

MOST_GAP_S = 5.0
"""Maximum time between two readings, because unread power may have been anything; also between an end of the phase and
the nearest reading.
"""
COUNTER, POWER = "counter", "power"
_COLUMNS = ("gpu_energy_j", "gpu_power_w", "gpu_own_processes", "gpu_other_processes")


def energy_of(host: pd.DataFrame, rows: pd.DataFrame, window: Window | None, used: int) -> Energy:
    """The energy of the engine's GPUs in the window. `rows`: requests of every phase; `used`: how many GPUs the engine
    reports to use.
    """
    if window is None or window.seconds <= 0:
        return without("the measure window is not known")
    readings = _readings(host)
    if not readings:
        seen = not host.empty and host["source"].astype("str").str.startswith("gpu ").any()
        return without(
            "its GPU reports neither energy nor power (one in MIG slices does not)"
            if seen
            else "no GPU of the engine is visible from here"
        )
    chosen, why = _of_the_engine(readings, window, used)
    if why:
        return without(why)
    edges = np.linspace(window.start, window.end, RATE_BLOCKS + 1)
    parts = {name: _blocks(table, edges) for name, table in chosen.items()}
    gpus = [
        GpuEnergy(
            name,
            by,
            None if blocks is None else float(blocks.sum()),
            None if blocks is None else float(blocks.sum()) / window.seconds,
            reason,
        )
        for name, (blocks, by, reason) in parts.items()
    ]
    broken = next((gpu for gpu in gpus if gpu.why), None)
    if broken is not None:
        return replace(without(f"{broken.source}: {broken.why}"), gpus=gpus)
    joules = np.sum([blocks for blocks, _, _ in parts.values() if blocks is not None], axis=0)
    return _figures(joules, rows, edges, gpus)


def _figures(joules: np.ndarray, rows: pd.DataFrame, edges: np.ndarray, gpus: list[GpuEnergy]) -> Energy:
    blocks = {
        "joules": joules,
        "tokens": output_flow(rows).between(edges),
        "requests": completed_flow(rows).between(edges),
    }

    def over(name: str) -> Figure:
        def ratio(sums: Sums) -> float | None:
            return sums["joules"] / sums[name] if sums[name] > 0 else None

        return jackknife(ratio, blocks, RATE_BLOCKS).figure("J")

    return Energy(
        joules=Figure(float(joules.sum()), "J", len(gpus)),
        per_output_token=over("tokens"),
        per_request=over("requests"),
        gpus=gpus,
    )


def without(why: str) -> Energy:
    """A result without figures, and why."""
    none = Figure(unit="J", why=why)
    return Energy(none, none, none, why)


def _readings(host: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Rows of each GPU that reported energy or power, in time order; columns that an older run lacks are empty."""
    if host.empty:
        return {}
    source = host["source"].astype("str")
    table = host.assign(**{name: np.nan for name in _COLUMNS if name not in host.columns})
    by_gpu = {
        name: table[(source == name).to_numpy()].sort_values("at")
        for name in sorted(set(source[source.str.startswith("gpu ")]), key=lambda each: (len(each), each))
    }
    return {name: rows for name, rows in by_gpu.items() if rows[["gpu_energy_j", "gpu_power_w"]].notna().any(axis=None)}


def _of_the_engine(
    readings: Mapping[str, pd.DataFrame], window: Window, used: int
) -> tuple[dict[str, pd.DataFrame], str]:
    """The GPUs that the engine computes on; or why they are unknown, or why their energy is not the engine's alone."""
    inside = {
        name: table[table["at"].between(window.start - MOST_GAP_S, window.end + MOST_GAP_S)]
        for name, table in readings.items()
    }
    if any(table["gpu_own_processes"].notna().any() for table in inside.values()):
        mine = {name: table for name, table in inside.items() if (table["gpu_own_processes"] > 0).any()}
        if not mine:
            return {}, "no process of the engine was seen on a GPU"
    elif len(inside) == used:
        mine = inside
    else:
        return {}, (
            f"{len(inside)} GPUs were watched and the engine uses {used}, and it is not known which: name them "
            "with GPUS=0,1"
        )
    for name, table in mine.items():
        if (table["gpu_other_processes"] > 0).any():
            return {}, f"{name} was shared: other processes computed on it"
    return mine, ""


def _blocks(table: pd.DataFrame, edges: np.ndarray) -> tuple[np.ndarray | None, str, str]:
    """Joules between successive edges, what they were measured by, and why they are not known."""
    counted = table[table["gpu_energy_j"].notna()]
    by = COUNTER if len(counted) > 1 else POWER
    known = counted if by == COUNTER else table[table["gpu_power_w"].notna()]
    at = known["at"].to_numpy(dtype=float)
    if len(at) < 2 or at[0] > edges[0] + MOST_GAP_S or at[-1] < edges[-1] - MOST_GAP_S:
        return None, by, "its readings do not cover the measured phase"
    widest = float(np.diff(at).max())
    if widest > MOST_GAP_S:
        return None, by, f"there is a gap of {widest:.1f} s in its readings"
    if by == COUNTER:
        total = known["gpu_energy_j"].to_numpy(dtype=float)
        if (np.diff(total) < 0).any():
            return None, by, "its energy counter went back (the driver was reloaded)"
    else:
        watts = known["gpu_power_w"].to_numpy(dtype=float)
        total = np.concatenate([[0.0], np.cumsum(np.diff(at) * (watts[1:] + watts[:-1]) / 2.0)])
    return np.diff(_at_edges(at, total, edges)), by, ""


def _at_edges(at: np.ndarray, total: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Cumulative energy at the edges; before the first and after the last reading, extrapolated from the nearest
    two.
    """
    inside = np.interp(edges, at, total)
    first, last = ((total[1] - total[0]) / (at[1] - at[0]), (total[-1] - total[-2]) / (at[-1] - at[-2]))
    inside = np.where(edges < at[0], total[0] + first * (edges - at[0]), inside)
    return np.where(edges > at[-1], total[-1] + last * (edges - at[-1]), inside)
