"""The limits of trust: beyond them a run measures its own load generator. Live figures and the verdict share them."""

from __future__ import annotations

import math

CPU_SHARE_LIMIT = 0.90
"""Above this share of a core an event loop queues its own work, and queued work reads as latency."""
ERROR_FLOOR_MS, LATE_FLOOR_MS, RELATIVE_LIMIT = 2.0, 10.0, 0.05
"""An error of timing is harmless below the floor, or below this share of the median latency."""


def observations_needed(q: float) -> int:
    """Observations that percentile `q` (0 < q < 100) needs, live as on the page: at least one is expected beyond it on
    either side.

    p50 needs 2, p95 needs 20, p99 needs 100, p99.9 needs 1000.
    """
    return math.ceil(round(100.0 / min(q, 100.0 - q), 9))
