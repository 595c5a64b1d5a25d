"""The life of one run: prepare, measure, finish. `load`, `soak` and the runs of `compare` use `LoadRun`; runs started
in the web UI use `web_run.WebRun`. Their common part is `RunLife`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from tokenswarm.base.cpu_affinity import affinity
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.presence import present
from tokenswarm.base.runtime_tuning import descriptors_missing
from tokenswarm.base.signals import Interrupts
from tokenswarm.contract.manifest import (
    CacheResetRecord,
    CpusRecord,
    Manifest,
    Reason,
    ValidityRecord,
    write_manifest,
)
from tokenswarm.engines import Telemetry
from tokenswarm.engines.cache_reset import reset_cache, reset_note
from tokenswarm.generator.new_run import RUN_SALT, NewRun, make_run_folder, utc_now
from tokenswarm.run.calibration import advice
from tokenswarm.run.checked_engine import CheckedEngine, EngineTools, checked_engine
from tokenswarm.run.engine_up import ENGINE_LOG, leave_running
from tokenswarm.run.locust_process import LocustProcesses
from tokenswarm.run.monitor import RunMonitor, RunOutcome, RunRecord, Watch
from tokenswarm.run.options import LoadOptions
from tokenswarm.run.progress import RunProgress
from tokenswarm.run.run_plan import RunPlan, resolve
from tokenswarm.scenario.abort import Abort


def run_load(
    options: LoadOptions, console: Console, watch: Watch | None = None, tools: LoadTools | None = None
) -> RunOutcome:
    """Run a scenario against an engine and write a run folder. Stops whatever it started. `watch` observes the run.
    Raises UserError for faults before anything was measured.
    """
    plan = resolve(options)
    with (
        Interrupts(require_double_ctrl_c=watch is not None) as interrupts,
        LoadRun(plan, console, interrupts, watch, tools) as run,
    ):
        run.prepare()
        run.measure()
        return run.finish()


class RunLife:
    """What every run does with its engine: empty the cache before, monitor during, record both in run.json after."""

    checked: CheckedEngine
    folder: Path

    def __init__(self) -> None:
        self._cache_reset: CacheResetRecord | None = None
        self._cache_note: str | None = None
        self._telemetry: Telemetry | None = None

    def _empty_cache(self, wanted: bool, salt: str, fresh: bool) -> None:
        """Empty the prefix cache, including the preflight's requests, while nothing of ours is in flight. `fresh`: the
        salt is new in this run."""
        self._cache_reset = reset_cache(self.checked.engine, wanted)
        self._cache_note = reset_note(self._cache_reset, wanted, salt, fresh)

    def _tell_cache(self, manifest: Manifest) -> None:
        manifest.cache_reset = self._cache_reset
        if self._cache_note is not None:
            manifest.notes.append(self._cache_note)

    def _new_telemetry(self, on_sample: Callable[[float, dict[str, float | None]], None] | None = None) -> Telemetry:
        """The telemetry of engine and GPUs for this run; not started yet."""
        engine = self.checked.engine
        self._telemetry = Telemetry(
            engine, self.folder, gpus=self.checked.gpus, samplers=engine.samplers(), on_sample=on_sample
        )
        return self._telemetry

    def _tell_telemetry(self, manifest: Manifest) -> None:
        if self._telemetry is not None:
            manifest.telemetry = self._telemetry.facts()
            manifest.server_latency = self._telemetry.server_latency()


@dataclass(frozen=True, slots=True)
class LoadTools:
    """Functions that start a run's parts; tests inject their own."""

    engine: EngineTools = field(default_factory=EngineTools)
    locust: Callable[..., LocustProcesses] = LocustProcesses.headless
    """Takes scenario, folder, base URL, workers and master."""


