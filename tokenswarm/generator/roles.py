"""What a Locust process does for tokenswarm, by its role: the common part, and the one that directs a run."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path

import gevent
import msgspec
from gevent.event import Event
from locust.env import Environment
from locust.exception import StopTest
from locust.runners import Runner

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.last_handler import exit_of, log_bug
from tokenswarm.base.presence import present
from tokenswarm.base.runtime_tuning import freeze_gc, grow_descriptor_table
from tokenswarm.contract.levels import LevelRecord
from tokenswarm.contract.manifest import CountsRecord, LoadEnd, Manifest, WorkerRecord, write_manifest
from tokenswarm.contract.phases import Timeline
from tokenswarm.contract.tables import REQUESTS_CSV
from tokenswarm.generator.level_log import LevelLog, follow_user_targets
from tokenswarm.generator.load_process import LoadProcess, Outlets
from tokenswarm.generator.locust_csv import complete_at_exit
from tokenswarm.generator.locust_stats import keep_flat
from tokenswarm.generator.mixed_user import choose_classes
from tokenswarm.generator.new_run import utc_now
from tokenswarm.generator.phase_controller import LoadProcesses, PhaseController
from tokenswarm.generator.plain_locust import standalone_manifest
from tokenswarm.generator.plan import plan_from, prepared_plan
from tokenswarm.generator.replay_plan import write_replay_plan
from tokenswarm.generator.reporter import Reporter
from tokenswarm.generator.schedule import LEAD_S
from tokenswarm.generator.shape import ScenarioShape
from tokenswarm.generator.sinks import FileSink
from tokenswarm.generator.warmup import latency_name
from tokenswarm.live.live_stats import LiveStats
from tokenswarm.scenario.arrivals import RECORDED
from tokenswarm.workloads import create

_LIVE_INTERVAL_S = 1.0
_GIVE_UP_S = 0.2
_ENGINE_READY_S = 120.0
"""How long a run under `tokenswarm ui` waits for the engine's cache to be emptied, far longer than that may take: what
is sent meanwhile would find a cache that is emptied under it."""
_ENGINE_SAMPLES = 60


def _say(sentence: str) -> None:
    """To whoever watches Locust's own output. Where that is a file on a full disk, the run must end all the same."""
    with contextlib.suppress(OSError):
        print(f"tokenswarm: {sentence}", file=sys.stderr, flush=True)


class ProcessRole:
    """What all roles share. `process` is None in the master.

    Locust writes the traceback of an error in a listener or a greenlet into its log and goes on, with a run that may
    never end. So whatever is ours goes through `guard`, and what ends a greenlet comes to `bug` (see
    `greenlet_errors`): one sentence, the log, the end of the run.
    """

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.process: LoadProcess | None = None
        self.gave_up = False
        self._bug_told = False
        self.timeline = Timeline(time.time())
        environment.events.test_start.add_listener(self._guarded_start)

    def _guarded_start(self, **_: object) -> None:
        self.gave_up = self._bug_told = False
        self.guard(self.start)()
        if self.gave_up and self.environment.web_ui is not None:
            raise StopTest from None  # the next one may go better

    def start(self) -> None:
        raise NotImplementedError

    @property
    def runner(self) -> Runner:
        return present(self.environment.runner)

    def guard(self, listener: Callable[..., None]) -> Callable[..., None]:
        """The listener, with whatever goes wrong in it told in one sentence."""

        @wraps(listener)
        def guarded(*arguments: object, **named: object) -> None:
            try:
                listener(*arguments, **named)
            except UserError as error:
                self.give_up(str(error), error.code)
            except StopTest:
                raise
            except Exception as error:
                self.bug(error)

        return guarded

    def bug(self, error: Exception) -> None:
        """An unexpected error: a sentence that names the log, and the end of the run. Only of the first one:
        others follow from it."""
        if not self._bug_told:
            self._bug_told = True
            self.give_up(log_bug(error, self.log_folder), exit_of(error))

    @property
    def log_folder(self) -> Path | None:
        """Where the log of a bug goes; None: to the user's folder for logs."""
        return None

    def give_up(self, sentence: str, code: int) -> None:
        """One sentence and the end of this Locust process, or, under a web UI, of its run."""
        _say(sentence)
        self.gave_up = True
        if self.environment.web_ui is not None:
            return
        self.environment.process_exit_code = int(code)
        # Later: Locust is in the middle of its start, and would go on with it after a quit.
        gevent.spawn_later(_GIVE_UP_S, self.runner.quit)


