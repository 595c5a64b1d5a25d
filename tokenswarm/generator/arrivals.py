"""When an open loop sends: an arrival law and a rate that may change. Pure: no clock, no network.

A law draws arrivals at a mean rate of one per second; a `RateProfile` stretches time so that they come at the wanted
rate (time-change theorem for point processes). So any law works with any profile, and each is tested on its own. Every
worker computes the same global sequence and takes every W-th arrival, so the arrivals of all workers together follow
the law exactly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random

from tokenswarm.scenario.arrivals import ARRIVALS


@dataclass(frozen=True, slots=True)
class Piece:
    """`seconds` during which the rate goes linearly from `start` to `end` requests/s."""

    seconds: float
    start: float
    end: float

    def expected(self, elapsed: float) -> float:
        """Arrivals expected in its first `elapsed` seconds."""
        slope = (self.end - self.start) / self.seconds if math.isfinite(self.seconds) else 0.0
        return self.start * elapsed + slope * elapsed * elapsed / 2

    def time_of(self, number: float) -> float:
        """Seconds after which `number` arrivals are expected: the inverse of `expected`."""
        if not math.isfinite(self.seconds) or self.start == self.end:
            return number / self.start
        slope = (self.end - self.start) / self.seconds
        # The root of slope/2 t^2 + start t - number = 0 that is stable for either sign of the slope.
        return 2 * number / (self.start + math.sqrt(max(0.0, self.start**2 + 2 * slope * number)))


class RateProfile:
    """Requests per second over time: consecutive pieces; the last rate continues forever."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._pieces = [*pieces, Piece(math.inf, pieces[-1].end, pieces[-1].end)] if pieces else []
        if not self._pieces or any(min(piece.start, piece.end) <= 0 for piece in self._pieces):
            raise ValueError("a rate profile needs pieces with rates above 0")

    @classmethod
    def steady(cls, rate: float) -> RateProfile:
        return cls([Piece(math.inf, rate, rate)])

    @classmethod
    def ramp(cls, start: float, end: float, seconds: float) -> RateProfile:
        """From `start` to `end` within `seconds`, then `end`."""
        return cls([Piece(seconds, start, end)])

    @classmethod
    def steps(cls, rates: Sequence[float], seconds: float) -> RateProfile:
        """Rates of equal length that fill `seconds`, then the last one."""
        return cls([Piece(seconds / len(rates), rate, rate) for rate in rates])

    def time_of(self, number: float) -> float:
        """Seconds after which `number` arrivals (not necessarily whole) are expected."""
        begin = 0.0
        for piece in self._pieces:
            inside = piece.expected(piece.seconds) if math.isfinite(piece.seconds) else math.inf
            if number <= inside:
                return begin + piece.time_of(number)
            number -= inside
            begin += piece.seconds
        raise AssertionError("the last piece never ends")


def gaps(law: str, cv: float, rng: Random) -> Iterator[float]:
    """Endless gaps between arrivals at a mean rate of one per second, by a law (see scenario/arrivals). Raises
    ValueError for an unknown law."""
    try:
        by_law = ARRIVALS.get(law)
    except ValueError as error:
        raise ValueError(f"unknown law of arrivals: {law}; it {error}") from None
    yield from by_law(rng, cv)


def arrival_times(law: str, profile: RateProfile, seed: int | str, cv: float = 1.0) -> Iterator[float]:
    """Seconds after the start at which requests are due: ascending, endless, and the same for the same seed."""
    position = 0.0
    for gap in gaps(law, cv, Random(f"arrivals/{seed}")):
        position += gap
        yield profile.time_of(position)


def share_of(times: Iterator[float], worker: int, workers: int) -> Iterator[float]:
    """The arrivals that worker `worker` (from 0) of `workers` sends."""
    return islice(times, worker, None, workers)


class Pacer:
    """Says how long to wait for the next arrival after `elapsed_s` seconds and `sent` arrivals. The answer depends on
    nothing else. `sent` may only grow, so a run of any length needs memory for one arrival. After the last of finite
    `times` no arrival is due.
    """

    def __init__(self, times: Iterator[float]) -> None:
        self._times = times
        self._number = -1
        self._due_s = -math.inf

    def due_s(self, sent: int) -> float:
        """Seconds after the start at which arrival number `sent` (from 0) is due. Raises ValueError for a past one."""
        if sent < self._number:
            raise ValueError(f"arrival {sent} has passed; this is {self._number}")
        while self._number < sent:
            self._due_s = next(self._times, math.inf)
            self._number += 1
        return self._due_s

    def wait_s(self, elapsed_s: float, sent: int) -> float:
        """Seconds until the next arrival; 0 if it is due or overdue."""
        return max(0.0, self.due_s(sent) - elapsed_s)
