"""Hooks tokenswarm into Locust: one `Part` for each Locust process, by the role that the process plays.

A local runner loads and directs; in distributed mode the master directs and writes, the workers load.
"""

from __future__ import annotations

import contextlib
import csv
import os
import sys
import time
from pathlib import Path
from typing import Any

import gevent
from locust import events
from locust.runners import MasterRunner, WorkerRunner

from tokenswarm.errors import Exit, UserError
from tokenswarm.generator.director import Director
from tokenswarm.generator.live import LiveStats
from tokenswarm.generator.locust_csv import complete_at_exit
from tokenswarm.generator.plan import Plan, plan_from, prepared_plan
from tokenswarm.generator.process import LoadProcess
from tokenswarm.generator.reporter import Reporter
from tokenswarm.generator.shape import ScenarioShape
from tokenswarm.generator.sinks import FileSink, MasterSink
from tokenswarm.generator.standalone import standalone_manifest
from tokenswarm.generator.timeline import Timeline
from tokenswarm.manifest import utc_now, write_manifest
from tokenswarm.quiet import calm_collector, grow_descriptor_table
from tokenswarm.schema import REQUEST_COLUMNS, REQUESTS_CSV, names

_LIVE_INTERVAL_S = 1.0
_GIVE_UP_S = 0.2
_WORKERS_END_S = 15.0
_LOCAL_LEAD_S, _DISTRIBUTED_LEAD_S = 0.0, 0.3
_registered = False


def register() -> None:
    """Listen to Locust's events; a second call does nothing."""
    global _registered
    if not _registered:
        _registered = True
        events.init.add_listener(_on_init)


def process_of(environment: Any) -> LoadProcess:
    """The load process of this Locust environment.

    Raises RuntimeError before the test has started, and GreenletExit (a quiet end) where it could not start.
    """
    part = getattr(environment, "tokenswarm", None)
    if part is not None and part.gave_up:
        raise gevent.GreenletExit
    if part is None or part.process is None:
        raise RuntimeError("an LLMUser can only be made by a running Locust test")
    return part.process


def _on_init(environment: Any, runner: Any, **_: Any) -> None:
    kind = WorkerPart if isinstance(runner, WorkerRunner) else MasterPart if isinstance(runner, MasterRunner) \
        else LocalPart
    environment.tokenswarm = kind(environment)


class _Part:
    """What all roles share. `process` is None in the master."""

    def __init__(self, environment: Any) -> None:
        self.environment = environment
        self.process: LoadProcess | None = None
        self.gave_up = False
        self.timeline = Timeline(time.time())
        environment.events.test_start.add_listener(self._guarded_start)

    def _guarded_start(self, **_: Any) -> None:
        try:
            self.start()
        except UserError as error:
            self.give_up(str(error), error.code)

    def start(self) -> None:
        raise NotImplementedError

    def give_up(self, sentence: str, code: int) -> None:
        """One sentence and the end of this Locust process."""
        print(f"tokenswarm: {sentence}", file=sys.stderr)
        self.gave_up = True
        self.environment.process_exit_code = int(code)
        # Later: Locust is in the middle of its start, and would go on with it after a quit.
        gevent.spawn_later(_GIVE_UP_S, self.environment.runner.quit)