class _EngineSample(msgspec.Struct):
    """What the command line says of the engine's /metrics."""

    at: float
    values: dict[str, float | None]


class Coordinator(ProcessRole):
    """Local or master: owns the run folder, directs the phases, reports to the command line."""

    lead_s = LEAD_S

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.reporter = Reporter()
        self.plan = prepared_plan()
        self.shape: ScenarioShape | None = None
        if self.plan is not None and self.plan.scenario.mix is not None:
            choose_classes(environment, self.plan.scenario.mix)
        if self.plan is not None and self.plan.scenario.load.shaped:
            self.shape = environment.shape_class = ScenarioShape(self.plan.scenario.load)
        self.manifest: Manifest | None = None
        self.engine_samples: deque[tuple[float, Mapping[str, float | None]]] = deque(maxlen=_ENGINE_SAMPLES)
        """(unix time, what the engine's /metrics said in canonical names), latest last; from `tokenswarm ui`."""
        self._engine_ready = Event()
        self.reporter.on("stop", self.guard(lambda _: self._asked_to_stop()))
        self.reporter.on("ready", lambda _: self._engine_ready.set())
        self.reporter.on("engine", self._engine_sampled)
        self.level_log = LevelLog()
        if environment.runner is not None:
            follow_user_targets(environment.runner, self._users_asked)
        self.sink: FileSink | None = None
        self.live: LiveStats | None = None
        """Figures of the latest run, from when it began."""
        self.director: PhaseController | None = None
        self.failure: OSError | None = None
        self.before_first_run: list[Callable[[], None]] = []
        """What other rooms do before anything is sent, such as to serve metrics."""
        self._ended = True
        self._stop_wanted = False
        environment.events.spawning_complete.add_listener(self.guard(self._spawned))
        environment.events.test_stop.add_listener(self.guard(self._stopped))
        complete_at_exit(environment)
        keep_flat(environment)

    def _engine_sampled(self, message: object) -> None:
        sample = msgspec.convert(message, _EngineSample)
        self.engine_samples.append((sample.at, sample.values))

    def start(self) -> None:
        while self.before_first_run:
            self.before_first_run[0]()  # raises UserError where it cannot be done; then it is tried again next time
            self.before_first_run.pop(0)
        self.live = self.sink = self.director = self.process = None  # whoever looks now sees nothing of an earlier run
        self._stop_wanted = False
        if self.plan is None or not self.plan.controlled:  # under plain Locust each test is a run of its own
            self.manifest, folder = standalone_manifest(self.environment, self.workers())
            self.plan = plan_from(self.manifest, folder, controlled=False)
            if self.plan.scenario.mix is not None:
                choose_classes(self.environment, self.plan.scenario.mix)
            self._tell_of_it()
        self._write_what_is_planned()
        self.timeline = Timeline(time.time())
        self.level_log.new_run()
        if self.shape is not None:
            self.shape.timeline = self.timeline
        self.sink = FileSink(self.plan.folder, self.plan.scenario.load.rotate_s)
        scenario = self.plan.scenario
        self.live = LiveStats(self.timeline, bounded=self.plan.bounded, open_loop=scenario.open_loop)
        self._ended = False
        try:
            self.begin()
        except gevent.GreenletExit:
            self._drop()
            raise
        processes = LoadProcesses(
            answers=lambda: present(self.live).warmup,
            announce=self._timeline_changed,
            quiet=self.quiet,
            finish=self._finish,
            latency_name=latency_name(scenario.output.stream),
            in_flight=None if scenario.phases_apart else lambda: self.in_flight().total(),
            exhausted=self.exhausted,
        )
        self.director = PhaseController(
            self.timeline,
            scenario.load,
            processes,
            self.reporter,
            lead_s=self.lead_s,
            duration_s=scenario.load.duration_s if self.plan.controlled else float("inf"),
        )
        gevent.spawn(self._tell_live)
        if self._stop_wanted:
            self.director.stop()

    def _write_what_is_planned(self) -> None:
        """Of a replay: what the trace asks for, for whoever reads the run."""
        plan = present(self.plan)
        if plan.scenario.load.arrivals == RECORDED:
            planned = create(plan.scenario, plan.corpus, plan.seed, plan.salt).planned()
            if planned is not None:
                write_replay_plan(plan.folder, planned)

    def _tell_of_it(self) -> None:
        """A run of its own begins: let the command line, where there is one, watch the engine and empty its cache."""
        self.engine_samples.clear()
        self._engine_ready.clear()
        self.reporter.say("begun", folder=str(present(self.plan).folder))
        try:
            if self.reporter.connected:
                ready = self._engine_ready.wait(_ENGINE_READY_S)
                if not ready:
                    self._drop()
                    raise UserError(
                        Exit.ENGINE,
                        f"the engine's cache was not emptied within {_ENGINE_READY_S:g} s, so "
                        "the run was not begun; try again",
                    )
        except gevent.GreenletExit:
            self._drop()
            raise

    def _drop(self) -> None:
        """The run was stopped before anything was sent: Locust has killed the greenlet that was starting it, and
        will not tell of an end."""
        self._ended, self.live = True, None
        if self.sink is not None:
            self.sink.close()
        if self.manifest is not None:
            self.manifest.status, self.manifest.ended_at = "interrupted", utc_now()
            write_manifest(present(self.plan).folder, present(self.manifest))
        self.reporter.say("dropped")

    def workers(self) -> int:
        return 1

    def begin(self) -> None:
        """Get ready to load, before any user is there."""

    def announce(self) -> None:
        """Tell the timeline to all who need it."""

    def _timeline_changed(self) -> None:
        """Phases or load levels are other ones: let everybody know, and keep what a reader of the folder needs."""
        levels = self.levels()
        self.timeline.level_starts = [level.start for level in levels[1:]]
        self.announce()
        self.reporter.say("levels", levels=levels)
        if self.manifest is not None and self.manifest.levels != levels:
            self.manifest.levels = levels
            with contextlib.suppress(UserError):  # a full disk is noticed, and said, where rows are written
                write_manifest(present(self.plan).folder, present(self.manifest))

    def levels(self) -> list[LevelRecord]:
        """The load levels of this run's measured phase, as far as they are known."""
        return [] if self.plan is None else self.level_log.levels(self.plan.scenario.load, self.timeline)

    def _users_asked(self, users: int) -> None:
        now = time.time()
        self.level_log.set_target(now, users)
        if self.going_on and self.timeline.phase_at(now) == "measure":
            self._timeline_changed()

    def quiet(self) -> bool:
        raise NotImplementedError

    def _asked_to_stop(self) -> None:
        if self._ended:
            self.leave()
        else:
            self._stop()

    def _stop(self) -> None:
        """End the run that goes on, in good order; one that is still getting ready, as soon as it is."""
        self._stop_wanted = True
        if self.director is not None:
            self.director.stop()

    def end_load(self) -> dict[str, object]:
        """End all loading, get every row into the sink; returns counts beyond those of the rows."""
        raise NotImplementedError

    def worker_records(self) -> list[WorkerRecord] | None:
        """What is known of the processes of a distributed run; None where there is only this one."""
        return None

    def in_flight(self) -> Counter[str]:
        """Requests in flight now, by user class."""
        raise NotImplementedError

    def exhausted(self) -> bool:
        """Whether the measured phase has sessions in a number, and all of them are over."""
        raise NotImplementedError

    @property
    def going_on(self) -> bool:
        """Whether a run has begun and not ended."""
        return not self._ended

    @property
    def log_folder(self) -> Path | None:
        return self.plan.folder if self.plan is not None else None

    def give_up(self, sentence: str, code: int) -> None:
        """The sentence goes to the command line too. A run that goes on ends in good order, as far as it still can."""
        self.reporter.say("fatal", sentence=sentence, code=int(code))
        super().give_up(sentence, code)
        if not self._ended:
            try:
                self._end(stopped=True)
            except Exception as error:
                self.bug(error)  # where this came from a bug, it is told already
            if self.environment.web_ui is not None:
                gevent.spawn(self.runner.stop)

    def rows_failed(self, error: OSError) -> None:
        """Rows cannot be kept any more: the run ends, what was written stays."""
        self.failure = error
        self._stop()

    def _spawned(self, **_: object) -> None:
        if self.director is not None:
            self.director.all_users_are_there()

    def _tell_live(self) -> None:
        while not self._ended:
            gevent.sleep(_LIVE_INTERVAL_S)
            self.reporter.say(
                "live",
                phase=self.timeline.phase_at(time.time()),
                in_flight=self.in_flight().total(),
                users=self.runner.user_count,
                outcomes=present(self.live).counts,
                error_kinds=present(self.live).error_kinds(),
                **present(self.live).figures(),
            )

    def _finish(self, stopped: bool) -> None:
        if self._ended:  # Locust ended the test, as its UI does, and may begin another
            return
        self._end(stopped)
        self.leave()

    def leave(self) -> None:
        """End this Locust, and its workers'."""
        self.runner.quit()
        if self.environment.web_ui is not None:
            self.environment.web_ui.stop()

    def _stopped(self, **_: object) -> None:
        """Locust ended the test (its own run time, its UI, a signal): the users are gone by now."""
        if not self._ended:
            self.timeline.end_now(time.time())
            self._end(stopped=present(self.plan).controlled)

    def _end(self, stopped: bool) -> None:
        if self._ended:
            return
        self._ended = True
        extra = self.end_load()
        present(self.sink).close()
        counts = {
            **present(self.live).counts,
            **extra,
            "rows": present(self.sink).rows[REQUESTS_CSV],
            "sent": sum(present(self.live).counts.values()),
        }
        end = LoadEnd(
            msgspec.convert(counts, CountsRecord),
            self.timeline.phases(time.time()),
            self.levels(),
            self.director.warmup if self.director is not None else None,
            self.worker_records(),
        )
        if self.failure is not None:
            sentence = (
                f"{present(self.plan).folder} cannot be written ({os.strerror(self.failure.errno or 0)}); "
                "the run was stopped and what was written before is kept"
            )
            self.reporter.say("fatal", sentence=sentence, code=int(Exit.RESULTS))
            _say(sentence)
        if self.manifest is not None:
            self._finish_standalone(end)
        self.reporter.say("done", end=end, stopped=stopped)

    def _finish_standalone(self, end: LoadEnd) -> None:
        manifest = present(self.manifest)
        manifest.end(end)
        manifest.status, manifest.ended_at = "failed" if self.gave_up else "complete", utc_now()
        try:
            write_manifest(present(self.plan).folder, present(self.manifest))
        except UserError as error:
            _say(str(error))
        _say(
            f"{end.counts.rows} rows in {present(self.plan).folder}; "
            f"make the dashboard with: python -m tokenswarm report {present(self.plan).folder}"
        )


class LocalRole(Coordinator):
    """One process does it all."""

    def begin(self) -> None:
        grow_descriptor_table()
        self.process = LoadProcess(
            present(self.plan),
            0,
            self.timeline,
            Outlets(present(self.sink), self.rows_failed, present(self.live).merge),
        )
        freeze_gc()

    def quiet(self) -> bool:
        return present(self.process).requests_in_flight == 0

    def end_load(self) -> dict[str, object]:
        if self.process is None:  # it could not be made
            return {}
        self.process.end()
        self.process.close()
        return self.process.account().facts()

    def in_flight(self) -> Counter[str]:
        return Counter() if self.process is None else self.process.in_flight

    def exhausted(self) -> bool:
        return self.process is not None and self.process.exhausted
