"""CPU and memory of an engine that runs as local processes, as rows of host_metrics.csv."""

from __future__ import annotations

import contextlib
import time

import psutil

from tokenswarm.engines.local import processes

_LOOK_AGAIN_S = 30.0
"""Interval for finding child processes. It scans all processes of the machine, so not every second."""
_MIB = 1024 * 1024


class ProcessSampler:
    """Sums CPU time and resident memory over a process and its descendants, for source `engine`."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._members: list[psutil.Process] = []
        self._looked_at = -_LOOK_AGAIN_S
        self._cpu_s: dict[int, float] = {}
        self._before: float | None = None

    def __call__(self, at: float) -> list[dict[str, object]]:
        """One row: CPU use since the last call as a share of one core (empty the first time), and memory in MiB. No row
        once the processes have ended. Memory shared by processes is counted once for each of them.
        """
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_AGAIN_S:
            self._members, self._looked_at = processes.family(self._pid), now
        rss, used_s, cpu_s = 0, 0.0, {}
        for member in self._members:
            with contextlib.suppress(psutil.Error), member.oneshot():
                times, resident = member.cpu_times(), member.memory_info().rss
                if not resident:
                    continue  # a zombie: ended, but not yet reaped by its parent
                cpu_s[member.pid] = times.user + times.system
                used_s += cpu_s[member.pid] - self._cpu_s.get(member.pid, cpu_s[member.pid])
                rss += resident
        elapsed_s = None if self._before is None else now - self._before
        self._cpu_s, self._before = cpu_s, now
        if not cpu_s:
            return []
        return [
            {"at": at, "source": "engine", "rss_mb": rss / _MIB, "cpu_share": used_s / elapsed_s if elapsed_s else None}
        ]
