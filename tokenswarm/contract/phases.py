"""The phases of a run as wall-clock times. Pure: the caller supplies the time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from tokenswarm.contract.levels import number_at
from tokenswarm.contract.manifest import PhaseRecord


@dataclass(frozen=True, slots=True)
class Pace:
    """By what a run's plan tells when a session of the measured phase begins, whatever the engine does then: how long
    the warm-up was, and about how long an answer took in it (None: nobody knows), in seconds. The other run of a pair
    is given the same, so that both read the same of what is replaced over time."""

    warmup_s: float
    answer_s: float | None = None


@dataclass(slots=True)
class Timeline:
    """Unix seconds. warm-up | measure | drain; nothing is sent in the drain, and at `stop_by` it is over.

    Until the measured window is known (all users there, warm-up done) it lies in the infinite future.
    """

    start: float
    measure_start: float = math.inf
    measure_end: float = math.inf
    stop_by: float = math.inf
    level_starts: list[float] = field(default_factory=list)
    """When each load level after the first begins or began, rising."""
    pace: Pace | None = None
    """Set with the measured window."""

    def phase_at(self, now: float) -> str:
        """`warmup`, `measure` or `drain`."""
        if now >= self.measure_end:  # also if the run was ended in its warm-up
            return "drain"
        return "warmup" if now < self.measure_start else "measure"

    def level_of(self, phase: str, sent_at: float) -> int | None:
        """The load level of a request that was sent in that phase; None outside the measured one."""
        return number_at(self.level_starts, sent_at) if phase == "measure" else None

    def set_window(self, measure_start: float, duration_s: float, drain_s: float) -> None:
        """Set the measured window; an infinite duration lasts until the run is ended."""
        self.measure_start = measure_start
        self.measure_end = measure_start + duration_s
        self.stop_by = self.measure_end + drain_s

    def end_measuring(self, now: float, drain_s: float) -> None:
        """Stop measuring at `now`, unless the window had ended before; what is in flight may still finish."""
        if now < self.measure_end:
            self.measure_end, self.stop_by = now, now + drain_s

    def end_now(self, now: float) -> None:
        """Stop measuring at `now` unless the window had ended before."""
        self.measure_end = min(self.measure_end, now)
        self.stop_by = min(self.stop_by, now)

    def shifted(self, seconds: float) -> Timeline:
        """The same timeline on a clock that is this many seconds ahead."""
        if not seconds:
            return self
        return Timeline(
            self.start + seconds,
            self.measure_start + seconds,
            self.measure_end + seconds,
            self.stop_by + seconds,
            [start + seconds for start in self.level_starts],
            self.pace,
        )

    def phases(self, now: float) -> list[PhaseRecord]:
        """The phases that have begun by `now`; the last one ends at `now`."""
        begun: list[PhaseRecord] = []
        marks = [
            ("warmup", self.start, min(self.measure_start, self.measure_end)),
            ("measure", self.measure_start, self.measure_end),
            ("drain", self.measure_end, now),
        ]
        for name, start, end in marks:
            if start < now and start < end:
                begun.append(PhaseRecord(name, start, min(end, now)))
        return begun
