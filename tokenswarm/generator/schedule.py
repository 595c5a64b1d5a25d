"""When requests are due: the open loop's arrivals, phase by phase, those that found nobody, and fixed pauses. Pure: no
clock.

The warm-up runs at the first rate; the measured phase has a schedule of its own, the same for each run with the same
seed.
"""

from __future__ import annotations

from collections.abc import Iterator

from tokenswarm.base.presence import present
from tokenswarm.generator.arrivals import Pacer, RateProfile, arrival_times
from tokenswarm.scenario.arrivals import NO_LAWS, TIMES
from tokenswarm.scenario.load_settings import Load

FAILURE_PAUSE_S = 0.5
"""What a closed loop waits after a failure: a dead endpoint must not be asked thousands of times a second."""
LEAD_S = 0.3
"""How far ahead of its beginning the measured window is announced: so that every worker hears of it in time, and the
arrivals of an open loop, which may be asleep for a quarter of a second, begin on time."""


def profile_of(load: Load) -> RateProfile:
    """The rate of the measured phase, from the scenario's [load]."""
    if load.rate_steps:
        return RateProfile.steps(load.rate_steps, load.duration_s)
    if load.rate_end is not None:
        return RateProfile.ramp(present(load.rate), load.rate_end, load.duration_s)
    return RateProfile.steady(present(load.rate))


def warmup_times(load: Load, seed: int) -> Iterator[float]:
    """Seconds after the warm-up's start, at the first rate. Before a list of times: Poisson at `load.rate`, by default
    the list's mean rate."""
    law = "poisson" if load.arrivals in NO_LAWS else load.arrivals
    return arrival_times(law, RateProfile.steady(present(load.rate)), f"{seed}/warmup", load.burstiness_cv)


def listed_times(load: Load) -> tuple[float, ...] | None:
    """The list of times that the scenario gives in place of a law. Raises ValueError if it cannot be read."""
    return load.times() if load.arrivals == TIMES else None


def measured_times(load: Load, seed: int, listed: tuple[float, ...] | None) -> Iterator[float]:
    """Seconds after the measured phase began; `listed`: see `listed_times`."""
    if listed is not None:
        return iter(listed)
    return arrival_times(load.arrivals, profile_of(load), seed, load.burstiness_cv)


class Queue:
    """Arrivals that found nobody: always a stretch of the sequence without gaps, for while there are any, nobody waits.

    They are not kept but computed once more, by a pacer of their own: however far the engine falls behind in hours,
    it takes no memory. `start`: unix time from which the pacer counts.
    """

    def __init__(self, pacer: Pacer, start: float) -> None:
        self._pacer, self._start = pacer, start
        self._first = 0
        self.length = 0

    def pass_by(self, number: int) -> None:
        """Arrival `number` was handed out at once; the queue is empty."""
        self._pacer.due_s(number)  # step by step: catching up with hours at once would hold up the event loop
        self._first = number + 1

    def add(self) -> None:
        """The next arrival waits here."""
        self.length += 1

    def pop(self) -> tuple[float, int]:
        """The unix time at which the oldest one was due, and its number."""
        number, due = self._first, self._start + self._pacer.due_s(self._first)
        self._first += 1
        self.length -= 1
        return due, number
