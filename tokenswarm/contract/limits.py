"""The limits of trust: beyond them a run measures its own load generator. Live figures and the verdict share them."""

from __future__ import annotations

CPU_SHARE_LIMIT = 0.90
"""Above this share of a core an event loop queues its own work, and queued work reads as latency."""
ERROR_FLOOR_MS, LATE_FLOOR_MS, RELATIVE_LIMIT = 2.0, 10.0, 0.05
"""An error of timing is harmless below the floor, or below this share of the median latency."""
