"""When the event loop looks at its sockets: not too often, and when it did so last.

Not too often: with the kernel stamping arrivals nothing is lost by letting them gather for half a millisecond, and
a look that finds ten sockets readable costs little more than one that finds one.

Last look: a socket found readable now was not readable when the loop looked before, so its first byte is younger
than that look. If in between the loop went to sleep in the kernel, nothing was readable when it did so either.
It then woke with an arrival, but when it came to run again is up to the machine: only a stamp tells.
"""

from __future__ import annotations

import sys
import time

import gevent
from gevent.monkey import get_original

REST_NS = 500_000
"""Shortest time between two looks. Sending and timers are late by at most this; stamps are the kernel's."""
_ASLEEP_NS = 50_000
"""A poll that took longer than this did sleep; a shorter one found something waiting."""
_WORTH_SLEEPING_NS = 50_000

_sleep = get_original("time", "sleep")  # the whole thread's, not a greenlet's


class LoopTime:
    """Follows the gevent loop of this process with a prepare and a check watcher (about 1 us an iteration).

    `earliest_ns`: no byte that the current iteration finds unread arrived before this (monotonic ns).
    `woke_ns`: when the current iteration began, if the loop had slept before it; else the same as `earliest_ns`.
    """

    __slots__ = ("_check", "_looked_ns", "_poll_ns", "_prepare", "_rest_ns", "earliest_ns", "woke_ns")

    def __init__(self, rest_ns: int = REST_NS if sys.platform == "linux" else 0) -> None:
        loop = gevent.get_hub().loop
        self._rest_ns = rest_ns
        self._poll_ns = self._looked_ns = self.earliest_ns = self.woke_ns = time.monotonic_ns()
        self._prepare = loop.prepare()
        self._check = loop.check()
        self._prepare.start(self._before_poll)
        self._check.start(self._after_poll)

    def _before_poll(self) -> None:
        now = time.monotonic_ns()
        left = self._rest_ns - (now - self._looked_ns)
        if left > _WORTH_SLEEPING_NS:
            _sleep(left / 1e9)
            now = time.monotonic_ns()
        self._poll_ns = now

    def _after_poll(self) -> None:
        now = time.monotonic_ns()
        if now - self._poll_ns > _ASLEEP_NS:
            self.earliest_ns, self.woke_ns = self._poll_ns, now
        else:
            self.earliest_ns = self.woke_ns = self._looked_ns
        self._looked_ns = now

    def close(self) -> None:
        for watcher in (self._prepare, self._check):
            watcher.stop()
            watcher.close()
