"""How fast the GPUs ran in the measured phase, from host_metrics.csv, and whether two runs had equal clocks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from tokenswarm.analysis.figures.window import Window

from tokenswarm.contract.summary.header_records import GpuState

WORKING = 0.05
"""Utilisation from which a GPU's clock is meaningful: idle GPUs are clocked down."""
CLOCKS_APART = 0.05
"""Share by which two clocks may differ; a card's own variation between runs is below it."""
THROTTLED_APART = 0.10
"""Share of the samples by which one run may be throttled more than the other."""
_FORCED = ("heat", "hardware")
"""Causes that depend on the room and the card; any busy card reaches its power cap."""


def gpu_states(host: pd.DataFrame, window: Window | None) -> list[GpuState]:
    """One for each GPU sampled in the window, in numerical order."""
    if window is None or host.empty:
        return []
    inside = host[((host["at"] >= window.start) & (host["at"] <= window.end)).to_numpy()]
    source = inside["source"].astype("str")
    mine = source.str.startswith("gpu ").to_numpy()
    states = []
    for name in sorted(set(source[mine]), key=lambda each: (len(each), each)):
        rows = inside[(source == name).to_numpy()]
        idle = (rows["gpu_util"] < WORKING).to_numpy()  # without a utilisation reading it counts as working
        clocks = rows["gpu_clock_mhz"].to_numpy(dtype=float)[~idle]
        known = clocks[~np.isnan(clocks)]
        causes = [set(str(cell).split("+")) for cell in rows["gpu_throttle"].dropna()]
        shares = {
            cause: round(sum(cause in each for each in causes) / len(rows), 4)
            for cause in sorted(set().union(*causes) - {""})
        }
        states.append(GpuState(name, float(np.median(known)) if len(known) else None, shares))
    return states


def clocks_apart(here: Sequence[GpuState], other: Sequence[GpuState]) -> str | None:
    """Why two runs on equal GPUs cannot be compared, in words; None if they can be, or if that is unknown."""
    for first, second in zip(here, other, strict=False):
        a, b = first.clock_mhz, second.clock_mhz
        if a and b and abs(a - b) > CLOCKS_APART * max(a, b):
            return f"{first.source} ran at {a:,.0f} MHz in one and at {b:,.0f} MHz in the other"
        for cause in _FORCED:
            shares = first.throttled.get(cause, 0), second.throttled.get(cause, 0)
            if abs(shares[0] - shares[1]) > THROTTLED_APART:
                return (
                    f"{first.source} was slowed down by {cause} in {shares[0]:.0%} of one and in {shares[1]:.0%} "
                    "of the other"
                )
    return None
