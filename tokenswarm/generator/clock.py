"""The wall clock and waiting, injected so that tests of long waits take no time."""

from __future__ import annotations

import time
from typing import Protocol

import gevent
from gevent.event import Event


class TimeSource(Protocol):
    """A source of unix time, and ways to wait while other greenlets run."""

    def time(self) -> float:
        """Now."""

    def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""

    def wait(self, event: Event, seconds: float) -> None:
        """Return once the event is set, or after so many seconds."""


class WallClock:
    """The machine's own."""

    def time(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        gevent.sleep(seconds)

    def wait(self, event: Event, seconds: float) -> None:
        event.wait(seconds)


WALL_CLOCK: TimeSource = WallClock()
