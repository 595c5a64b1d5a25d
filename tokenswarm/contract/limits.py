"""Limits beyond which a run measures its own load generator. Shared by live figures and the verdict."""

from __future__ import annotations

import math

from tokenswarm.base.numbers import significant

CPU_SHARE_LIMIT = 0.90
"""Above this share of a core an event loop queues its own work, which appears as latency."""
ERROR_FLOOR_MS, LATE_FLOOR_MS, RELATIVE_LIMIT = 2.0, 10.0, 0.05
"""A timing error is acceptable below the floor, or below this share of the median latency."""


def share_of_a_token(tokens: float | None) -> float:
    """What an error of a stream's two ends comes to for each token of an answer of so many (the median): it is shared
    among the gaps between them, and so is the floor."""
    return 1.0 / max(1.0, (tokens or 0.0) - 1.0)


def timing_limit_ms(median_ms: float, share: float = 1.0) -> float:
    """What the error of a latency with this median may be. `share`: of a latency for each token."""
    return max(ERROR_FLOOR_MS * share, RELATIVE_LIMIT * median_ms)


def timing_words(error_ms: float, limit_ms: float) -> str:
    """Why a latency whose timing error exceeds its limit is withheld."""
    return f"its timing may be off by {significant(error_ms, 2)} ms, limit {significant(limit_ms, 2)} ms"


def observations_needed(q: float) -> int:
    """Observations that percentile `q` (0 < q < 100) needs, live as on the page: at least one is expected beyond it on
    either side.

    p50 needs 2, p95 needs 20, p99 needs 100, p99.9 needs 1000.
    """
    return math.ceil(round(100.0 / min(q, 100.0 - q), 9))
