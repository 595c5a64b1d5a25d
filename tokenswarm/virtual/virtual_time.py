"""Virtual time: what happens when, in order. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Callable


class Clock:
    """Moments and what is done at them. Of one moment, what was asked for first is done first."""

    def __init__(self) -> None:
        self.now = 0.0
        """Seconds."""
        self._order = 0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []

    def at(self, moment: float, action: Callable[[], None]) -> None:
        """Do it then; at once if that has passed."""
        self._order += 1
        heapq.heappush(self._heap, (max(moment, self.now), self._order, action))

    def next_s(self) -> float | None:
        """When something is to be done next."""
        return self._heap[0][0] if self._heap else None

    def step(self) -> None:
        """Go to the next moment, and do what is to be done."""
        self.now, _, action = heapq.heappop(self._heap)
        action()

    def forget(self) -> None:
        """Nothing of what was asked for is to be done any more."""
        self._heap.clear()
