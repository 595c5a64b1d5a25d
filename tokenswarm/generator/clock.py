"""The time of day, and waiting for it: handed to what waits for minutes, so that a test need not."""

from __future__ import annotations

import time
from typing import Protocol

import gevent
from gevent.event import Event


class TimeSource(Protocol):
    """Seconds since 1970, and ways to let them pass while other greenlets run."""

    def time(self) -> float:
        """Now."""

    def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""

    def wait(self, event: Event, seconds: float) -> None:
        """Return once the event is set, and after so many seconds at the latest."""


class WallClock:
    """The machine's own."""

    def time(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        gevent.sleep(seconds)

    def wait(self, event: Event, seconds: float) -> None:
        event.wait(seconds)


WALL_CLOCK: TimeSource = WallClock()
