"""When an open loop sends: laws of arrival as pure sequences of times. No clock, no network.

Every worker computes the same global sequence and takes its own share of it (every W-th arrival), so that the law
of the whole is exact, whatever the number of workers.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice
from random import Random


def arrival_times(law: str, rate: float, seed: int) -> Iterator[float]:
    """Seconds after the start, ascending, without end, at `rate` requests/s on average.

    law: `poisson` (independent exponential gaps) or `constant` (equal gaps). Same seed, same times.
    """
    if law == "constant":
        return (number / rate for number in count())
    if law == "poisson":
        return _poisson(rate, Random(f"arrivals/{seed}"))
    raise ValueError(f"unknown law of arrivals: {law}")


def _poisson(rate: float, rng: Random) -> Iterator[float]:
    now = 0.0
    while True:
        now += rng.expovariate(rate)
        yield now


def share_of(times: Iterator[float], worker: int, workers: int) -> Iterator[float]:
    """The arrivals that worker `worker` (from 0) of `workers` sends."""
    return islice(times, worker, None, workers)


class Schedule:
    """A worker's arrivals on the wall clock, taken one by one, with an account of those never taken."""

    def __init__(self, times: Iterator[float], start: float) -> None:
        self._times = times
        self._start = start
        self._next = start + next(times)

    def take(self) -> float:
        """Unix time at which the next request is due; it may lie in the past."""
        due = self._next
        self._next = self._start + next(self._times)
        return due

    def skip_until(self, end: float) -> int:
        """Take all arrivals due before `end` and say how many there were: they could not be sent."""
        skipped = 0
        while self._next < end:
            self.take()
            skipped += 1
        return skipped
