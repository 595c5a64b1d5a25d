"""An open loop at an impossible rate must not block everything else in its process."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import gevent
import pytest

from tests.generator.moved_clock import MovedClock
from tokenswarm.contract.phases import Timeline
from tokenswarm.generator.binding import BoundSession
from tokenswarm.generator.dispatch import Dispatcher, PlannedSessions
from tokenswarm.generator.session_stream import Share
from tokenswarm.scenario.load_settings import Load
from tokenswarm.workloads.base import RecordedTime

ABSURD = Load(rate=1e12, duration_s=3600)


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    """By a signal: an event loop that never gets its turn runs no timer of its own."""

    def hangs(*_: object) -> None:
        raise AssertionError("the event loop is held up")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(40)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def test_a_rate_beyond_what_can_be_computed_leaves_the_event_loop_its_turns_and_counts_as_unsent() -> None:
    timeline = Timeline(time.time())
    timeline.set_window(time.time(), 3600, 1)
    dispatcher = Dispatcher(ABSURD, 1, Share(), timeline)
    for _ in range(3):
        gevent.sleep(0)
    dispatcher.stop()
    assert dispatcher.unsent > 0
    assert dispatcher.arrivals_queued >= dispatcher.unsent


def test_a_warm_up_that_is_hopelessly_behind_ends_when_measuring_begins() -> None:
    timeline = Timeline(time.time())
    dispatcher = Dispatcher(ABSURD, 1, Share(), timeline)
    gevent.sleep(0)
    assert dispatcher.next_arrival().due < timeline.measure_start
    begin = time.time() + 0.01
    timeline.set_window(begin, 3600, 1)
    while dispatcher.next_arrival().due < begin:  # no_hang limits it
        gevent.sleep(0)
    dispatcher.stop()


def test_arrivals_of_a_warm_up_that_was_stopped_are_not_unsent() -> None:
    clock = MovedClock()
    timeline = Timeline(clock.time())
    dispatcher = Dispatcher(Load(rate=50.0), 1, Share(), timeline, clock=clock)
    clock.sleep(5)  # and nobody takes what is due
    timeline.end_now(clock.time())
    dispatcher.stop()
    assert dispatcher.unsent == 0


def test_a_turn_on_record_waits_for_its_time_and_takes_no_arrival_of_others() -> None:
    clock = MovedClock()
    start = clock.time()
    timeline = Timeline(start)
    timeline.set_window(start, 3600, 1)
    planned = PlannedSessions(starts=[0.0, 10.0])
    dispatcher = Dispatcher(Load(rate=1.0, arrivals="recorded", warmup_s=0), 1, Share(), timeline, planned, clock)
    session = BoundSession(3, later=[RecordedTime(15.0, None), RecordedTime(16.0, 5.0)])
    first = dispatcher.next_arrival()
    dispatcher.began(session, first)
    second = dispatcher.next_arrival(session)
    answered = clock.time()
    third = dispatcher.next_arrival(session)
    other = dispatcher.next_arrival()
    dispatcher.stop()
    assert [first.due - start, second.due - start, other.due - start] == [0.0, 15.0, 10.0]
    assert (answered - start, third.due - start) == (15.0, 20.0)
    assert other.number == 1
