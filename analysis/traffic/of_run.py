"""The profile of what a run sent, from the tables of its measured requests."""

from __future__ import annotations

import numpy as np
import pandas as pd
from tokenswarm.analysis.cache.run_curve import run_curve
from tokenswarm.analysis.cache.yardstick import RunPaths, paths_of_run
from tokenswarm.analysis.read.run_folder import Run
from tokenswarm.analysis.traffic.columns import Traffic
from tokenswarm.analysis.traffic.workload_profile import (
    BLOCK_SIZES,
    Sharing,
    TrafficProfile,
    own_shares,
    profile,
    sharing_of_curves,
)

_BASE = 16
_MS_PER_S = 1e3


def profile_of_run(run: Run) -> TrafficProfile:
    """The profile of the requests sent in the measure phase (first attempts), in the order sent.

    What they share covers only those that succeeded; the cache starts with what the warm-up left in it.
    """
    rows = run.measured
    if rows["attempt"].notna().any():
        rows = rows[(rows["attempt"].fillna(1) == 1).to_numpy()]
    at = rows["scheduled_at"].where(rows["scheduled_at"].notna(), rows["sent_at"]).to_numpy(dtype=float)
    traffic = Traffic(
        time_s=at,
        input_tokens=rows["prompt_tokens"].to_numpy(dtype=float),
        output_tokens=rows["completion_tokens"].to_numpy(dtype=float),
        session=_sessions(rows),
        delay_s=_delays(rows),
        estimated=False,
        blocks=None,
        block_sizes=(),
    )
    recorded = paths_of_run(run)
    return profile(traffic, None if recorded is None else _sharing(*recorded))


def _sessions(rows: pd.DataFrame) -> np.ndarray:
    codes, _ = pd.factorize(rows["conversation"])
    return codes.astype(np.int64)


def _delays(rows: pd.DataFrame) -> np.ndarray:
    """Seconds from the end of the previous answer in the same session to each request; NaN for the first."""
    end = rows["sent_at"].to_numpy() + rows["e2e_ms"].to_numpy() / _MS_PER_S
    before = pd.Series(end, index=rows.index).groupby(rows["conversation"], observed=True).shift(1).to_numpy()
    return np.maximum(rows["sent_at"].to_numpy() - before, 0.0)


def _sharing(paths: RunPaths, rows: pd.DataFrame) -> Sharing:
    codes = _sessions(rows)
    curves = {size: run_curve(paths.uses(size), size) for size in BLOCK_SIZES}
    blocks = paths.asked(1)
    return sharing_of_curves(curves, _BASE, own_shares(blocks, codes))
