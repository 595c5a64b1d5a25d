"""Samples the load generator's health once a second: CPU, loop lag, unread bytes, lateness, memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gevent
import psutil

from tokenswarm.client.answer import Answer
from tokenswarm.generator.rows import quantile

_SAMPLE_S = 1.0
_TICK_S = 0.02
_MIB = 1024 * 1024


class Steal:
    """The machine's steal time between two calls: CPU time that the host gave to other machines (/proc/stat)."""

    def __init__(self, cpu_times: Callable[[], Any] = psutil.cpu_times) -> None:
        self._cpu_times = cpu_times
        self._before = cpu_times()

    def share(self) -> float | None:
        """Share of CPU time since the last call; None if it is not counted or cannot be read."""
        try:
            before, self._before = self._before, self._cpu_times()
        except OSError:  # out of file descriptors, say
            return None
        if not hasattr(self._before, "steal"):
            return None
        # What guests used is part of `user` and `nice` already.
        spent = sum(self._before[:8]) - sum(before[:8])
        return max(0.0, self._before.steal - before.steal) / spent if spent > 0 else None


class Health:
    """Samples this process and hands a host_metrics row to `emit` each second, until killed."""

    def __init__(self, source: str, in_flight: Callable[[], int], emit: Callable[[dict[str, object]], None]) -> None:
        self._source = source
        self._in_flight = in_flight
        self._emit = emit
        self._process = psutil.Process()
        self._worst_tick_s = 0.0
        self._lags_ms: list[float] = []
        self._late_ms: float | None = None
        self._tokens = 0
        self._greenlets = [gevent.spawn(self._tick), gevent.spawn(self._sample)]

    def saw(self, answer: Answer, lateness_ms: float | None) -> None:
        """Record a finished request."""
        if answer.read_lag_max_ms is not None:
            self._lags_ms.append(answer.read_lag_max_ms)
        if lateness_ms is not None and (self._late_ms is None or lateness_ms > self._late_ms):
            self._late_ms = lateness_ms
        self._tokens += answer.chunks or 0

    def stop(self) -> None:
        gevent.killall(self._greenlets, block=False)

    def _tick(self) -> None:
        """Measure how late a timer fires: the lag of this event loop."""
        while True:
            before = time.monotonic()
            gevent.sleep(_TICK_S)
            self._worst_tick_s = max(self._worst_tick_s, time.monotonic() - before - _TICK_S)

    def _resident_mb(self) -> float | None:
        try:
            return self._process.memory_info().rss / _MIB
        except (OSError, psutil.Error):  # out of file descriptors, say: the rest of the row is worth having
            return None

    def _sample(self) -> None:
        wall, cpu, steal = time.monotonic(), time.process_time(), Steal()
        while True:
            gevent.sleep(_SAMPLE_S)
            now, used = time.monotonic(), time.process_time()
            share = (used - cpu) / (now - wall)
            wall, cpu = now, used
            lags = sorted(self._lags_ms)
            row = {
                "at": time.time(),
                "source": self._source,
                "cpu_share": share,
                "loop_lag_ms": self._worst_tick_s * 1e3,
                "read_lag_p99_ms": quantile(lags, 0.99) if lags else None,
                "lateness_max_ms": self._late_ms,
                "rss_mb": self._resident_mb(),
                "steal_share": steal.share(),
                "in_flight": self._in_flight(),
                "tokens": self._tokens,
            }
            self._worst_tick_s, self._lags_ms, self._late_ms, self._tokens = 0.0, [], None, 0
            self._emit(row)