class _DirectingPart(_Part):
    """Local or master: owns the run folder, directs the phases, reports to the command line."""

    lead_s = _LOCAL_LEAD_S

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.reporter = Reporter()
        self.plan = prepared_plan()
        self.shape: ScenarioShape | None = None
        if self.plan is not None and self.plan.scenario.load.shaped:
            self.shape = environment.shape_class = ScenarioShape(self.plan.scenario.load)
        self.manifest: dict[str, Any] | None = None
        self.sink: FileSink | None = None
        self.director: Director | None = None
        self.failure: OSError | None = None
        self._ended = True
        environment.events.spawning_complete.add_listener(self._spawned)
        environment.events.test_stop.add_listener(self._stopped)
        complete_at_exit(environment)

    def start(self) -> None:
        if self.plan is None or not self.plan.controlled:  # under plain Locust each test is a run of its own
            self.manifest, folder = standalone_manifest(self.environment, self.workers())
            self.plan = plan_from(self.manifest, folder, controlled=False)
        self.timeline = Timeline(time.time())
        if self.shape is not None:
            self.shape.timeline = self.timeline
        self.sink = FileSink(self.plan.folder)
        self._ended = False
        self.begin()
        load = self.plan.scenario.load
        self.director = Director(
            self.timeline, warmup_s=load.warmup_s, drain_s=load.drain_s, lead_s=self.lead_s,
            duration_s=load.duration_s if self.plan.controlled else float("inf"),
            reporter=self.reporter, announce=self.announce, quiet=self.quiet, finish=self._finish)
        self.reporter.on_stop(self.director.stop)
        gevent.spawn(self._tell_live)

    def workers(self) -> int:
        return 1

    def begin(self) -> None:
        """Get ready to load, before any user is there."""

    def announce(self) -> None:
        """Tell whoever needs it what the timeline is."""

    def quiet(self) -> bool:
        raise NotImplementedError

    def end_load(self) -> dict[str, int]:
        """End all loading, get every row into the sink; returns counts beyond those of the rows."""
        raise NotImplementedError

    def live(self) -> LiveStats:
        raise NotImplementedError

    def in_flight(self) -> int:
        raise NotImplementedError

    def rows_failed(self, error: OSError) -> None:
        """Rows cannot be kept any more: the run ends, what was written stays."""
        self.failure = error
        self.director.stop()

    def _spawned(self, **_: Any) -> None:
        if self.director is not None:
            self.director.all_users_are_there()

    def _tell_live(self) -> None:
        while not self._ended:
            gevent.sleep(_LIVE_INTERVAL_S)
            self.reporter.say("live", phase=self.timeline.phase_at(time.time()), in_flight=self.in_flight(),
                              users=self.environment.runner.user_count, **self.live().figures())

    def _finish(self, stopped: bool) -> None:
        self._end(stopped)
        self.environment.runner.quit()

    def _stopped(self, **_: Any) -> None:
        """Locust ended the test (its own run time, its UI, a signal): the users are gone by now."""
        if not self._ended:
            self.timeline.end_now(time.time())
            self._end(stopped=self.plan.controlled)

    def _end(self, stopped: bool) -> None:
        if self._ended:
            return
        self._ended = True
        extra = self.end_load()
        self.sink.close()
        counts = {**self.live().counts, **extra, "rows": self.sink.rows[REQUESTS_CSV]}
        counts["sent"] = sum(self.live().counts.values())
        phases = self.timeline.phases(time.time())
        if self.failure is not None:
            sentence = (f"{self.plan.folder} cannot be written ({os.strerror(self.failure.errno)}); "
                        "the run was stopped and what was written before is kept")
            self.reporter.say("fatal", sentence=sentence, code=int(Exit.RESULTS))
            print(f"tokenswarm: {sentence}", file=sys.stderr)
        self.reporter.say("done", counts=counts, phases=phases, stopped=stopped)
        if self.manifest is not None:
            self._finish_standalone(counts, phases)

    def _finish_standalone(self, counts: dict[str, int], phases: list) -> None:
        self.manifest.update(status="complete", ended_at=utc_now(), counts=counts, phases=phases,
                             simulated=bool(counts.get("simulated_answers")))
        try:
            write_manifest(self.plan.folder, self.manifest)
        except UserError as error:
            print(f"tokenswarm: {error}", file=sys.stderr)
        print(f"tokenswarm: {counts['rows']} rows in {self.plan.folder}; "
              f"make the dashboard with: python -m tokenswarm report {self.plan.folder}", file=sys.stderr)


class LocalPart(_DirectingPart):
    """One process does it all."""

    def begin(self) -> None:
        grow_descriptor_table()
        self.process = LoadProcess(self.plan, 0, self.timeline, self.sink, self.rows_failed)
        calm_collector()

    def quiet(self) -> bool:
        return self.process.client.in_flight == 0

    def end_load(self) -> dict[str, int]:
        self.process.end()
        self.process.close()
        return self.process.account()

    def live(self) -> LiveStats:
        return self.process.live

    def in_flight(self) -> int:
        return self.process.client.in_flight


