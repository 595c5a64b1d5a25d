"""Follows a run: listens to the load generator, keeps run.json up to date, and ends the run if necessary."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.presence import present
from tokenswarm.contract.levels import LevelRecord
from tokenswarm.contract.manifest import LoadEnd, Manifest, PhaseRecord, WarmupRecord, write_manifest
from tokenswarm.engines import Engine, Telemetry
from tokenswarm.run.locust_process import LocustProcesses
from tokenswarm.run.progress import RunProgress
from tokenswarm.scenario.abort import Abort
from tokenswarm.scenario.model import Scenario


@dataclass(slots=True)
class RunOutcome:
    """How a run ended, without regard to its figures."""

    folder: Path
    status: str = "failed"
    """complete | interrupted | aborted | failed, as in run.json."""
    error: UserError | None = None
    """Why it ended early; the measurements until then are in the folder."""
    interrupted_at: float | None = None
    """When the first signal came, on the monotonic clock."""


class Watch(Protocol):
    """An observer of a run, such as a soak."""

    progress_interval_s: float
    """Seconds between two lines of progress without a terminal."""
    engine_gone: Exit
    """Exit code of a run whose engine ended."""

    def begin(self, folder: Path, scenario: Scenario) -> None:
        """Called before the load."""

    def look(self, live: Mapping[str, object] | None) -> Abort | None:
        """Called several times a second; `live` is the load generator's latest report, or None if there is no new one.
        A returned reason ends the run."""

    def over(self, outcome: RunOutcome) -> None:
        """Called when the load has ended and run.json is written, before engines are stopped."""


class PhaseEvent(msgspec.Struct):
    """The load generator's event at the start of a phase; times in unix seconds."""

    name: str
    start: float
    measure_start: float | None = None
    measure_end: float | None = None
    warmup: WarmupRecord | None = None


class _Fatal(msgspec.Struct):
    code: int
    sentence: str


def mark_measured_phase(telemetry: Telemetry, event: Mapping[str, object]) -> None:
    """Read the engine's histograms at the start and end of the measured phase, by the load generator's events "phase"
    and "done"; their difference gives the engine's own latencies."""
    if event["event"] == "done":
        if any(phase.name == "measure" for phase in msgspec.convert(event["end"], LoadEnd).phases):
            telemetry.mark("end", time.time())  # without a drain event: the run was stopped
        return
    phase = msgspec.convert(event, PhaseEvent)
    if phase.name == "measure":
        telemetry.mark("start", present(phase.measure_start))  # sent slightly early if there are several workers
    elif phase.name == "drain":
        telemetry.mark("end", present(phase.measure_end))


@dataclass(slots=True)
class RunRecord:
    """What is known about a run so far; `manifest` becomes its run.json."""

    folder: Path
    manifest: Manifest
    outcome: RunOutcome


