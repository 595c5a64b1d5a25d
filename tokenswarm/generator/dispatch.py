"""The open loop: hands each arrival to a waiting user at its time, whatever the engine does.

Which user that is, `binding` has decided in advance. Where no user waits (all are in flight: `max_in_flight` binds) the
arrival queues up and is late; it is never dropped. This is the edge with a clock; `binding` and `schedule` are the
rules.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator

import gevent
from gevent.event import AsyncResult

from tokenswarm.contract.phases import Timeline
from tokenswarm.generator.arrivals import Pacer, share_of
from tokenswarm.generator.binding import Binding, BoundSession
from tokenswarm.generator.schedule import Queue, listed_times, measured_times, warmup_times
from tokenswarm.scenario.load import Load

_AT_ONCE = 256
"""Arrivals after which the others of the event loop get a turn: a RATE beyond what can be computed must not stop it."""


class Dispatcher:
    """Arrivals of one worker."""

    def __init__(self, load: Load, seed: int, worker: int, workers: int, timeline: Timeline) -> None:
        self._load, self._seed, self._worker, self._workers = load, seed, worker, workers
        self._timeline = timeline
        self._listed = listed_times(load)
        self._binding: Binding[AsyncResult] = Binding()
        self._queue: Queue | None = None
        self.arrivals_queued = 0
        """Arrivals that had to queue because every user was in flight: max_in_flight bound."""
        self.unsent = 0
        """Arrivals due in the measured phase that were never sent."""
        self._greenlet = gevent.spawn(self._run)

    def next_arrival(self, session: BoundSession | None = None) -> float:
        """Wait for an arrival for the next turn of a session (None: of one that has only this); returns the unix time
        at which it is (or was) due."""
        session = session or BoundSession()
        if self._queue is not None and self._queue.length:
            due = self._queue.pop()
            self._binding.took(session, due)
            return due
        mine: AsyncResult = AsyncResult()
        self._binding.wait(session, mine)
        try:
            return mine.get()
        except BaseException:  # the user is killed
            self._binding.leave(session)
            raise

    def begin(self, session: BoundSession, due: float) -> None:
        """A new session sends an arrival that its user was given for another one."""
        self._binding.took(session, due)

    def end(self, session: BoundSession) -> None:
        """A session goes on no more."""
        self._binding.end(session)

    def stop(self) -> None:
        """No more arrivals; those of the measured phase that are still queued count as unsent."""
        self._greenlet.kill(block=False)
        self.unsent += self._queue.length if self._queue is not None else 0
        self._queue = None

    def _run(self) -> None:
        self._play(lambda: warmup_times(self._load, self._seed), self._timeline.start, "warmup")
        # What the warm-up did not get to is nobody's.
        self._play(lambda: measured_times(self._load, self._seed, self._listed), self._timeline.measure_start,
                   "measure")

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
            if (waiting := self._binding.next_for(due, phase)) is not None:
                waiting.set(due)
                queue.pass_by(sent)
            else:
                if phase == "measure":
                    self.arrivals_queued += 1
                queue.add()
