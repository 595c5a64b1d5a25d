"""The phases of a run: how the warm-up ends, and what is reported about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import gevent
import pytest

from tests.generator.moved_clock import MovedClock
from tests.waiting import until
from tokenswarm.contract.phases import Pace, Timeline
from tokenswarm.generator.phase_controller import LoadProcesses, PhaseController
from tokenswarm.generator.warmup import WarmupAnswer
from tokenswarm.scenario.load_settings import Load

Answers = Callable[[float], list[WarmupAnswer]]
"""Of the warm-up, as they are at a moment."""


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    with gevent.Timeout(40, AssertionError("the test hangs")):
        yield


class Told:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[dict[str, object]] = []

    def say(self, event: str, **facts: object) -> None:
        self.events.append({"event": event, **facts})


class Run:
    """A director without Locust; its measured phase lasts ten seconds of its own clock."""

    def __init__(self, load: Load, answers: Answers) -> None:
        self.clock = MovedClock()
        self.timeline, self.reporter = Timeline(self.clock.time()), Told()
        self.stopped: list[bool] = []
        processes = LoadProcesses(
            answers=lambda: answers(self.clock.time()),
            announce=lambda: None,
            quiet=lambda: True,
            finish=self.stopped.append,
            clock=self.clock,
        )
        self.director = PhaseController(self.timeline, load, processes, self.reporter, duration_s=10.0, lead_s=0.0)

    def until_end(self) -> dict[str, object]:
        until(lambda: self.stopped)
        return self.director.warmup

    def phases(self) -> list[object]:
        return [event["name"] for event in self.reporter.events]


def even(now: float) -> list[WarmupAnswer]:
    """Answers all through the last minute, one like the other."""
    return [(now - index * 0.01, 100.0 + index % 7, None, None, 1500.0) for index in range(6000)]


def none(now: float) -> list[WarmupAnswer]:
    return []


def falling(now: float) -> list[WarmupAnswer]:
    return [(now - index * 0.01, 100.0 + index, None, None, 1500.0) for index in range(6000)]


def test_a_warm_up_ends_when_ttft_is_steady() -> None:
    run = Run(Load(warmup_max_s=3600), even)
    run.director.all_users_are_there()
    assert run.until_end().steady is True
    assert run.phases() == ["warmup", "measure", "drain"]
    assert run.reporter.events[1]["warmup"] is run.director.warmup


def test_sessions_are_planned_by_the_answers_of_the_warm_up_or_by_those_of_the_pair_s_first_run() -> None:
    found, given = Run(Load(warmup_s=0.1), even), Run(Load(warmup_s=0.1, answer_s=2.5), even)
    for run in (found, given):
        run.director.all_users_are_there()
        run.until_end()
    assert found.timeline.pace == Pace(0.1, 1.5) and found.director.warmup.answer_s == 1.5
    assert given.timeline.pace == Pace(0.1, 2.5) and given.director.warmup.answer_s == 2.5


def test_a_warm_up_that_never_gets_steady_ends_at_its_limit_and_says_so() -> None:
    run = Run(Load(warmup_max_s=30), falling)
    run.director.all_users_are_there()
    warmup = run.until_end()
    assert (warmup.mode, warmup.steady, warmup.limit_s) == ("until_steady", False, 30)
    assert "at its limit of 30 s; TTFT was still falling" in warmup.sentence


def test_an_engine_that_does_not_answer_is_measured_all_the_same() -> None:
    run = Run(Load(warmup_max_s=60), none)
    run.director.all_users_are_there()
    assert run.until_end().steady is None
    assert run.phases() == ["warmup", "measure", "drain"]


@pytest.mark.parametrize("answers", [even, falling, none])
def test_a_fixed_warm_up_is_not_prolonged(answers: Answers) -> None:
    run = Run(Load(warmup_s=0.1, warmup_max_s=3600), answers)
    run.director.all_users_are_there()
    assert run.until_end().mode == "fixed"


def test_a_warm_up_lasts_until_all_users_are_there_and_judges_only_what_came_then() -> None:
    run = Run(Load(warmup_max_s=60), even)
    run.clock.sleep(30)
    assert run.phases() == ["warmup"]
    run.director.all_users_are_there()
    assert run.until_end().looked_at_s <= run.director.warmup.seconds
    assert run.director.warmup.answers < 6000


def test_a_run_stopped_in_its_warm_up_measures_nothing() -> None:
    run = Run(Load(), falling)
    run.director.all_users_are_there()
    gevent.sleep(0)
    run.director.stop()
    assert run.until_end() is None
    assert (run.phases(), run.stopped) == (["warmup"], [True])


def test_measuring_ends_before_its_time_when_nothing_is_left_to_send() -> None:
    clock = MovedClock()
    timeline, stopped, announced = Timeline(clock.time()), [], []
    processes = LoadProcesses(
        answers=list,
        announce=lambda: announced.append(timeline.measure_end),
        quiet=lambda: True,
        finish=stopped.append,
        exhausted=lambda: True,
        clock=clock,
    )
    director = PhaseController(timeline, Load(warmup_s=0), processes, Told(), duration_s=3600.0, lead_s=0.0)
    director.all_users_are_there()
    until(lambda: stopped)
    assert stopped == [False]
    assert timeline.measure_end < timeline.measure_start + 60
    assert announced[1] == timeline.measure_end  # the workers are told, too
