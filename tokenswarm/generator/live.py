"""Live figures of a run, cheap enough to be kept in the load generator: for the progress display."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping

from ddsketch import DDSketch

from tokenswarm.schema import STATUSES

_RELATIVE_ERROR = 0.01
_RECENT_S = 10
_WARMUP_ANSWERS = 20_000


class LiveStats:
    """Counts since the beginning, TTFT of the measured phase as a mergeable sketch, token rate of the last 10 s."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(STATUSES, 0)
        self._ttft = DDSketch(_RELATIVE_ERROR)
        self._recent: deque[list[int]] = deque()
        """[second, tokens that arrived in it] of the last seconds."""
        self._since = time.monotonic()
        self.warmup: deque[tuple[float, float]] = deque(maxlen=_WARMUP_ANSWERS)
        """(unix time of its end, TTFT in ms) of each good answer of the warm-up; where it was not streamed, its
        whole time in place of TTFT."""

    def add(self, row: Mapping[str, object]) -> None:
        """Take in one row of requests.csv (by column name)."""
        self.counts[row["status"]] += 1
        if row["ttft_ms"] is not None and row["phase"] == "measure":
            self._ttft.add(row["ttft_ms"])
        if row["phase"] == "warmup" and row["status"] == "ok" and row["e2e_ms"] is not None:
            ttft_ms = row["e2e_ms"] if row["ttft_ms"] is None else row["ttft_ms"]
            self.warmup.append((row["sent_at"] + row["e2e_ms"] / 1e3, ttft_ms))
        tokens = row["completion_tokens"]
        if tokens:
            second = int(time.monotonic())
            if not self._recent or self._recent[-1][0] != second:
                self._recent.append([second, 0])
            self._recent[-1][1] += tokens

    def add_cells(self, cells: Mapping[str, str]) -> None:
        """Take in one row as it stands in the file: cells are text, empty is None."""
        ttft, e2e, tokens = cells["ttft_ms"], cells["e2e_ms"], cells["completion_tokens"]
        self.add({"status": cells["status"], "phase": cells["phase"], "ttft_ms": float(ttft) if ttft else None,
                  "sent_at": float(cells["sent_at"]), "e2e_ms": float(e2e) if e2e else None,
                  "completion_tokens": int(tokens) if tokens else None})

    def figures(self) -> dict[str, object]:
        """What the progress display shows; plain JSON values."""
        now = time.monotonic()
        while self._recent and self._recent[0][0] < now - _RECENT_S:
            self._recent.popleft()
        seconds = max(1.0, min(_RECENT_S, now - self._since))
        return {
            "requests": sum(self.counts.values()),
            "errors": self.counts["failed"],
            "ttft_p95_ms": self._ttft.get_quantile_value(0.95),
            "output_tok_s": sum(tokens for _, tokens in self._recent) / seconds,
        }