class MasterPart(_DirectingPart):
    """Directs workers and writes the one requests.csv from what they send."""

    lead_s = _DISTRIBUTED_LEAD_S

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._live = LiveStats()
        self._in_flight: dict[str, int] = {}
        self._accounts: dict[str, dict[str, int]] = {}
        runner = environment.runner
        runner.register_message("tokenswarm_rows", self._rows)
        runner.register_message("tokenswarm_pulse", self._pulse)
        runner.register_message("tokenswarm_account", self._account)

    def workers(self) -> int:
        return max(1, len(self.environment.runner.clients))

    def begin(self) -> None:
        self._columns = names(REQUEST_COLUMNS)
        self.announce()

    def announce(self) -> None:
        plan = self.plan
        with contextlib.suppress(OSError):
            self.environment.runner.send_message("tokenswarm_plan", {
                "manifest": self.manifest or _manifest_of(plan), "folder": str(plan.folder),
                "timeline": [self.timeline.start, self.timeline.measure_start, self.timeline.measure_end,
                             self.timeline.stop_by]})

    def quiet(self) -> bool:
        return sum(self._in_flight.values()) == 0 and time.time() > self.timeline.measure_end + 1.0

    def end_load(self) -> dict[str, int]:
        clients = self.environment.runner.clients
        self.environment.runner.send_message("tokenswarm_end", {})
        deadline = time.monotonic() + _WORKERS_END_S
        while time.monotonic() < deadline and any(
                worker.id not in self._accounts for worker in clients.all if worker.state != "missing"):
            gevent.sleep(0.05)
        total: dict[str, int] = {}
        for account in self._accounts.values():
            for key, value in account.items():
                total[key] = total.get(key, 0) + value
        total["workers_lost"] = self.plan.workers - len(self._accounts)
        return total

    def live(self) -> LiveStats:
        return self._live

    def in_flight(self) -> int:
        return sum(self._in_flight.values())

    def _rows(self, msg: Any, **_: Any) -> None:
        data = msg.data
        try:
            self.sink.write(data["table"], data["lines"], data["count"])
        except OSError as error:
            if self.failure is None:
                self.rows_failed(error)
            return
        if data["table"] == REQUESTS_CSV:
            for row in csv.DictReader(data["lines"].splitlines(), self._columns):
                self._live.add_cells(row)

    def _pulse(self, msg: Any, **_: Any) -> None:
        self._in_flight[msg.node_id] = msg.data["in_flight"]

    def _account(self, msg: Any, **_: Any) -> None:
        self._accounts[msg.node_id] = msg.data
        self._in_flight[msg.node_id] = 0


class WorkerPart(_Part):
    """Loads as the master says."""

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._plan: Plan | None = None
        self._ended = False
        environment.runner.register_message("tokenswarm_plan", self._planned)
        environment.runner.register_message("tokenswarm_end", self._end)

    def start(self) -> None:
        if self._plan is None:
            raise UserError(Exit.LOAD_GENERATOR,
                            "the master sent no plan; start it from the same version of tokenswarm")
        runner = self.environment.runner
        index = max(0, runner.worker_index)
        grow_descriptor_table()
        self.process = LoadProcess(self._plan, index, self.timeline, MasterSink(runner.send_message), self._lost)
        gevent.spawn(self._beat)
        calm_collector()

    def _planned(self, msg: Any, **_: Any) -> None:
        data = msg.data
        if self._plan is None:
            self._plan = plan_from(data["manifest"], Path(data["folder"]), controlled=True)
        start, measure_start, measure_end, stop_by = data["timeline"]
        timeline = self.timeline
        timeline.start, timeline.measure_start = start, measure_start
        timeline.measure_end, timeline.stop_by = measure_end, stop_by

    def _beat(self) -> None:
        while not self._ended:
            self.environment.runner.send_message("tokenswarm_pulse", {"in_flight": self.process.client.in_flight})
            gevent.sleep(0.25)

    def _end(self, **_: Any) -> None:
        if self._ended:
            return
        self._ended = True
        account: dict[str, int] = {}
        if self.process is not None:  # otherwise the run was stopped before this worker had begun
            self.process.end()
            account = {**self.process.account(), "rows_made": self.process.rows}
        self.environment.runner.send_message("tokenswarm_account", account)

    def _lost(self, error: OSError) -> None:
        self.give_up(f"rows cannot be sent to the master: {error}", Exit.LOAD_GENERATOR)


def _manifest_of(plan: Plan) -> dict[str, Any]:
    """As much of a manifest as `plan_from` needs."""
    return {"run_id": plan.run_id, "engine": {"base_url": plan.base_url}, "model": plan.model, "seed": plan.seed,
            "salt": plan.salt, "scenario": {"values": plan.scenario.values()},
            "corpus": plan.corpus.identity(), "load": {"workers": plan.workers}}
