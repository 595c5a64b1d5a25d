"""Waking up on time: libuv's timers count whole milliseconds, so the simulator uses a kernel timer of its own."""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from collections.abc import Callable

_CLOCK_MONOTONIC = 1
_TFD_NONBLOCK = os.O_NONBLOCK
_TFD_TIMER_ABSTIME = 1


class _TimerSpec(ctypes.Structure):
    """struct itimerspec of timerfd_settime(2): interval, then value, each as seconds and nanoseconds."""

    _fields_ = [(name, ctypes.c_long) for name in ("interval_s", "interval_ns", "value_s", "value_ns")]


class Pacemaker:
    """Calls back once at a given time.monotonic_ns(), to some tens of microseconds.

    Linux: a timerfd that the loop watches. Elsewhere: the loop's own timer, to about a millisecond.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._callback = callback
        self._handle: asyncio.TimerHandle | None = None
        self._fd = -1
        self._armed_ns: int | None = None
        libc = ctypes.CDLL(None, use_errno=True)
        if hasattr(libc, "timerfd_create"):
            self._settime = libc.timerfd_settime
            self._spec = _TimerSpec()
            self._spec_ref = ctypes.byref(self._spec)
            self._fd = libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK)
        if self._fd >= 0:
            loop.add_reader(self._fd, self._fired)

    def arm(self, at_ns: int | None) -> None:
        """Call back at at_ns (at once if that has passed); None: not at all. Replaces an earlier time."""
        if at_ns == self._armed_ns:
            return
        self._armed_ns = at_ns
        if self._fd < 0:
            self._arm_loop_timer(at_ns)
            return
        # a value of zero would disarm the timer; 1 ns after boot has passed long ago and fires at once
        self._spec.value_s, self._spec.value_ns = divmod(0 if at_ns is None else max(at_ns, 1), 1_000_000_000)
        self._settime(self._fd, _TFD_TIMER_ABSTIME, self._spec_ref, None)

    def close(self) -> None:
        """No more calls; frees the timer."""
        self.arm(None)
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _fired(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # re-armed since the wake-up
        self._armed_ns = None
        self._callback()

    def _arm_loop_timer(self, at_ns: int | None) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if at_ns is not None:
            delay_s = max(0.0, (at_ns - time.monotonic_ns()) / 1e9)
            self._handle = self._loop.call_later(delay_s, self._loop_timer_fired)

    def _loop_timer_fired(self) -> None:
        self._handle = None
        self._armed_ns = None
        self._callback()
