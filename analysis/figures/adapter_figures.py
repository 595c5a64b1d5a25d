"""Requests by the LoRA adapter they named: latencies by popularity, and an adapter's first use separately."""

from __future__ import annotations

import numpy as np
import pandas as pd
from tokenswarm.analysis.figures.quantities import is_ok, tpot_ms
from tokenswarm.analysis.figures.statistics import percentiles, share_of

from tokenswarm.contract.manifest import Manifest
from tokenswarm.contract.summary.adapter_records import AdapterGroup, Adapters

ALONE = 8
"""Number of ranks with a row each; a power of two."""


def adapters_of(manifest: Manifest, requests: pd.DataFrame, rows: pd.DataFrame) -> Adapters | None:
    """None for a run without adapters.

    `requests`: of all phases, because most adapters are first used in the warm-up. `rows`: of the measure phase. The
    most popular ranks (ALONE of them) have a group each; further ones are grouped by powers of two (9 to 16, 17 to 32,
    ...), so that a hundred adapters make twelve rows and rare ones have enough requests together.
    """
    count = manifest.scenario.table("lora").get("adapters")
    if not isinstance(count, int) or count < 1:
        return None
    ordered = requests[requests["adapter"].notna()].sort_values("sent_at")
    first = ordered.drop_duplicates("adapter")
    is_first = rows["request_id"].isin(first["request_id"]).to_numpy()
    later = rows[~is_first & rows["adapter"].notna().to_numpy()]
    groups, low = [], 1
    while low <= count:
        high = min(count, low if low <= ALONE else 2 * (low - 1))
        groups.append(_group(rows, low, high))
        low = high + 1
    return Adapters(
        count,
        len(first),
        groups,
        *(percentiles(part["ttft_ms"].to_numpy(float)[is_ok(part)], (50,))[50].figure("ms") for part in (first, later)),
    )


def _group(rows: pd.DataFrame, low: int, high: int) -> AdapterGroup:
    rank = rows["adapter"].to_numpy(float)
    inside = (rank >= low) & (rank <= high)
    part = rows[inside]
    ok = is_ok(part)
    ttft = percentiles(part["ttft_ms"].to_numpy(float)[ok], (50, 95))
    tpot = percentiles(tpot_ms(part)[ok], (50,))
    return AdapterGroup(
        str(low) if low == high else f"{low} to {high}",
        high - low + 1,
        int(ok.sum()),
        int(np.sum((part["status"] == "failed").to_numpy())),
        share_of(inside).figure("share"),
        ttft[50].figure("ms"),
        ttft[95].figure("ms"),
        tpot[50].figure("ms"),
    )