class RunMonitor:
    """Follows one run and fills the record."""

    def __init__(
        self,
        record: RunRecord,
        locust: LocustProcesses,
        engine: Engine,
        telemetry: Telemetry,
        progress: RunProgress,
        watch: Watch | None = None,
    ) -> None:
        self._locust, self._engine, self._telemetry = locust, engine, telemetry
        self._manifest, self._outcome, self._folder = record.manifest, record.outcome, record.folder
        self._progress, self._watch = progress, watch
        self._done = False
        self._began = False
        self._hear: dict[str, Callable[[Mapping[str, object]], None]] = {
            "live": progress.figures,
            "phase": self._phase,
            "levels": self._levels,
            "fatal": self._fatal,
            "done": self._end,
        }

    def follow(self) -> None:
        """Listen to the load generator until it is done."""
        for event in self._locust.events():
            self._progress.tick()
            if event is not None and event["event"] in self._hear:
                self._hear[event["event"]](event)
            if event is None:
                self._look_at_engine()
                self._look_at_workers()
            else:
                self._began = True
            if self._watch is not None:
                self._obey(self._watch.look(event if event is not None and event["event"] == "live" else None))
        unbegun = self._locust.asked_to_stop and not self._began  # nothing was lost
        if not self._done and self._outcome.error is None and not unbegun:
            self._load_generator_failed(self._locust.failure())
        if self._outcome.status != "aborted":
            self._outcome.status = "complete" if self._done and self._outcome.error is None else "failed"

    def _look_at_engine(self) -> None:
        if self._outcome.error is None and not self._engine.is_alive():
            code = Exit.ENGINE if self._watch is None else self._watch.engine_gone
            self._fail(
                "engine_gone",
                code,
                f"{self._engine.title} ended during the run.",
                "Its log ends with",
                self._engine.log_tail(12),
            )
            if self._watch is not None:
                self._outcome.status = "aborted"
            self._locust.ask_to_stop()

    def _look_at_workers(self) -> None:
        """A worker that ends before the run begins fails the run; later, the run continues without it and says so."""
        if not self._began and self._outcome.error is None and (failure := self._locust.dead_worker()) is not None:
            self._load_generator_failed(failure)
            self._locust.kill()  # a leader that waits for its workers does not listen
        elif self._began and not self._done:
            for sentence in self._locust.ended_workers("the run continues without it and will be INVALID", badly=True):
                self._progress.say(sentence)
                self._manifest.notes.append(f"{sentence[0].upper()}{sentence[1:]}.")

    def _load_generator_failed(self, failure: UserError) -> None:
        self._outcome.error = failure
        sentence = str(failure).split("\n")[0].removesuffix(" It said:").rstrip(".")
        self._manifest.ended_early = Abort("load_generator", failure.code, sentence).record()

    def _obey(self, abort: Abort | None) -> None:
        if abort is not None and self._outcome.error is None and not self._done:
            self._outcome.status = "aborted"
            self._outcome.error = UserError(abort.code, f"{abort.sentence}, so the run was ended")
            self._manifest.ended_early = abort.record()
            self._locust.ask_to_stop()

    def _fail(self, rule: str, code: Exit, sentence: str, lead: str = "", lines: list[str] | None = None) -> None:
        """Fail the run. `lines` of a log are shown, but not kept in run.json."""
        shown = "".join(f"\n  | {line}" for line in lines or [])
        self._outcome.error = UserError(code, f"{sentence} {lead}:{shown}" if shown else sentence)
        self._manifest.ended_early = Abort(rule, code, sentence.rstrip(".")).record()

    def _fatal(self, event: Mapping[str, object]) -> None:
        fatal = msgspec.convert(event, _Fatal)
        self._fail("load_generator", Exit(fatal.code), fatal.sentence)

    def _end(self, event: Mapping[str, object]) -> None:
        self._done = True
        mark_measured_phase(self._telemetry, event)
        self._manifest.end(msgspec.convert(event["end"], LoadEnd))
        if event["stopped"] and not self._locust.asked_to_stop and self._outcome.error is None:
            self._fail("stopped", Exit.LOAD_GENERATOR, self._stopped_sentence())

    def _stopped_sentence(self) -> str:
        """A sentence about a run that ended early and gracefully, but not by us."""
        measure = next((phase for phase in self._manifest.phases if phase.name == "measure"), None)
        measured_s = 0.0 if measure is None or measure.end is None else max(0.0, measure.end - measure.start)
        wanted_s = self._manifest.load.duration_s
        of = "" if wanted_s is None else f" of {wanted_s:g} s"
        return (
            "a load-generating process was stopped by something other than this command (such as a signal): "
            f"the run measured for {measured_s:.1f} s{of}"
        )

    def _phase(self, event: Mapping[str, object]) -> None:
        """Update run.json, so that a run that dies can still be read."""
        mark_measured_phase(self._telemetry, event)
        phase = msgspec.convert(event, PhaseEvent)
        self._progress.phase(phase.name)
        phases = [PhaseRecord("warmup", phase.start, phase.measure_start)]
        if phase.measure_start is not None:
            phases.append(PhaseRecord("measure", phase.measure_start, phase.measure_end))
        self._manifest.phases = phases
        self._manifest.warmup = phase.warmup
        self._keep_manifest()

    def _levels(self, event: Mapping[str, object]) -> None:
        self._manifest.levels = msgspec.convert(event["levels"], list[LevelRecord])
        self._keep_manifest()

    def _keep_manifest(self) -> None:
        with contextlib.suppress(UserError):  # a full disk is noticed and reported where rows are written
            write_manifest(self._folder, self._manifest)
