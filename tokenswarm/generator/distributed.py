"""Locust's distributed mode: a master that directs and writes, workers that load.

Rows travel as finished CSV lines. Clocks may differ between machines: the master measures each worker's offset by
question and answer, tells it the timeline in its own clock, and the worker writes its rows in the master's.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import gevent
from locust.env import Environment
from locust.rpc import Message
from locust.runners import MasterRunner, WorkerNode, WorkerRunner

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.presence import present
from tokenswarm.base.runtime_tuning import freeze_gc, grow_descriptor_table
from tokenswarm.contract.manifest import (
    CorpusRecord,
    EngineRecord,
    LoadRecord,
    Manifest,
    ScenarioRecord,
    WorkerRecord,
    manifest_json,
    manifest_of,
)
from tokenswarm.contract.phases import Pace, Timeline
from tokenswarm.contract.tables import REQUESTS_CSV
from tokenswarm.generator.account import LoadAccount, added
from tokenswarm.generator.admission import gate_worker_registration
from tokenswarm.generator.fingerprints import fresh_key
from tokenswarm.generator.load_process import LoadProcess, Outlets
from tokenswarm.generator.mixed_user import choose_classes
from tokenswarm.generator.plan import ALL, Plan, plan_from
from tokenswarm.generator.roles import Coordinator, ProcessRole
from tokenswarm.generator.sinks import WRITTEN, MasterSink
from tokenswarm.generator.worker_files import FilesToFetch, FilesToHandOut
from tokenswarm.live.aggregate import Delta

_log = logging.getLogger(__name__)
_WORKERS_END_S = 15.0
_FILES_STALL_S = 60.0
"""Seconds that the master waits for a worker that is fetching files but asks for no more."""
_PINGS = 8
_PING_INTERVAL_S = 0.03
_PULSE_S = 0.25
_SETTLE_S = 1.0
"""Seconds after the window in which a worker's report may still be on its way."""


@dataclass(slots=True)
class ClockOffset:
    """A worker's clock offset from the master's, from the fastest of several round trips (Cristian's algorithm)."""

    offset_s: float = 0.0
    round_trip_s: float = float("inf")

    def record_answer(self, asked_at: float, at_worker: float, answered_at: float) -> None:
        """Record a round trip: `asked_at` and `answered_at` by the master's clock, `at_worker` by the worker's."""
        round_trip = answered_at - asked_at
        if round_trip < self.round_trip_s:
            self.round_trip_s, self.offset_s = round_trip, at_worker - (asked_at + answered_at) / 2

    @property
    def correction_s(self) -> float:
        """What to add to the master's time to get the worker's; 0 if it is within the measuring error."""
        return self.offset_s if abs(self.offset_s) > self.round_trip_s else 0.0


class _Worker:
    """What the master knows about a worker."""

    def __init__(self, index: int) -> None:
        self.index = index
        """Its 0-based number in this run; Locust's own numbers have gaps if workers came and went."""
        self.clock = ClockOffset()
        self.in_flight: Counter[str] = Counter()
        self.exhausted = False
        self.has_files = False
        self.rows = 0
        self.account: LoadAccount | None = None


