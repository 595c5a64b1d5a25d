"""What a constraint costs: TPOT of constrained requests against the control arm of the same run."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats
from tokenswarm.analysis.figures.quantities import is_ok, tpot_ms
from tokenswarm.analysis.figures.statistics import CONFIDENCE, Estimate, t_quantile

from tokenswarm.contract.summary.request_records import ControlArm

WORKLOAD = "structured"
CONTROL = "control-"
"""Prefix of the column `document` for a request without a constraint (workloads/structured.py)."""
FEWEST = 20
"""Minimum number of requests per arm."""


def control_arm(rows: pd.DataFrame, workload: str | None) -> ControlArm | None:
    """The two arms of a `structured` run; None for any other run."""
    if workload != WORKLOAD:
        return None
    free = rows["document"].astype("object").fillna("").astype("str").str.startswith(CONTROL).to_numpy()
    values, ok = tpot_ms(rows), is_ok(rows)
    known = ok & ~np.isnan(values)
    return compared(values[known & ~free], values[known & free])


def compared(constrained: np.ndarray, control: np.ndarray) -> ControlArm:
    """Mean TPOT of each arm, ms, and constrained - control with Welch's interval (Welch, Biometrika 34, 1947)."""
    difference = Estimate(None, n=min(len(constrained), len(control)), why=f"needs {FEWEST} requests in each arm")
    if min(len(constrained), len(control)) >= FEWEST:
        test = stats.ttest_ind(constrained, control, equal_var=False)
        ends = test.confidence_interval(CONFIDENCE)
        low, high = (None if np.isnan(end) else float(end) for end in (ends.low, ends.high))
        difference = Estimate(float(constrained.mean() - control.mean()), low, high, len(constrained) + len(control))
    return ControlArm(_mean(constrained).figure("ms"), _mean(control).figure("ms"), difference.figure("ms"))


def _mean(values: np.ndarray) -> Estimate:
    if len(values) < FEWEST:
        return Estimate(None, n=len(values), why=f"needs {FEWEST} requests, has {len(values)}")
    half = float(t_quantile(0.5 + CONFIDENCE / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    mean = float(values.mean())
    return Estimate(mean, mean - half, mean + half, len(values))
