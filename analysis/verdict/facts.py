"""The facts about a run that the validity rules look at: whether it is complete, and its load generator kept up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from tokenswarm.analysis.figures.quantities import (
    is_generators_failure,
    is_ok,
    lateness_ms,
    outcome_counts,
)
from tokenswarm.analysis.figures.timing import TimingError, timing_errors
from tokenswarm.analysis.figures.window import Window
from tokenswarm.analysis.read.run_folder import Run
from tokenswarm.analysis.verdict.misfits import misfits
from tokenswarm.analysis.verdict.spoilt import judged_metrics

from tokenswarm.contract.manifest import CountsRecord
from tokenswarm.contract.tables import LIMIT_KINDS

SUSTAINED_S = 10
"""A worker is busy if it is over the limit for most of this many seconds."""
STALL_MS = 500.0
"""A timer this late is a stall."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules look at. None = not known."""

    missing_files: tuple[str, ...]
    status: str | None
    open_loop: bool
    has_window: bool
    rows: int
    measured_ok: int
    measured_sent: int
    cancelled: int
    counted: int | None
    rows_lost: int
    damaged_lines: int
    median_latency_ms: float | None
    error_bound_ms: float | None
    lateness_p99_ms: float | None
    cpu_share: float | None
    in_flight_max: float | None
    in_flight_limit: float | None
    workers_lost: float | None
    unsent: float | None
    timing: tuple[TimingError, ...] = ()
    judged_metrics: frozenset[str] = frozenset()
    """Metrics whose error makes the run INVALID: headlines and gated ones."""
    steal_share: float | None = None
    cores: int | None = None
    workers: int | None = None
    held_back: float | None = None
    generator_failures: int = 0
    user_errors: int = 0
    limited_share: float | None = None
    """Share of the requests that ended that were refused by a limit of the endpoint (a rate, a quota)."""
    limits: str = ""
    """Which kinds of refusal these were."""
    limit_reached: str = ""
    """load.max_requests or load.max_usd, if it ended the run."""
    usd: float | None = None
    stalled_share: float | None = None
    going: bool = False
    ended_early: str | None = None
    imported: str = ""
    """The tool that measured the run, if not tokenswarm."""
    misfits: tuple[str, ...] = ()
    """What the folder's files say against each other."""


def gather(run: Run, window: Window | None) -> Facts:
    """The facts of a run."""
    rows = run.measured
    ok = rows.loc[is_ok(rows), ["ttft_ms", "e2e_ms"]]
    counts = outcome_counts(rows)
    manifest = run.manifest
    counted = manifest.counts or CountsRecord()
    late = lateness_ms(rows)
    workers = worker_samples(run, window)
    bound_ms, kinds = error_bound_ms(rows, workers), set(rows["error"].dropna().unique())
    return Facts(
        missing_files=run.missing_files,
        status=manifest.status,
        open_loop=manifest.load.mode == "open" or not np.isnan(late).all(),
        has_window=window is not None and window.seconds > 0,
        rows=len(run.requests),
        measured_ok=counts.ok,
        measured_sent=counts.sent,
        cancelled=counts.cancelled,
        counted=counted.sent,
        workers_lost=counted.workers_lost,
        unsent=counted.unsent,
        held_back=counted.arrivals_queued,
        generator_failures=int(is_generators_failure(run.requests).sum()),
        limited_share=limited_share(rows),
        limits=" and ".join(kind for kind in LIMIT_KINDS if kind in kinds),
        limit_reached=" and ".join(sorted(counted.limit_reached or {})),
        usd=counted.usd,
        user_errors=sum((counted.user_errors or {}).values()),
        stalled_share=stalled_share(workers, window),
        going=run.going,
        ended_early=(manifest.ended_early.sentence or "no reason is told") if manifest.ended_early else None,
        imported=(manifest.imported.tool or "another tool") if manifest.imported is not None else "",
        misfits=tuple(misfits(run, window)),
        rows_lost=counted.rows_lost or 0,
        damaged_lines=run.damaged_lines,
        median_latency_ms=_median_latency(ok),
        error_bound_ms=bound_ms,
        timing=timing_errors(rows, bound_ms),
        judged_metrics=judged_metrics(run),
        steal_share=_mean(workers["steal_share"].to_numpy()),
        cores=manifest.host.cores if manifest.host else None,
        workers=manifest.load.workers,
        lateness_p99_ms=_percentile(late, 99),
        cpu_share=busiest_cpu_share(workers),
        in_flight_max=_percentile(workers.groupby("at")["in_flight"].sum(min_count=1).to_numpy(), 100),
        in_flight_limit=manifest.load.max_in_flight,
    )


