"""Virtual time: a queue of events in order. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Callable


class Clock:
    """Events and their times. Events at the same time run in the order in which they were added."""

    def __init__(self) -> None:
        self.now = 0.0
        """Seconds."""
        self._order = 0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []

    def at(self, moment: float, action: Callable[[], None]) -> None:
        """Schedule a call at that time, or now if it has passed."""
        self._order += 1
        heapq.heappush(self._heap, (max(moment, self.now), self._order, action))

    def next_s(self) -> float | None:
        """Time of the next event."""
        return self._heap[0][0] if self._heap else None

    def step(self) -> None:
        """Advance to the next event and run it."""
        self.now, _, action = heapq.heappop(self._heap)
        action()

    def forget(self) -> None:
        """Cancel all events."""
        self._heap.clear()
