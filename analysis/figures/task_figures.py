"""Tasks: how long they take, and what they cost in tokens.

Completion times are of the tasks that began in the measure phase. Some of these are unfinished at its end, more often
long ones, so leaving them out would make tasks look shorter. Percentiles therefore come from the Kaplan-Meier estimate,
in which an unfinished task took longer than observed (Kaplan and Meier, JASA 53, 1958); their intervals are those of
Brookmeyer and Crowley (Biometrics 38, 1982) on the log-log scale. A failed task counts as observed up to its failure.
Tasks are treated as independent.

Amounts per task are what was sent in the window over the tasks that ended in it. In a steady state that is the mean of
a task (renewal reward; Ross, Stochastic Processes, 1996, section 3.6), and no task is left out. Their intervals are the
jackknife over blocks of time.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from tokenswarm.analysis.figures.jackknife import jackknife
from tokenswarm.analysis.figures.quantities import is_ok
from tokenswarm.analysis.figures.statistics import CONFIDENCE, RATE_BLOCKS, Estimate, block_rate, share_of
from tokenswarm.analysis.figures.window import Window

from tokenswarm.contract.limits import observations_needed
from tokenswarm.contract.metric_families.formulas import share_of as ratio
from tokenswarm.contract.summary.task_records import TaskFigures
from tokenswarm.contract.tables import CUT_BY_LENGTH

_MS = 1000.0


def task_figures(rows: pd.DataFrame, window: Window | None) -> TaskFigures | None:
    """The tasks among requests of the measure phase; None if no request belongs to one."""
    rows = rows[rows["task"].notna().to_numpy()]
    if not len(rows):
        return None
    lengths = task_lengths(rows)
    checked = rows[is_ok(rows) & rows["valid_output"].notna().to_numpy()]
    cut = (checked["finish_reason"].astype("object") == CUT_BY_LENGTH).to_numpy()
    valid = (checked["valid_output"] == 1.0).to_numpy()
    seconds = lengths["seconds"].to_numpy()
    completed = (lengths["outcome"] == "completed").to_numpy()
    return TaskFigures(
        begun=len(lengths),
        completed=int(completed.sum()),
        failed=int((lengths["outcome"] == "failed").sum()),
        unfinished=int((lengths["outcome"] == "unfinished").sum()),
        completion_p50_ms=completion(seconds * _MS, completed, 50).figure("ms"),
        completion_p95_ms=completion(seconds * _MS, completed, 95).figure("ms"),
        valid_calls=share_of(valid[~cut], why="no answer was checked").figure("share"),
        cut=share_of(cut, why="no answer was checked").figure("share"),
        **_amounts(rows, window),
    )


def task_lengths(rows: pd.DataFrame) -> pd.DataFrame:
    """For each task that began in these rows: the `seconds` that it took, or was observed, and its `outcome`."""
    main = rows[rows["task_step"].notna().to_numpy()]
    end = main["sent_at"] + main["e2e_ms"].fillna(0.0) / _MS
    last_step = (main["task_step"] == main["task_steps"]).to_numpy()
    table = pd.DataFrame(
        {
            "task": main["task"].astype("str").to_numpy(),
            "sent": main["sent_at"].to_numpy(),
            "end": end.to_numpy(),
            "first": (main["task_step"] == 1).to_numpy(),
            "failed": (main["status"] == "failed").to_numpy(),
            "done": last_step & is_ok(main),
        }
    )
    begun = table[table["first"]].groupby("task")["sent"].min()
    done = table[table["done"]].groupby("task")["end"].max().reindex(begun.index)
    of_task = table.sort_values("sent").groupby("task")
    failed = of_task["failed"].last().reindex(begun.index) & done.isna()
    last_seen = float(rows["sent_at"].max())
    seen = of_task["end"].max().reindex(begun.index).where(failed, np.maximum(last_seen, begun))
    outcome = np.where(done.notna(), "completed", np.where(failed, "failed", "unfinished"))
    return pd.DataFrame({"seconds": done.fillna(seen) - begun, "outcome": outcome}, index=begun.index)


def completion(lengths: np.ndarray, completed: np.ndarray, q: float) -> Estimate:
    """A percentile `q` of lengths, some of which are censored (not `completed`)."""
    n, needed = len(lengths), observations_needed(q)
    if completed.sum() < needed:
        return Estimate(None, n=n, why=f"needs {needed} completed tasks, has {int(completed.sum())}")
    left = stats.ecdf(stats.CensoredData(uncensored=lengths[completed], right=lengths[~completed])).sf
    with warnings.catch_warnings():  # no interval where the curve is at 0 or 1
        warnings.simplefilter("ignore", RuntimeWarning)
        ends = left.confidence_interval(CONFIDENCE, method="log-log")
    value, low, high = (
        _falls_to(left.quantiles, curve, 1.0 - q / 100.0)
        for curve in (left.probabilities, ends.low.probabilities, ends.high.probabilities)
    )
    if value is None:
        return Estimate(None, n=n, why=f"fewer than {q:g}% of the tasks were seen to their end: measure longer")
    return Estimate(value, low, high, n)


def _falls_to(times: np.ndarray, curve: np.ndarray, level: float) -> float | None:
    """The first time at which a falling curve reaches `level`; None if it never does."""
    below = np.flatnonzero(curve <= level + 1e-12)
    return float(times[below[0]]) if len(below) else None


def _amounts(rows: pd.DataFrame, window: Window | None) -> dict[str, Any]:
    """The figures that are sums over the window."""
    sent = rows["sent_at"].to_numpy()
    start, end = (window.start, window.end) if window is not None else (sent.min(), sent.max())
    if end <= start:
        return {}
    prompt, cached, output = (
        rows[name].to_numpy(dtype=float) for name in ("prompt_tokens", "cached_tokens", "completion_tokens")
    )
    known = ~np.isnan(cached) & ~np.isnan(prompt)
    done = is_ok(rows) & (rows["task_step"] == rows["task_steps"]).to_numpy()
    block = np.clip((sent - start) / (end - start) * RATE_BLOCKS, 0, RATE_BLOCKS - 1).astype(int)
    amounts = {
        "tasks": done,
        "requests": np.ones(len(rows)),
        "sub_agents": rows["task_step"].isna().to_numpy(),
        "sent": prompt,
        "output": output,
        "computed": np.where(known, prompt - cached + np.nan_to_num(output), np.nan),
        "counted": np.where(known, prompt + np.nan_to_num(output), np.nan),
    }
    sums = {
        name: np.bincount(block, weights=np.nan_to_num(amount.astype(float)), minlength=RATE_BLOCKS)
        for name, amount in amounts.items()
    }
    n = int(done.sum())

    def per_task(name: str) -> Estimate:
        if not n:
            return Estimate(None, why="no task was completed")
        return jackknife(ratio(name, "tasks"), sums, n)

    silent = Estimate(None, n=n, why="the engine does not report its hits")
    return {
        "completed_s": block_rate(sums["tasks"], (end - start) / RATE_BLOCKS, n).figure("task/s"),
        "requests": per_task("requests").figure("requests"),
        "sub_agent_requests": per_task("sub_agents").figure("requests"),
        "sent_tokens": per_task("sent").figure("tokens"),
        "output_tokens": per_task("output").figure("tokens"),
        "computed_tokens": (per_task("computed") if known.all() else silent).figure("tokens"),
        "computed_share": (
            jackknife(ratio("computed", "counted"), sums, int(known.sum()), most=1.0) if known.any() else silent
        ).figure("share"),
    }