def limited_share(rows: pd.DataFrame) -> float | None:
    """Share of the requests that ended, ok or failed, that were refused by a limit of the endpoint."""
    ended = rows["status"].isin(("ok", "failed")).to_numpy()
    limited = rows["error"].astype("object").isin(LIMIT_KINDS).to_numpy() & ended
    return float(limited.sum() / ended.sum()) if ended.any() else None


def worker_samples(run: Run, window: Window | None) -> pd.DataFrame:
    """host_metrics rows of the load-generating processes inside the window."""
    table = run.host_metrics
    workers = [source for source in table["source"].unique() if str(source).startswith("worker")]
    chosen = table["source"].isin(workers).to_numpy()
    if window is not None:
        at = table["at"].to_numpy()
        chosen = chosen & (at >= window.start) & (at <= window.end)
    return table[chosen]


def busiest_cpu_share(workers: pd.DataFrame) -> float | None:
    """The CPU share of the busiest worker over its busiest SUSTAINED_S seconds (median)."""
    peaks = []
    for _, samples in workers.dropna(subset=["cpu_share"]).groupby("source", observed=True):
        series = pd.Series(samples["cpu_share"].to_numpy(), index=pd.to_datetime(samples["at"].to_numpy(), unit="s"))
        series = series.sort_index()
        whole = series.index[-1] - series.index[0] if len(series) else pd.Timedelta(0)
        if whole < pd.Timedelta(seconds=SUSTAINED_S):
            peaks.append(float(series.median()))
            continue
        rolling = series.rolling(f"{SUSTAINED_S}s").median()
        # The first windows are shorter than SUSTAINED_S.
        peaks.append(float(rolling[series.index >= series.index[0] + pd.Timedelta(seconds=SUSTAINED_S - 1)].max()))
    return max(peaks, default=None)


def stalled_share(workers: pd.DataFrame, window: Window | None) -> float | None:
    """Share of the window in which the most delayed worker was blocked, from its worst delay in each second.

    Of two stalls within a second only the longer one is known.
    """
    lags = workers[["source", "loop_lag_ms"]].dropna()
    if window is None or not window.seconds or lags.empty:
        return None
    stalls = lags["loop_lag_ms"].where(lags["loop_lag_ms"] >= STALL_MS, 0.0)
    return float(stalls.groupby(lags["source"].astype("str")).sum().max()) / 1e3 / window.seconds


def error_bound_ms(rows: pd.DataFrame, workers: pd.DataFrame) -> float | None:
    """The error bound of a latency in this run: p99 of what each request knows about its own timestamps.

    If requests have none (answers that were not streamed), how long received bytes waited to be read.
    """
    known = _percentile(rows["ttft_uncertainty_ms"].to_numpy(), 99)
    return known if known is not None else _percentile(workers["read_lag_p99_ms"].to_numpy(), 100)


def _median_latency(ok: pd.DataFrame) -> float | None:
    ttft = _percentile(ok["ttft_ms"].to_numpy(), 50)
    return ttft if ttft is not None else _percentile(ok["e2e_ms"].to_numpy(), 50)


def _mean(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def _percentile(values: np.ndarray, q: float) -> float | None:
    values = values[~np.isnan(values)]
    return float(np.percentile(values, q)) if len(values) else None
