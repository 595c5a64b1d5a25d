"""Leads a run through its phases: warm-up, measure, drain, end. Runs in the local or the master process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import gevent
from gevent.event import Event

from tokenswarm.contract.manifest import WarmupRecord
from tokenswarm.contract.phases import Timeline
from tokenswarm.generator import warmup as steady
from tokenswarm.generator.clock import WALL_CLOCK, TimeSource
from tokenswarm.generator.reporter import Reporter
from tokenswarm.scenario.load_settings import Load

_POLL_S = 0.05
_MOST_SAMPLES = 36_000
_LOOK_S = 0.1
"""How often it looks whether anything is left to send."""


@dataclass(frozen=True, slots=True)
class LoadProcesses:
    """What the phases are told of the processes that send requests, and tell them.

    answers(): each answer of the warm-up, see `steady.WarmupAnswer`, whose latency is called `latency_name`.
    in_flight(): requests in flight, where the whole load has to be steady and not TTFT alone. exhausted(): nothing is
    left to send, so that the measured phase is over before its time. announce(): tell the workers the timeline.
    quiet(): nothing is in flight any more. finish(stopped): hand over rows and quit; `stopped` says that somebody
    ended the run before its time. clock: of all that is waited for.
    """

    answers: Callable[[], Iterable[steady.WarmupAnswer]]
    announce: Callable[[], None]
    quiet: Callable[[], bool]
    finish: Callable[[bool], None]
    latency_name: str = "TTFT"
    in_flight: Callable[[], int] | None = None
    exhausted: Callable[[], bool] = lambda: False
    clock: TimeSource = WALL_CLOCK


class PhaseController:
    """A greenlet that fixes the measured window and sees to its end.

    `load` says how long warm-up and drain may last; the measured phase lasts `duration_s`, and begins `lead_s` after
    it was announced.
    """

    def __init__(
        self,
        timeline: Timeline,
        load: Load,
        processes: LoadProcesses,
        reporter: Reporter,
        *,
        duration_s: float,
        lead_s: float,
    ) -> None:
        self.warmup: WarmupRecord | None = None
        """How the warm-up ended, once it has; see `steady.ended`."""
        self._timeline = timeline
        self._load, self._duration_s, self._lead_s = load, duration_s, lead_s
        self._reporter, self._processes, self._clock = reporter, processes, processes.clock
        self._samples: deque[tuple[float, int]] = deque(maxlen=_MOST_SAMPLES)
        self._spawned = Event()
        self._stop = Event()
        self._greenlet = gevent.spawn(self._run)

    def all_users_are_there(self) -> None:
        self._spawned.set()

    def stop(self) -> None:
        """End the run now: what is in flight is cancelled."""
        self._timeline.end_now(self._clock.time())
        self._stop.set()
        self._spawned.set()

    @property
    def stopped(self) -> bool:
        """Whether the run was ended early on request."""
        return self._stop.is_set()

    def _run(self) -> None:
        self._tell("warmup")
        self._spawned.wait()
        self._warm_up()
        if not self._stop.is_set():
            # A little ahead, so that every worker hears of it before it begins.
            self._timeline.set_window(self._clock.time() + self._lead_s, self._duration_s, self._load.drain_s)
            self._processes.announce()
            self._tell("measure")
            self._measure()
        if not self._stop.is_set():
            self._tell("drain")
            while (
                self._clock.time() < self._timeline.stop_by and not self._processes.quiet() and not self._stop.is_set()
            ):
                self._clock.sleep(_POLL_S)
        self._processes.announce()
        self._processes.finish(self._stop.is_set())

    def _measure(self) -> None:
        """Wait for the end of the window, or until nothing is left to send."""
        while (left := self._timeline.measure_end - self._clock.time()) > 0 and not self._stop.is_set():
            if self._processes.exhausted():
                self._timeline.end_measuring(self._clock.time(), self._load.drain_s)
                self._processes.announce()
                return
            self._clock.wait(self._stop, min(left, _LOOK_S))

    def _sample(self, in_flight: Callable[[], int]) -> None:
        """Count the requests in flight until the measured phase."""
        while self.warmup is None and not self._stop.is_set():
            self._samples.append((self._clock.time(), in_flight()))
            self._clock.sleep(steady.SAMPLE_S)

    def _warm_up(self) -> None:
        """Wait for the time that was asked for, or until the load is steady, or to the limit."""
        load, start, full_since = self._load, self._timeline.start, self._clock.time()
        if self._processes.in_flight is not None:
            gevent.spawn(self._sample, self._processes.in_flight)
        first_look, limit = steady.bounds(load, start, full_since)
        self._sleep_until(first_look)
        judgement = self._judge(full_since)
        while (
            not judgement.steady
            and self._clock.time() < limit
            and not self._stop.is_set()
            and not self._processes.exhausted()
        ):
            self._sleep_until(min(self._clock.time() + steady.JUDGE_S, limit))
            judgement = self._judge(full_since)
        if not self._stop.is_set():
            self.warmup = steady.ended(
                judgement,
                seconds=self._clock.time() - start,
                limit_s=load.warmup_most_s,
                fixed=load.warmup_s is not None,
                what=self._processes.latency_name,
            )
            self._timeline.pace = steady.pace(load, judgement, self._processes.answers(), self.warmup)

    def _judge(self, full_since: float) -> steady.Judgement:
        start, now = self._timeline.start, self._clock.time()
        if self._processes.in_flight is None:
            return steady.judge(self._processes.answers(), start, full_since, now)
        return steady.judge_load(
            self._processes.answers(), self._samples, start, full_since, now, self._processes.latency_name
        )

    def _sleep_until(self, moment: float) -> None:
        while (left := moment - self._clock.time()) > 0 and not self._stop.is_set() and not self._processes.exhausted():
            self._clock.wait(self._stop, min(left, _LOOK_S))

    def _tell(self, phase: str) -> None:
        self._reporter.say(
            "phase",
            name=phase,
            start=self._timeline.start,
            measure_start=_finite(self._timeline.measure_start),
            measure_end=_finite(self._timeline.measure_end),
            warmup=self.warmup,
        )


def _finite(value: float) -> float | None:
    return value if value < float("inf") else None
