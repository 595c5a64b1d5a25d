"""Which user class of a mix a session belongs to. Pure: no clock, and nothing of it depends on what the engine does.

Shares of session starts are drawn, each by the number of its arrival, so that two runs of a pair draw alike.

Shares of requests are kept by stride scheduling (Waldspurger and Weihl, MIT/LCS/TM-528, 1995): the class that is
furthest behind its share begins the next session, and moves ahead by the requests that this one has, over its share.
What has come of each class is then never further from its share than one session of each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from random import Random

from tokenswarm.generator.session_stream import prime_from
from tokenswarm.scenario.mix import REQUESTS, Mix

_REMEMBERED = 10_000
"""Arrivals whose class is remembered: more than can wait at once."""


class Stride:
    """One sequence of sessions with shares of requests. `turns`: about how many requests a session of each class has;
    `begun`: how far each class is at the beginning, from 0 to 1 session: else every user would begin alike.
    """

    def __init__(self, shares: Mapping[str, float], turns: Mapping[str, float], begun: Mapping[str, float]) -> None:
        self._ahead = {name: turns[name] / share for name, share in shares.items()}
        self._shares = shares
        self._passed = {name: begun[name] * ahead for name, ahead in self._ahead.items()}
        self._chose, self._carried = False, False

    def choose(self) -> str:
        """The class whose session comes next."""
        self._chose = True
        return min(self._passed, key=lambda name: (self._passed[name], name))

    def sent(self, name: str, requests: float) -> None:
        """So many requests of a class come, or will have come when its session is over.

        What comes before any was chosen is of a session that the sequence did not begin. It counts once, as a whole:
        its class had been the one that was behind.
        """
        if self._chose:
            self._passed[name] += requests / self._shares[name]
        elif not self._carried:
            self._carried, self._passed[name] = True, self._ahead[name]


class ClassDraw:
    """The classes of sessions of one process. `turns`: mean requests of a session by class."""

    def __init__(self, mix: Mix, seed: int, worker: int, turns: Mapping[str, float]) -> None:
        self.shares, self.turns = mix.shares, turns
        self.of_requests = mix.of == REQUESTS
        self._seed, self._worker = seed, worker
        self._names = list(self.shares)
        self._rising = list(accumulate(self._starts().values()))
        self._chosen: dict[tuple[str, int], str] = {}
        self._strides: dict[tuple[str, object], Stride] = {}

    def request_shares(self) -> dict[str, float]:
        """The share of the requests that each class is expected to have in an open loop."""
        if self.of_requests:
            return self.shares
        weighed = {name: share * self.turns[name] for name, share in self.shares.items()}
        return {name: weight / sum(weighed.values()) for name, weight in weighed.items()}

    def _starts(self) -> dict[str, float]:
        """The share of the session starts of each class."""
        if not self.of_requests:
            return self.shares
        weighed = {name: share / self.turns[name] for name, share in self.shares.items()}
        return {name: weight / sum(weighed.values()) for name, weight in weighed.items()}

    def by_number(self, phase: str, number: int) -> str:
        """The class that arrival `number` is drawn for."""
        at = Random(f"mix/{self._seed}/{phase}/{number}").random() * self._rising[-1]
        return next((name for name, end in zip(self._names, self._rising, strict=True) if at < end), self._names[-1])

    def at_place(self, phase: str, number: int, of_place: str | None, turns_of: Callable[[str], float | None]) -> str:
        """The class of arrival `number`: that of the session that has a place there, or (None) of the one that the plan
        begins, to be asked one after another. turns_of(class): the requests that it would have, if that is known."""
        name = of_place
        if name is None and self.of_requests:
            stride = self._stride(phase, "arrivals")
            name = stride.choose()
            turns = turns_of(name)
            stride.sent(name, self.turns[name] if turns is None else turns)
        elif name is None:
            return self.by_number(phase, number)
        self._chosen[phase, number] = name
        if len(self._chosen) > _REMEMBERED:
            del self._chosen[next(iter(self._chosen))]
        return name

    def of_arrival(self, phase: str, number: int) -> str:
        """The class of the session that begins with arrival `number`. One that the plan has no session begin with is
        drawn by its number."""
        return self._chosen.get((phase, number)) or self.by_number(phase, number)

    def for_user(self, phase: str, user: int) -> str:
        """The class of the session that a user of a closed loop begins next."""
        return self._stride(phase, user).choose()

    def sent_by(self, phase: str, user: int, name: str, requests: int) -> None:
        """Such a user has ended a session of that class, of so many requests, in that phase."""
        self._stride(phase, user).sent(name, requests)

    def _stride(self, phase: str, sequence: int | str) -> Stride:
        """That of a user, or of the arrivals of this process. Where they begin is spread evenly over all of them (a
        Kronecker sequence), so that the shares of many together are near from the start."""
        key = (phase, sequence)
        if key not in self._strides:
            place = self._worker if isinstance(sequence, str) else sequence
            begun = {
                name: (Random(f"mix/{self._seed}/{phase}/{name}").random() + place * math.sqrt(prime)) % 1.0
                for name, prime in zip(self._names, _primes(), strict=False)
            }
            self._strides[key] = Stride(self.shares, self.turns, begun)
        return self._strides[key]


def _primes() -> Iterator[int]:
    number = 2
    while True:
        yield number
        number = prime_from(number + 1)
