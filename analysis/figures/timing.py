"""The error bound of each latency, and its limit: 3 ms spoil a TTFT of 20 ms, but not an E2E of 3 s."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from tokenswarm.analysis.figures.quantities import is_ok, latency_of

from tokenswarm.contract.limits import share_of_a_token, timing_limit_ms
from tokenswarm.contract.metrics import METRICS


@dataclass(frozen=True, slots=True)
class TimingError:
    """The error bound of one latency, in ms, and its limit: a share of the median, or a harmless floor."""

    name: str
    title: str
    error_ms: float
    limit_ms: float

    @property
    def is_spoilt(self) -> bool:
        return self.error_ms > self.limit_ms


def timing_errors(rows: pd.DataFrame, bound_ms: float | None) -> tuple[TimingError, ...]:
    """By latency that was measured; empty if the error is unknown. `bound_ms`: of one timestamp.

    A latency per token (TPOT) spreads the error of its stream's two ends over its tokens, and the floor likewise.
    """
    if bound_ms is None:
        return ()
    ok = is_ok(rows)
    tokens = rows["completion_tokens"].to_numpy()[ok]
    of_token = share_of_a_token(float(np.median(tokens[tokens >= 2])) if (tokens >= 2).any() else None)
    errors = []
    for latency in METRICS.latencies():
        values = latency_of(latency, rows)[ok]
        values = values[~np.isnan(values)]
        if len(values):
            share = of_token if latency.scale == "token" else 1.0
            limit_ms = timing_limit_ms(float(np.median(values)), share)
            errors.append(TimingError(latency.name, latency.title, bound_ms * share, limit_ms))
    return tuple(errors)
