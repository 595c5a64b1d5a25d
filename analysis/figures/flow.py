"""Quantities over time: tokens that arrive, requests in flight."""

from __future__ import annotations

import numpy as np
import pandas as pd
from tokenswarm.analysis.figures.window import ended_at


class Flow:
    """Amounts that arrive over time, each spread evenly between its own start and end (seconds).

    An amount with equal start and end arrives at once. `until(t)` is everything that has arrived before t, so the
    amount in an interval is a difference. O(n log n) to build, O(log n) per query.
    """

    def __init__(self, start: np.ndarray, end: np.ndarray, amount: np.ndarray) -> None:
        # Times are kept relative to the first one: unix seconds times token counts would lose digits.
        self._zero = float(start.min()) if len(start) else 0.0
        start, end = start - self._zero, end - self._zero
        spread = end > start
        slope = amount[spread] / (end[spread] - start[spread])
        self._rises = _Ramp(start[spread], slope)
        self._levels = _Ramp(end[spread], slope)
        order = np.argsort(end[~spread], kind="stable")
        self._jump_at = end[~spread][order]
        self._jumped = np.concatenate([[0.0], np.cumsum(amount[~spread][order])])

    def until(self, times: np.ndarray) -> np.ndarray:
        """The amount that has arrived before each of `times` (amounts that arrive exactly then are excluded)."""
        at = np.asarray(times, dtype=float) - self._zero
        jumps = self._jumped[np.searchsorted(self._jump_at, at, side="left")]
        return self._rises.until(at) - self._levels.until(at) + jumps

    def between(self, edges: np.ndarray) -> np.ndarray:
        """The amounts between successive edges."""
        # Rounding can give tiny negative values, which would put a minus on an axis.
        return np.maximum(np.diff(self.until(edges)), 0.0)


class _Ramp:
    """sum over i of slope_i * max(0, t - start_i)."""

    def __init__(self, start: np.ndarray, slope: np.ndarray) -> None:
        order = np.argsort(start, kind="stable")
        self._start = start[order]
        self._slopes = np.concatenate([[0.0], np.cumsum(slope[order])])
        self._offsets = np.concatenate([[0.0], np.cumsum((slope * start)[order])])

    def until(self, at: np.ndarray) -> np.ndarray:
        begun = np.searchsorted(self._start, at, side="right")
        return self._slopes[begun] * at - self._offsets[begun]


def output_flow(rows: pd.DataFrame) -> Flow:
    """Output tokens over time, for requests of every phase and outcome.

    A streamed answer's tokens are spread evenly from its first to its last token. Those of an answer of one token, or
    of one that was not streamed, arrive at its end.
    """
    sent = rows["sent_at"].to_numpy()
    amount = rows["completion_tokens"].to_numpy()
    last = rows["last_token_ms"].to_numpy()
    end_ms = np.where(np.isnan(last), rows["e2e_ms"].to_numpy(), last)
    first = rows["ttft_ms"].to_numpy()
    start_ms = np.where(np.isnan(first) | (amount <= 1), end_ms, first)
    return _flow(sent, start_ms, end_ms, amount)


def prompt_flow(rows: pd.DataFrame) -> Flow:
    """Prompt tokens over time: a prompt counts when its first token came (if not streamed, its whole answer)."""
    first, e2e = rows["ttft_ms"].to_numpy(), rows["e2e_ms"].to_numpy()
    at_ms = np.where(np.isnan(first), e2e, first)
    return _flow(rows["sent_at"].to_numpy(), at_ms, at_ms, rows["prompt_tokens"].to_numpy())


def completed_flow(rows: pd.DataFrame) -> Flow:
    """Successful requests, each at its end."""
    end = ended_at(rows)[(rows["status"] == "ok").to_numpy()]
    return Flow(end, end, np.ones(len(end)))


def _flow(sent: np.ndarray, start_ms: np.ndarray, end_ms: np.ndarray, amount: np.ndarray) -> Flow:
    known = np.isfinite(start_ms) & np.isfinite(end_ms) & np.isfinite(amount)
    sent, start_ms, end_ms = sent[known], start_ms[known], end_ms[known]
    return Flow(sent + start_ms / 1000.0, sent + np.maximum(start_ms, end_ms) / 1000.0, amount[known])


def in_flight(rows: pd.DataFrame, edges: np.ndarray) -> np.ndarray:
    """Mean number of requests in flight between successive `edges` (unix seconds)."""
    if rows.empty:
        return np.zeros(len(edges) - 1)
    zero = float(rows["sent_at"].min())
    each = np.ones(len(rows))
    begun, ended = _Ramp(rows["sent_at"].to_numpy() - zero, each), _Ramp(ended_at(rows) - zero, each)
    busy_s = begun.until(edges - zero) - ended.until(edges - zero)
    return np.maximum(np.diff(busy_s) / np.diff(edges), 0.0)
