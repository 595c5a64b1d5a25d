"""When the event loop looks at its sockets: not too often, not too seldom, and when it did so last.

What is slow takes turns: an answer that has ended is decoded, recorded and followed by the next request, which is a
millisecond's work. Many that end at once would keep the loop from its sockets for as many milliseconds, so the loop
looks between any two of them.

Not too often: with the kernel stamping arrivals nothing is lost by letting them gather for half a millisecond, and
a look that finds ten sockets readable costs little more than one that finds one. The more work the looks bring, the
longer they may gather: at 16,000 events/s a look every 1.25 ms saves a seventh of the CPU (bench/client_truth.py).

Not too seldom: what the loop finds readable now was not readable when it looked before, so its first byte is younger
than that look. This holds whatever kept the process from the CPU, and it bounds the error of a stamp that stands for
several events. A timer keeps that bound small while nothing happens. One look brings 64 sockets at first (libev's own
limit, which it doubles each time that it is reached): of a look that brought nearly as many, the next one may find what
was readable before it.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Sized

import gevent
from gevent.hub import Waiter
from gevent.monkey import get_original

POLL_INTERVAL_NS, LONGEST_REST_NS = 500_000, 1_250_000
"""Shortest time between two looks, with little and with much to do. Sending and timers are late by at most this; stamps
are the kernel's. Only of events of one stream that come within one rest the times are known no better."""
_RESTS_PER_WORK = 8
"""After so much work a rest is this many times as long: the looks' own cost stays small beside it."""
LOOK_S = 0.0015
"""Longest time between two looks of a loop that gets the CPU: below the 2 ms that a run's error may reach."""
_LONGEST_POLL_NS = int(LOOK_S * 1.2e9)
_WORTH_SLEEPING_NS = 50_000
_MAY_BE_CUT = 48
"""Reads from which a look may not have brought all that was readable; what it brings beside them is few."""

_sleep = get_original("time", "sleep")  # the whole thread's, not a greenlet's


class LoopTime:
    """Follows the gevent loop of this process (about 1 us an iteration, 1% of a core when idle).

    `earliest_ns`: no byte that the current iteration finds unread arrived before this (monotonic ns).
    `wall_behind_ns`: the monotonic clock minus the wall clock, as of the last look.
    """

    __slots__ = (
        "_longest_ns",
        "_looked_ns",
        "_loop",
        "_polled_ns",
        "_ready_to_run",
        "_rest_ns",
        "_turns",
        "_watchers",
        "earliest_ns",
        "reads",
        "wall_behind_ns",
    )

    def __init__(self, rest_ns: int = POLL_INTERVAL_NS if sys.platform == "linux" else 0) -> None:
        self._loop = loop = gevent.get_hub().loop
        self._ready_to_run: Sized = loop._callbacks
        self._turns: deque[Waiter] = deque()
        self._rest_ns, self._longest_ns = rest_ns, LONGEST_REST_NS if rest_ns else 0
        self._polled_ns = self._looked_ns = self.earliest_ns = time.monotonic_ns()
        self.wall_behind_ns = self._looked_ns - time.time_ns()
        self.reads = 0
        """Reads since the last look; whoever reads counts here."""
        self._watchers = (loop.prepare(), loop.check(), loop.timer(LOOK_S, LOOK_S))
        callbacks = (self._before_poll, self._after_poll, self._tick)
        for watcher, callback in zip(self._watchers, callbacks, strict=True):
            watcher.start(callback)

    def schedule_wakeup(self, waiter: Waiter) -> None:
        """Wake `waiter`'s greenlet, one in each iteration of the loop; those that wait are woken in order."""
        self._turns.append(waiter)

    def yield_to_poll(self) -> None:
        """Let the loop look at its sockets, then go on, before any other greenlet that waits for its turn."""
        waiter = Waiter()
        self._turns.appendleft(waiter)
        waiter.get()

    def _before_poll(self) -> None:
        if self._turns:
            self._loop.run_callback(self._turns.popleft().switch, None)  # the poll will not block then
            self._polled_ns = time.monotonic_ns()
            return
        self._polled_ns = now_ns = time.monotonic_ns()
        if self._ready_to_run:  # greenlets run before the poll: resting first would delay their requests and the look
            return
        worked = now_ns - self._looked_ns
        left = min(self._longest_ns, max(self._rest_ns, _RESTS_PER_WORK * worked)) - worked
        if left > _WORTH_SLEEPING_NS:
            _sleep(left / 1e9)
            self._polled_ns = time.monotonic_ns()

    def _after_poll(self) -> None:
        if self.reads < _MAY_BE_CUT:
            self.earliest_ns = self._looked_ns
        now_ns = time.monotonic_ns()
        self.wall_behind_ns = now_ns - time.time_ns()
        # A poll ends with the next tick at the latest. One that took longer was held, maybe behind its look.
        self._looked_ns = now_ns if now_ns - self._polled_ns < _LONGEST_POLL_NS else self._polled_ns
        self.reads = 0

    def _tick(self) -> None:
        """The look itself is what it is for."""

    def close(self) -> None:
        for watcher in self._watchers:
            watcher.stop()
            watcher.close()
