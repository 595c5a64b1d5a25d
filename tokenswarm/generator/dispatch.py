"""The open loop: hands each arrival to a waiting user at its time, whatever the engine does.

`binding` decides in advance which user that is. If no user is waiting (all have a request in flight: `max_in_flight` is
reached), the arrival is queued and sent late; it is never dropped. This module has the clock; the rules are in
`binding` and `schedule`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import gevent
from gevent.event import AsyncResult

from tokenswarm.contract.phases import Timeline
from tokenswarm.generator.arrivals import Pacer, share_of
from tokenswarm.generator.binding import Arrival, Binding, BoundSession, Places
from tokenswarm.generator.clock import WALL_CLOCK, TimeSource
from tokenswarm.generator.schedule import Queue, listed_times, measured_times, warmup_times
from tokenswarm.generator.session_stream import Share
from tokenswarm.scenario.load_settings import Load

_AT_ONCE = 256
"""After this many arrivals other greenlets get a turn, so that an impossible RATE does not block the event loop."""

_LOOK_S = 0.25
"""Longest sleep before checking whether the phase is over."""


@dataclass(frozen=True, slots=True)
class PlannedSessions:
    """What is known in advance about the sessions of arrivals. begun(phase, number): the session that an arrival is to
    begin. under_way(phase, start): places of sessions under way when a phase begins; None if no session continues from
    the previous phase. starts: recorded start times of sessions, in seconds into the measured phase, or None.
    user_class(phase, number, of_place) and of_user(number): see `Binding`.
    """

    begun: Callable[[str, int], BoundSession] = lambda *_: BoundSession()
    under_way: Callable[[str, float], Iterable[Places]] | None = None
    starts: Sequence[float] | None = None
    user_class: Callable[[str, int, str | None], str] = lambda *_: ""
    of_user: Callable[[int], str] = lambda _: ""


NOT_PLANNED = PlannedSessions()


class Dispatcher:
    """The arrivals of one worker, which sends its `share` of all."""

    def __init__(
        self,
        load: Load,
        seed: int,
        share: Share,
        timeline: Timeline,
        planned: PlannedSessions = NOT_PLANNED,
        clock: TimeSource = WALL_CLOCK,
    ) -> None:
        self._load, self._seed, self._share, self._clock = load, seed, share, clock
        self._timeline, self._phase, self._under_way = timeline, "warmup", planned.under_way
        self._listed = listed_times(load) if planned.starts is None else tuple(planned.starts)
        self._binding: Binding[AsyncResult] = Binding(
            lambda number: planned.begun(self._phase, number),
            lambda number, of_place: planned.user_class(self._phase, number, of_place),
            planned.of_user,
        )
        self._queue: Queue | None = None
        self.arrivals_queued = 0
        """Arrivals that were queued because max_in_flight was reached."""
        self.unsent = 0
        """Arrivals due in the measured phase that were never sent."""
        self._greenlet = gevent.spawn(self._run)

    def next_arrival(self, session: BoundSession | None = None, of_user: str = "") -> Arrival:
        """Wait, as a user of class `of_user`, for the arrival that the session's next turn is bound to, or (None) for
        one that begins a session."""
        if session is not None and (recorded := session.next_recorded()) is not None:
            due = recorded.due(self._timeline.measure_start, self._clock.time())
            while (left := min(due, self._timeline.measure_end) - self._clock.time()) > 0:
                self._clock.sleep(min(left, _LOOK_S))
            return Arrival(due, session.number)
        if self._queue is not None and self._queue.length:
            if session is not None:
                self._binding.took(session)
            return self._arrival(*self._queue.pop())
        mine: AsyncResult = AsyncResult()
        self._binding.wait(session, mine, of_user)
        try:
            return mine.get()
        except BaseException:  # the user is killed
            self._binding.leave(session, mine)
            raise

    def _arrival(self, due: float, mine: int) -> Arrival:
        """Number `mine` of this worker's arrivals."""
        return Arrival(due, mine * self._share.processes + self._share.index)

    def began(self, session: BoundSession, arrival: Arrival) -> None:
        """A session has begun with that arrival; its later turns get places now."""
        self._binding.began(session, arrival)

    def end(self, session: BoundSession) -> None:
        """The session is over."""
        self._binding.end(session)

    def stop(self) -> None:
        """Stop the arrivals. Those of the measured phase that are still queued count as unsent."""
        self._greenlet.kill(block=False)
        if self._queue is not None and self._phase == "measure":
            self.unsent += self._queue.length
        self._queue = None

    def _run(self) -> None:
        self._play(lambda: warmup_times(self._load, self._seed), self._timeline.start, "warmup")
        # Arrivals that the warm-up did not get to are dropped.
        self._phase, start = "measure", self._timeline.measure_start
        self._binding.begin_phase(
            self._under_way(self._phase, start) if self._under_way else (), goes_on=self._under_way is not None
        )
        self._play(
            lambda: measured_times(self._load, self._seed, self._listed), self._timeline.measure_start, "measure"
        )

    def _pacer(self, times: Iterator[float]) -> Pacer:
        return Pacer(share_of(times, self._share.index, self._share.processes))

    def _play(self, times: Callable[[], Iterator[float]], start: float, phase: str) -> None:
        """Hand out arrivals until the phase is over."""
        pacer, queue = self._pacer(times()), Queue(self._pacer(times()), start)
        self._queue = queue
        for sent in itertools.count():
            if sent % _AT_ONCE == _AT_ONCE - 1:
                self._clock.sleep(0)
                if phase == "warmup" and self._timeline.phase_at(self._clock.time()) != phase:
                    return
            while (left := pacer.wait_s(self._clock.time() - start, sent)) > 0:
                if self._timeline.phase_at(self._clock.time()) != phase:
                    return
                self._clock.sleep(
                    min(
                        left,
                        0.25,
                        max(0.0, self._timeline.measure_start - self._clock.time()) if phase == "warmup" else 0.25,
                    )
                )
            due = start + pacer.due_s(sent)
            if self._timeline.phase_at(due) != phase:
                return
            arrival = self._arrival(due, sent)
            if (waiting := self._binding.next_for(arrival)) is not None:
                waiting.set(arrival)
                queue.pass_by(sent)
            else:
                if phase == "measure":
                    self.arrivals_queued += 1
                queue.add()
