"""A clock for tests: its time advances only while everything that uses it sleeps, and then at once."""

from __future__ import annotations

import heapq
import math

import gevent
from gevent.event import Event

_TURNS = 3
"""How often the others of the event loop get their turn before time goes on: what one of them wakes may act too."""


class MovedClock:
    """Begins at a moment of its own; whoever is to wake first moves it on."""

    def __init__(self, now: float = 1_795_000_000.0) -> None:
        self._now = now
        self._wakes: list[float] = []

    def time(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self.wait(Event(), seconds)

    def wait(self, event: Event, seconds: float) -> None:
        if seconds <= 0:
            return gevent.sleep(0)
        wake = max(self._now + seconds, math.nextafter(self._now, math.inf))
        heapq.heappush(self._wakes, wake)
        try:
            while self._now < wake and not event.is_set():
                for _ in range(_TURNS):
                    gevent.sleep(0)
                if not event.is_set() and self._wakes[0] == wake:
                    self._now = max(self._now, wake)
        finally:  # it may be killed
            self._wakes.remove(wake)
            heapq.heapify(self._wakes)