class MasterRole(Coordinator):
    """Directs workers and writes the one requests.csv from what they send."""

    def __init__(self, environment: Environment, runner: MasterRunner) -> None:
        super().__init__(environment)
        self._runner = runner
        self._workers: dict[str, _Worker] = {}
        self._hash_key = fresh_key()
        self._files = FilesToHandOut(())
        self._files_at = 0.0
        """When a worker last sent a message about files, by the monotonic clock."""
        for name, listener in (
            ("rows", self._rows),
            ("tally", self._tallied),
            ("pong", self._pong),
            ("pulse", self._pulse),
            ("account", self._account),
            ("gave_up", self._gave_up),
            ("file_wanted", self._file_wanted),
            ("files_ready", self._files_ready),
        ):
            runner.register_message(f"tokenswarm_{name}", self.guard(listener))
        gate_worker_registration(runner, self._closed)

    def _closed(self) -> str | None:
        if not self._ended:
            return "a run is in progress; it joins the next one"
        planned = self.plan.workers if self.plan is not None and self.plan.controlled else None
        return (
            f"there are {planned} workers, as many as were asked for"
            if planned is not None and len(self._alive()) >= planned
            else None
        )

    def workers(self) -> int:
        return max(1, len(self._alive()))

    def begin(self) -> None:
        self._workers = {client.id: _Worker(index) for index, client in enumerate(self._alive())}
        for _ in range(_PINGS):
            self._tell("ping", lambda _: {"asked": time.time()})
            gevent.sleep(_PING_INTERVAL_S)
        self._hand_out_files()
        self.announce()

    def _hand_out_files(self) -> None:
        """Send each worker the files that the scenarios name. Raises UserError (LOAD_GENERATOR) if one does not get
        them."""
        plan = present(self.plan)
        self._files = FilesToHandOut(
            [plan.scenario.values(), *(each.scenario.values() for each in plan.classes.values())]
        )
        offers = self._files.offers()
        if not offers:
            return
        self._files_at = time.monotonic()
        self._tell("files", lambda _: {"files": offers})
        while missing := [
            client.id
            for client in self._alive()
            if client.id in self._workers and not self._workers[client.id].has_files
        ]:
            if time.monotonic() - self._files_at > _FILES_STALL_S:
                raise UserError(
                    Exit.LOAD_GENERATOR,
                    f"{len(missing)} of {len(self._workers)} workers did not get the "
                    "files of this run from the master: look at their logs",
                )
            if self.gave_up:
                return
            gevent.sleep(0.02)

    def announce(self) -> None:
        plan, line = present(self.plan), self.timeline

        def message(worker: _Worker) -> dict[str, object]:
            shift = worker.clock.correction_s
            return {
                "manifest": manifest_json(self.manifest or _manifest_of(plan)),
                "folder": str(plan.folder),
                "clock_shift_s": shift,
                "index": worker.index,
                "hash_key": self._hash_key,
                "timeline": [
                    line.start + shift,
                    line.measure_start + shift,
                    line.measure_end + shift,
                    line.stop_by + shift,
                ],
                "level_starts": [start + shift for start in line.level_starts],
                "pace": None if line.pace is None else [line.pace.warmup_s, line.pace.answer_s],
            }

        self._tell("plan", message)

    def _tell(self, name: str, message: Callable[[_Worker], dict[str, object]]) -> None:
        for identity, worker in self._workers.items():
            self._runner.send_message(f"tokenswarm_{name}", message(worker), identity)

    def _alive(self) -> list[WorkerNode]:
        return [client for client in self._runner.clients.all if client.state != "missing"]

    def quiet(self) -> bool:
        return self.in_flight().total() == 0 and time.time() > self.timeline.measure_end + _SETTLE_S

    def end_load(self) -> dict[str, object]:
        self._tell("end", lambda _: {})
        deadline = time.monotonic() + _WORKERS_END_S
        while time.monotonic() < deadline and any(
            client.id in self._workers and self._workers[client.id].account is None for client in self._alive()
        ):
            gevent.sleep(0.05)
        ended = [worker for worker in self._workers.values() if worker.account is not None]
        total = added(worker.account for worker in ended if worker.account is not None)
        return {
            "workers_lost": present(self.plan).workers - len(ended),
            "rows_lost": total.rows - sum(worker.rows for worker in ended),
            **total.facts(),
        }

    def worker_records(self) -> list[WorkerRecord]:
        return [
            WorkerRecord(
                identity,
                worker.rows,
                lost=worker.account is None,
                clock_offset_ms=round(worker.clock.offset_s * 1e3, 3),
                round_trip_ms=round(worker.clock.round_trip_s * 1e3, 3)
                if worker.clock.round_trip_s < float("inf")
                else None,
            )
            for identity, worker in self._workers.items()
        ]

    def in_flight(self) -> Counter[str]:
        alive = {client.id for client in self._alive()}
        return sum((worker.in_flight for identity, worker in self._workers.items() if identity in alive), Counter())

    def exhausted(self) -> bool:
        alive = [self._workers[client.id] for client in self._alive() if client.id in self._workers]
        return bool(alive) and all(worker.exhausted for worker in alive)

    # ---- what workers say

    def _rows(self, msg: Message, **_: object) -> None:
        data = msg.data
        if msg.node_id not in self._workers or not _are_rows(data):
            _log.warning("rows from no worker of this run, or for no table, were ignored")
            return
        try:
            present(self.sink).write(data["table"], data["lines"], data["count"])
        except OSError as error:
            if self.failure is None:
                self.rows_failed(error)
            return
        if data["table"] == REQUESTS_CSV:
            self._workers[msg.node_id].rows += data["count"]

    def _tallied(self, msg: Message, **_: object) -> None:
        if self.live is not None:
            self.live.merge(Delta.unpacked(msg.data))

    def _pong(self, msg: Message, **_: object) -> None:
        self._workers[msg.node_id].clock.record_answer(msg.data["asked"], msg.data["at"], time.time())

    def _pulse(self, msg: Message, **_: object) -> None:
        worker = self._workers[msg.node_id]
        worker.in_flight, worker.exhausted = Counter(msg.data["in_flight"]), msg.data["exhausted"]

    def _file_wanted(self, msg: Message, **_: object) -> None:
        if msg.node_id not in self._workers:
            return
        self._files_at = time.monotonic()
        sha256, offset = msg.data["sha256"], msg.data["offset"]
        self._runner.send_message(
            "tokenswarm_file_slice",
            {"sha256": sha256, "offset": offset, "data": self._files.slice(sha256, offset)},
            msg.node_id,
        )

    def _files_ready(self, msg: Message, **_: object) -> None:
        if msg.node_id in self._workers:
            self._workers[msg.node_id].has_files = True

    def _gave_up(self, msg: Message, **_: object) -> None:
        """A worker cannot do its part: end the run, since it would not be as planned."""
        if not self._ended and msg.node_id in self._workers:
            self.give_up(f"a load-generating process gave up: {msg.data['sentence']}", msg.data["code"])

    def _account(self, msg: Message, **_: object) -> None:
        worker = self._workers[msg.node_id]
        worker.account, worker.in_flight = LoadAccount(**msg.data), Counter()


