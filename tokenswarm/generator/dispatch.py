"""The open loop: hands each arrival to a waiting user at its time, whatever the engine does.

The user that has waited least gets it, so that a conversation goes on rather than another one being begun. Where no
user waits (all are in flight: `max_in_flight` binds) the arrival queues up and is late; it is never dropped.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator

import gevent
from gevent.event import AsyncResult

from tokenswarm.contract.phases import Timeline
from tokenswarm.generator.arrivals import Pacer, RateProfile, arrival_times, share_of
from tokenswarm.scenario.arrivals import TIMES
from tokenswarm.scenario.load import Load

_AT_ONCE = 256
"""Arrivals after which the others of the event loop get a turn: a RATE beyond what can be computed must not stop it."""


def profile_of(load: Load) -> RateProfile:
    """The rate of the measured phase, from the scenario's [load]."""
    if load.rate_steps:
        return RateProfile.steps(load.rate_steps, load.duration_s)
    if load.rate_end is not None:
        return RateProfile.ramp(load.rate, load.rate_end, load.duration_s)
    return RateProfile.steady(load.rate)


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

    def pop(self) -> float:
        """The unix time at which the oldest one was due."""
        due = self._start + self._pacer.due_s(self._first)
        self._first += 1
        self.length -= 1
        return due


class Dispatcher:
    """Arrivals of one worker. The warm-up runs at the first rate; the measured phase has a schedule of its own,
    the same for each run with the same seed."""

    def __init__(self, load: Load, seed: int, worker: int, workers: int, timeline: Timeline) -> None:
        self._load, self._seed, self._worker, self._workers = load, seed, worker, workers
        self._timeline = timeline
        self._times = load.times() if load.arrivals == TIMES else None
        self._waiting: list[AsyncResult] = []
        self._queue: Queue | None = None
        self.arrivals_queued = 0
        """Arrivals that had to queue because every user was in flight: max_in_flight bound."""
        self.unsent = 0
        """Arrivals due in the measured phase that were never sent."""
        self._greenlet = gevent.spawn(self._run)

    def next_arrival(self) -> float:
        """Wait for an arrival; returns the unix time at which it is (or was) due."""
        if self._queue is not None and self._queue.length:
            return self._queue.pop()
        mine: AsyncResult = AsyncResult()
        self._waiting.append(mine)
        return mine.get()

    def stop(self) -> None:
        """No more arrivals; those of the measured phase that are still queued count as unsent."""
        self._greenlet.kill(block=False)
        self.unsent += self._queue.length if self._queue is not None else 0
        self._queue = None

    def _run(self) -> None:
        self._play(self._warmup_times, self._timeline.start, "warmup")
        # What the warm-up did not get to is nobody's.
        self._play(self._measured_times, self._timeline.measure_start, "measure")

    def _warmup_times(self) -> Iterator[float]:
        """At the first rate. Before a list of times: Poisson at `load.rate`, by default the list's mean rate."""
        load = self._load
        law = "poisson" if self._times is not None else load.arrivals
        return arrival_times(law, RateProfile.steady(load.rate), f"{self._seed}/warmup", load.burstiness_cv)

    def _measured_times(self) -> Iterator[float]:
        if self._times is not None:
            return iter(self._times)
        return arrival_times(self._load.arrivals, profile_of(self._load), self._seed, self._load.burstiness_cv)

    def _pacer(self, times: Iterator[float]) -> Pacer:
        return Pacer(share_of(times, self._worker, self._workers))

    def _play(self, times: Callable[[], Iterator[float]], start: float, phase: str) -> None:
        """Hand out arrivals until the phase is over."""
        pacer, queue = self._pacer(times()), Queue(self._pacer(times()), start)
        self._queue = queue
        for sent in itertools.count():
            if sent % _AT_ONCE == _AT_ONCE - 1:
                gevent.sleep(0)
                if phase == "warmup" and self._timeline.phase_at(time.time()) != phase:
                    return
            while (left := pacer.wait_s(time.time() - start, sent)) > 0:
                if self._timeline.phase_at(time.time()) != phase:
                    return
                gevent.sleep(min(left, 0.25, max(0.0, self._timeline.measure_start - time.time())
                                 if phase == "warmup" else 0.25))
            due = start + pacer.due_s(sent)
            if self._timeline.phase_at(due) != phase:
                return
            if self._waiting:
                self._waiting.pop().set(due)
                queue.pass_by(sent)
            else:
                if phase == "measure":
                    self.arrivals_queued += 1
                queue.add()
