"""CPU and memory of an engine that runs as processes of this machine, as rows of host_metrics.csv."""

from __future__ import annotations

import contextlib
import time

import psutil

from tokenswarm.engines.local import processes

_LOOK_AGAIN_S = 30.0
"""To find the processes of a family all processes of the machine are looked through: not every second."""
_MIB = 1024 * 1024


class ProcessSampler:
    """Sums CPU time and resident memory over a process and its descendants. Source: `engine`."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._members: list[psutil.Process] = []
        self._looked_at = -_LOOK_AGAIN_S
        self._cpu_s: dict[int, float] = {}
        self._before: float | None = None

    def __call__(self, at: float) -> list[dict[str, object]]:
        """One row: CPU as a share of one core since the last call (empty the first time), memory in MiB; none once the
        processes are gone. Memory that processes share counts for each of them.
        """
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_AGAIN_S:
            self._members, self._looked_at = processes.family(self._pid), now
        rss, used_s, cpu_s = 0, 0.0, {}
        for member in self._members:
            with contextlib.suppress(psutil.Error), member.oneshot():
                times, resident = member.cpu_times(), member.memory_info().rss
                if not resident:
                    continue  # a zombie: ended, and not yet fetched by its parent
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