def _are_rows(data: object) -> bool:
    """Whether a message is valid for a worker's sink: so many whole lines of a known table."""
    return (
        isinstance(data, dict)
        and isinstance(data.get("table"), str)
        and data["table"] in WRITTEN
        and type(data.get("count")) is int
        and isinstance(data.get("lines"), str)
        and data["lines"].endswith("\n")
        and 0 < data["count"] <= data["lines"].count("\n")
    )


class WorkerRole(ProcessRole):
    """Generates load as directed by the master."""

    def __init__(self, environment: Environment, runner: WorkerRunner) -> None:
        super().__init__(environment)
        self._runner = runner
        self._plan: Plan | None = None
        self._clock_shift_s = 0.0
        self._hash_key: bytes | None = None
        self._index = 0
        self._ended = False
        send = runner.send_message
        self._files = FilesToFetch(
            lambda sha256, offset: send("tokenswarm_file_wanted", {"sha256": sha256, "offset": offset}),
            lambda: send("tokenswarm_files_ready", {}),
        )
        for name, listener in (
            ("ping", self._ping),
            ("plan", self._planned),
            ("end", self._end),
            ("files", self._offered),
            ("file_slice", self._file_slice),
        ):
            runner.register_message(f"tokenswarm_{name}", self.guard(listener))

    def give_up(self, sentence: str, code: int) -> None:
        """Also tells the master, since the run would not be as planned without this process."""
        self._runner.send_message("tokenswarm_gave_up", {"sentence": sentence, "code": int(code)})
        super().give_up(sentence, code)

    def start(self) -> None:
        if self._plan is None:
            raise UserError(
                Exit.LOAD_GENERATOR, "the master sent no plan; start it from the same version of tokenswarm"
            )
        runner = self._runner
        grow_descriptor_table()
        outlets = Outlets(
            MasterSink(runner.send_message),
            self._lost,
            lambda seen: runner.send_message("tokenswarm_tally", seen.packed()),
        )
        self.process = LoadProcess(
            self._plan, self._index, self.timeline, outlets, clock_shift_s=self._clock_shift_s, hash_key=self._hash_key
        )
        gevent.spawn(self._beat)
        freeze_gc()

    def _ping(self, msg: Message, **_: object) -> None:
        self._runner.send_message("tokenswarm_pong", {"asked": msg.data["asked"], "at": time.time()})

    def _planned(self, msg: Message, **_: object) -> None:
        data = msg.data
        self._clock_shift_s, self._hash_key, self._index = data["clock_shift_s"], data["hash_key"], data["index"]
        if self._ended:  # the timeline of an earlier run stays as it was
            self.timeline = Timeline(time.time())
        timeline = self.timeline
        timeline.start, timeline.measure_start, timeline.measure_end, timeline.stop_by = data["timeline"]
        timeline.level_starts = data["level_starts"]
        timeline.pace = None if data["pace"] is None else Pace(*data["pace"])
        if self._plan is None or self._plan.run_id != data["manifest"]["run_id"]:
            self._ended, self.process = False, None
            self._files.put_into(data["manifest"])
            self._plan = plan_from(manifest_of(data["manifest"]), Path(data["folder"]), controlled=True)
            choose_classes(self.environment, self._plan.scenario.mix)

    def _offered(self, msg: Message, **_: object) -> None:
        self._files.offered(msg.data["files"])

    def _file_slice(self, msg: Message, **_: object) -> None:
        self._files.receive(msg.data["sha256"], msg.data["offset"], msg.data["data"])

    def _beat(self) -> None:
        while not self._ended:
            process = present(self.process)
            self._runner.send_message(
                "tokenswarm_pulse", {"in_flight": dict(process.in_flight), "exhausted": process.exhausted}
            )
            gevent.sleep(_PULSE_S)

    def _end(self, **_: object) -> None:
        if self._ended:
            return
        self._ended = True
        account = LoadAccount()
        if self.process is not None:  # otherwise the run was stopped before this worker had begun
            self.process.end()
            self.process.close()
            account = self.process.account()
        self._runner.send_message("tokenswarm_account", asdict(account))

    def _lost(self, error: OSError) -> None:
        self.give_up(f"rows cannot be sent to the master: {error}", Exit.LOAD_GENERATOR)


def _manifest_of(plan: Plan) -> Manifest:
    """The parts of a manifest that `plan_from` needs."""
    return Manifest(
        run_id=plan.run_id,
        engine=EngineRecord(base_url=plan.base_url),
        model=plan.model,
        seed=plan.seed,
        salt=plan.salt,
        scenario=ScenarioRecord(values=plan.scenario.values()),
        classes={
            name: ScenarioRecord(values=own.scenario.values()) for name, own in plan.classes.items() if name != ALL
        },
        corpus=CorpusRecord(**plan.corpus.identity()),
        load=LoadRecord(workers=plan.workers),
    )
