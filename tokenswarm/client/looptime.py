"""Controls how often the event loop polls its sockets, and knows when it last did.

Slow work takes turns. An answer that has ended is decoded, recorded and followed by the next request, which takes about
a millisecond. Many answers that end at once would keep the loop from its sockets for as many milliseconds, so it polls
between any two of them.

Not too often: since the kernel timestamps arrivals, nothing is lost by letting them gather for half a millisecond, and
a poll that finds ten readable sockets costs little more than one that finds one. The more work each poll brings, the
longer the loop rests: at 16,000 events/s, polling every 1.25 ms saves a seventh of the CPU (bench/client_truth.py).

Not too seldom: a socket that is readable now was not readable at the previous poll, so its first byte arrived after
that poll. This holds even if the process got no CPU in between, and it bounds the error of a timestamp that stands for
several events. A timer keeps the bound small while nothing happens. A poll returns at most 64 sockets at first (a limit
of libev, which doubles it each time it is reached). After a poll that returned nearly that many, the next one may find
sockets that were readable before.
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
"""Shortest time between two polls, with little and with much to do. Sends and timers are late by at most this.
Timestamps are the kernel's, so only events of one stream that arrive within one rest are affected."""
_RESTS_PER_WORK = 8
"""A rest is this many times as long as the work before it, so that polling costs little in comparison."""
LOOK_S = 0.0015
"""Longest time between two polls of a loop that gets the CPU: below the 2 ms of error that a valid run may have."""
_LONGEST_POLL_NS = int(LOOK_S * 1.2e9)
_WORTH_SLEEPING_NS = 50_000
_MAY_BE_CUT = 48
"""From this many reads on, a poll may not have returned all readable sockets."""

_sleep = get_original("time", "sleep")  # suspends the whole thread, not one greenlet


class LoopTime:
    """Follows the gevent loop of this process (about 1 us an iteration, 1% of a core when idle).

    `earliest_ns`: no byte read in the current iteration arrived before this (monotonic ns). `wall_behind_ns`: the
    monotonic clock minus the wall clock, as of the last poll.
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
        """Reads since the last poll; readers increment it."""
        self._watchers = (loop.prepare(), loop.check(), loop.timer(LOOK_S, LOOK_S))
        callbacks = (self._before_poll, self._after_poll, self._tick)
        for watcher, callback in zip(self._watchers, callbacks, strict=True):
            watcher.start(callback)

    def schedule_wakeup(self, waiter: Waiter) -> None:
        """Wake `waiter`'s greenlet: one greenlet per iteration of the loop, in order."""
        self._turns.append(waiter)

    def yield_to_poll(self) -> None:
        """Let the loop poll its sockets, then continue before any other greenlet that waits for its turn."""
        waiter = Waiter()
        self._turns.appendleft(waiter)
        waiter.get()

    def _before_poll(self) -> None:
        if self._turns:
            self._loop.run_callback(self._turns.popleft().switch, None)  # the poll will not block then
            self._polled_ns = time.monotonic_ns()
            return
        self._polled_ns = now_ns = time.monotonic_ns()
        if self._ready_to_run:  # greenlets run before the poll: a rest would delay their requests and the poll
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
        # A poll ends with the next tick at the latest. If it took longer, the process was held, perhaps after
        # polling.
        self._looked_ns = now_ns if now_ns - self._polled_ns < _LONGEST_POLL_NS else self._polled_ns
        self.reads = 0

    def _tick(self) -> None:
        """Does nothing: the timer only makes the loop poll."""

    def close(self) -> None:
        for watcher in self._watchers:
            watcher.stop()
            watcher.close()