class LoadRun(RunLife):
    """A run from the command line with its own engine: a context manager that stops what it started."""

    def __init__(
        self,
        plan: RunPlan,
        console: Console,
        interrupts: Interrupts,
        watch: Watch | None = None,
        tools: LoadTools | None = None,
    ) -> None:
        super().__init__()
        self.plan, self.console, self.interrupts = plan, console, interrupts
        self._watch, self._tools = watch, tools or LoadTools()
        self._cleanup = contextlib.ExitStack()
        self.manifest = Manifest()

    def _show_cursor(self) -> None:
        self.console.show_cursor(True)

    def __enter__(self) -> LoadRun:
        self.interrupts.on_hard_exit.append(self._show_cursor)  # a live display hides it
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    # ---- prepare

    def prepare(self) -> None:
        """Start the engine, check the endpoint, empty the cache, write run.json. Leaves no folder if that fails. Raises
        UserError.
        """
        plan = self.plan
        run_id, self.folder = make_run_folder(
            plan.results, plan.engine_name, plan.scenario.name, plan.scenario.load, plan.label
        )
        try:
            self.checked = self._cleanup.enter_context(
                checked_engine(plan, self.folder, self.console, self.interrupts, self._tools.engine)
            )
            plan = self.plan = self.checked.plan
            self.manifest = self._new_manifest(run_id)
            prompts = plan.scenario.prompts
            self._empty_cache(
                plan.scenario.load.reset_cache, present(self.manifest.salt), fresh=prompts.salt == RUN_SALT
            )
            self._tell_cache(self.manifest)
            write_manifest(self.folder, self.manifest)
        except BaseException as error:
            self._cleanup.close()  # the engine first, since it writes into the folder
            _drop(self.folder, keep_log=isinstance(error, UserError) and error.code is Exit.ENGINE)
            raise
        self.outcome = RunOutcome(self.folder)
        self._announce()

    def _new_manifest(self, run_id: str) -> Manifest:
        plan, checked, engine = self.plan, self.checked, self.checked.engine
        cpus = CpusRecord(sorted(plan.cpus.engine), sorted(plan.cpus.load_generator)) if plan.cpus else None
        return NewRun(
            scenario=plan.scenario,
            overrides=plan.overrides,
            engine=engine.record(),
            model=checked.model,
            corpus=plan.corpus,
            workers=plan.workers,
            argv=plan.argv,
            simulated=engine.simulated,
            notes=[*checked.notes, *self._descriptor_note(), *plan.prompt_notes],
            gpus=checked.gpu_names,
            preflight=checked.preflight,
            cost=checked.cost,
            cpus=cpus,
            label=plan.label,
        ).manifest(run_id)

    def _descriptor_note(self) -> list[str]:
        """A note about too few file descriptors, which would fail requests that the engine never sees."""
        load, plan = self.plan.scenario.load, self.plan
        connections = math.ceil((load.max_in_flight if load.rate is not None else load.most_users) / plan.workers)
        missing = 0 if plan.master is not None else descriptors_missing(connections)
        return (
            [
                f"The limit on open files (ulimit -n) is {missing} too low for {connections} connections of a "
                "load-generating process: some requests may fail here, and the run is then INVALID. Raise it, or use "
                "fewer users."
            ]
            if missing
            else []
        )

    def _announce(self) -> None:
        self.checked.announce(self.console)
        for note in [] if self.checked.engine.simulated else self.manifest.notes:  # they are in run.json in any case
            self.console.print(f"note: {note}", highlight=False)
        hint = advice(self.plan.scenario.load, self.plan.scenario.output.max_tokens, self.plan.workers)
        if hint is not None and self.plan.master is None:
            self.console.print(f"note: {hint}", highlight=False)

    # ---- measure

    def measure(self) -> None:
        """Load the engine until the run ends, by itself or early; `outcome` says how. Raises UserError if the load
        generator cannot be started.
        """
        self.interrupts.on_first = lambda: None  # from here on there is a run to end gracefully
        telemetry = self._new_telemetry()
        locust = self._start_locust()
        telemetry.start()
        try:
            with self._progress() as progress:

                def on_first() -> None:
                    progress.stopping()
                    locust.ask_to_stop()

                self.interrupts.on_first = on_first
                if self._watch is not None:
                    self._watch.begin(self.folder, self.plan.scenario)
                record = RunRecord(self.folder, self.manifest, self.outcome)
                RunMonitor(record, locust, self.checked.engine, telemetry, progress, self._watch).follow()
        except BaseException:  # such as a closed pipe on stdout: the run is no longer followed
            locust.ask_to_stop()
            raise
        finally:
            self.interrupts.on_first = lambda: None
            locust.end()
            telemetry.stop()

    def _start_locust(self) -> LocustProcesses:
        plan = self.plan
        with affinity(plan.cpus.load_generator if plan.cpus else None):
            locust = self._tools.locust(
                plan.scenario, self.folder, self.checked.engine.base_url, plan.workers, plan.master
            )
        self.interrupts.on_hard_exit.insert(0, locust.kill_at_once)
        self.interrupts.on_first = locust.ask_to_stop
        if self.interrupts.interrupted:
            locust.ask_to_stop()
        return locust

    def _progress(self) -> RunProgress:
        load = self.plan.scenario.load
        return RunProgress(
            self.console,
            load.warmup_s,
            load.duration_s,
            load.warmup_max_s if load.warmup_s is None else None,
            self._watch.progress_interval_s if self._watch else None,
        )

    # ---- finish

    def finish(self) -> RunOutcome:
        """Complete run.json, and leave the engine running if requested. Raises UserError(RESULTS)."""
        outcome, manifest = self.outcome, self.manifest
        if self.interrupts.interrupted and outcome.status != "aborted":
            outcome.status, outcome.interrupted_at = "interrupted", self.interrupts.first_at
            manifest.ended_early = manifest.ended_early or interruption(self.interrupts).record()
        _note_lost_workers(manifest)
        manifest.status, manifest.ended_at = outcome.status, utc_now()
        self._tell_telemetry(manifest)
        write_manifest(self.folder, manifest)
        if self._watch is not None:
            self._watch.over(outcome)
        if self.plan.keep and outcome.status == "complete":
            leave_running(self.checked.engine, self.console)
        return outcome


def _drop(folder: Path, keep_log: bool) -> None:
    """Remove the folder of a run that never began, unless it has the engine's log."""
    with contextlib.suppress(OSError):
        if not keep_log:
            (folder / ENGINE_LOG).unlink(missing_ok=True)
        folder.rmdir()


def interruption(interrupts: Interrupts) -> Abort:
    """The first signal, as the reason for the early end."""
    return Abort("interrupted", Exit.INTERRUPTED, f"the run was interrupted by {interrupts.first_name}")


def _note_lost_workers(manifest: Manifest) -> None:
    """Note lost workers: their last rows are missing, which no figure shows."""
    lost = manifest.counts.workers_lost if manifest.counts else None
    if lost:
        sentence = (
            f"{lost} of {manifest.load.workers} load-generating processes were lost during the run, "
            "with the rows that they had not handed over"
        )
        reason = Reason("workers_lost", "INVALID", value=lost, limit=0, sentence=sentence)
        manifest.validity = ValidityRecord("INVALID", [reason])
