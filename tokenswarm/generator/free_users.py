"""Users of an open loop that wait to begin a session, and the choice of one for each arrival. Pure: no clock.

A locustfile may have several user classes, with weights. In a closed loop Locust's weights are the classes' shares of
the users; in an open loop, where hundreds of users wait for arrivals, they are the classes' shares of the sessions. So
each arrival's class depends only on its number, and two runs of a pair agree, however fast their engines are.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from itertools import accumulate
from random import Random
from typing import Generic, TypeVar

Waiter = TypeVar("Waiter")

_GOLDEN = (5**0.5 - 1) / 2


class ClassShares:
    """User classes in proportion to their numbers of users."""

    def __init__(self, seed: int) -> None:
        self._users: Counter[str] = Counter()
        self._names: list[str] = []
        self._begin = Random(f"class/{seed}").random()

    def add(self, user_class: str) -> None:
        """One more user."""
        self._users[user_class] += 1
        self._names = sorted(self._users)

    def of_arrival(self, number: int) -> str:
        """The class of arrival `number`. Any stretch of arrivals has about the right shares: arrivals are mapped to [0,
        1) by a Kronecker sequence with the golden ratio, which spreads most evenly."""
        if len(self._names) < 2:
            return self._names[0] if self._names else ""
        place = (self._begin + number * _GOLDEN) % 1.0 * self._users.total()
        rising = accumulate(self._users[name] for name in self._names)
        return next((name for name, end in zip(self._names, rising, strict=True) if place < end), self._names[-1])


class FreeUsers(Generic[Waiter]):
    """Waiting users by class, in order of arrival. of_arrival(number): the class of an arrival."""

    def __init__(self, of_arrival: Callable[[int], str]) -> None:
        self._of_arrival = of_arrival
        self._waiting: dict[str, deque[Waiter]] = {}

    def __bool__(self) -> bool:
        return any(self._waiting.values())

    def add(self, waiter: Waiter, user_class: str) -> None:
        """A user begins to wait."""
        self._waiting.setdefault(user_class, deque()).append(waiter)

    def remove(self, waiter: Waiter) -> None:
        """The user stops waiting, if it was."""
        for name, waiting in self._waiting.items():
            self._waiting[name] = deque(other for other in waiting if other is not waiter)

    def take(self, number: int) -> Waiter:
        """The user for arrival `number`: the one of its class that has waited longest, or, if all of that class are
        busy, of the class with the most free users. There must be one."""
        waiting = self._waiting.get(self._of_arrival(number))
        if not waiting:
            waiting = max(self._waiting.values(), key=len)
        return waiting.popleft()
