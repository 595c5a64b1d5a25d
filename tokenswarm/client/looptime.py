"""When the event loop last looked at its sockets: the lower bound for the arrival of what it finds there.

A socket found readable now was not readable when the loop looked before, so its first byte is younger than that
look. If in between the loop had gone to sleep in the kernel, nothing was readable at that moment either, and it
woke with the arrival.
"""

from __future__ import annotations

import time

import gevent

_ASLEEP_NS = 50_000
"""A poll that took longer than this did sleep; a shorter one found something waiting."""


class LoopTime:
    """Follows the gevent loop of this process with a prepare and a check watcher (about 1 us an iteration).

    `earliest_ns`: no byte that the current iteration finds unread arrived before this (monotonic ns).
    """

    __slots__ = ("_check", "_looked_ns", "_poll_ns", "_prepare", "earliest_ns")

    def __init__(self) -> None:
        loop = gevent.get_hub().loop
        now = time.monotonic_ns()
        self._poll_ns = self._looked_ns = self.earliest_ns = now
        self._prepare = loop.prepare()
        self._check = loop.check()
        self._prepare.start(self._before_poll)
        self._check.start(self._after_poll)

    def _before_poll(self) -> None:
        self._poll_ns = time.monotonic_ns()

    def _after_poll(self) -> None:
        now = time.monotonic_ns()
        self.earliest_ns = now if now - self._poll_ns > _ASLEEP_NS else self._looked_ns
        self._looked_ns = now

    def close(self) -> None:
        for watcher in (self._prepare, self._check):
            watcher.stop()
            watcher.close()
