"""Leads a run through its phases: warm-up, measure, drain, end. Runs in the local or the master process."""

from __future__ import annotations

import time
from collections.abc import Callable

import gevent
from gevent.event import Event

from tokenswarm.generator.reporter import Reporter
from tokenswarm.generator.timeline import Timeline

_POLL_S = 0.05


class Director:
    """A greenlet that fixes the measured window and sees to its end.

    announce(): tell the workers the timeline. quiet(): nothing is in flight any more. finish(stopped): hand over
    rows and quit; `stopped` says that somebody ended the run before its time.
    """

    def __init__(self, timeline: Timeline, *, warmup_s: float, duration_s: float, drain_s: float, lead_s: float,
                 reporter: Reporter, announce: Callable[[], None], quiet: Callable[[], bool],
                 finish: Callable[[bool], None]) -> None:
        self._timeline = timeline
        self._warmup_s, self._duration_s, self._drain_s, self._lead_s = warmup_s, duration_s, drain_s, lead_s
        self._reporter = reporter
        self._announce, self._quiet, self._finish = announce, quiet, finish
        self._spawned = Event()
        self._stop = Event()
        self._greenlet = gevent.spawn(self._run)

    def all_users_are_there(self) -> None:
        self._spawned.set()

    def stop(self) -> None:
        """End the run now: what is in flight is cancelled."""
        self._timeline.end_now(time.time())
        self._stop.set()
        self._spawned.set()

    def _run(self) -> None:
        self._tell("warmup")
        self._spawned.wait()
        self._sleep_until(self._timeline.start + self._warmup_s)
        if not self._stop.is_set():
            # A little ahead, so that every worker hears of it before it begins.
            self._timeline.set_window(time.time() + self._lead_s, self._duration_s, self._drain_s)
            self._announce()
            self._tell("measure")
            self._sleep_until(self._timeline.measure_end)
        if not self._stop.is_set():
            self._tell("drain")
            while time.time() < self._timeline.stop_by and not self._quiet() and not self._stop.is_set():
                gevent.sleep(_POLL_S)
        self._announce()
        self._finish(self._stop.is_set())

    def _sleep_until(self, moment: float) -> None:
        while (left := moment - time.time()) > 0 and not self._stop.is_set():
            self._stop.wait(min(left, 3600.0))

    def _tell(self, phase: str) -> None:
        self._reporter.say("phase", name=phase, start=self._timeline.start,
                           measure_start=_finite(self._timeline.measure_start),
                           measure_end=_finite(self._timeline.measure_end))


def _finite(value: float) -> float | None:
    return value if value < float("inf") else None
