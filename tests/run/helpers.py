"""A run without a network: a machine, an engine and a load generator that do as tests say, and keep a log of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.contract.manifest import PreflightRecord
from tokenswarm.engines import Engine
from tokenswarm.run.checked_engine import EngineTools
from tokenswarm.run.life import LoadTools
from tokenswarm.run.run_plan import ThisMachine

QUIET_MACHINE = ThisMachine(runtime_for=lambda *_: "local")
ANSWERS = {
    "models": ["m"],
    "model": "m",
    "stream": True,
    "plain": True,
    "usage": True,
    "sdk_compatible": True,
    "seconds": 0.1,
    "notes": [],
    "first_answer_s": 0.1,
}
MEASURED = [{"name": "warmup", "start": 1.0, "end": 2.0}, {"name": "measure", "start": 2.0, "end": 9.0}]


def external_engine() -> Engine:
    """An endpoint of an unknown engine, which nobody asks anything."""
    return Engine("http://127.0.0.1:1", None)


class FakeEngine(Engine):
    """An engine of this process without a process. `log` holds what was done to it, in order; `looks`: how often it is
    seen alive before it has ended (None: always)."""

    runtime = "local"

    def __init__(self, log: list[str], looks: int | None = None, files: Path | None = None) -> None:
        super().__init__("http://127.0.0.1:1", None)
        self.model, self.version = "m", "1.0"
        self.log, self._looks, self._files = log, looks, files

    def is_alive(self) -> bool:
        if self._looks is not None:
            self._looks -= 1
        return self._looks is None or self._looks >= 0

    def log_tail(self, lines: int = 20) -> list[str]:
        return ["out of memory"]

    def stop(self) -> None:
        self.log.append("engine stopped")

    def kill(self) -> None:
        self.log.append("engine killed")

    def keep(self) -> bool:
        self.log.append("engine kept")
        return True


class FakeLocust:
    """A load generator that reports these events and then ends. An exception among them is raised."""

    def __init__(self, log: list[str], events: list[Any]) -> None:
        self.log, self._events = log, events
        self.asked_to_stop = False
        self.messages: list[tuple[str, dict[str, object]]] = []
        self.dead: UserError | None = None
        self.ended: list[str] = []

    def events(self) -> Iterator[dict[str, Any] | None]:
        for event in self._events:
            if isinstance(event, BaseException):
                raise event
            yield event

    def ask_to_stop(self) -> None:
        self.asked_to_stop = True
        self.log.append("locust asked to stop")

    def tell(self, what: str, **facts: object) -> None:
        if what != "engine":  # samples come when they come
            self.messages.append((what, facts))

    def failure(self) -> UserError:
        return UserError(Exit.LOAD_GENERATOR, "the load generator ended before the run did. It said:\n  | it gave up")

    def dead_worker(self) -> UserError | None:
        return self.dead

    def ended_workers(self, then: str, badly: bool = False) -> list[str]:
        ended, self.ended = self.ended, []
        return [f"{who}; {then}" for who in ended]

    def kill(self) -> None:
        self.log.append("locust killed")

    def end(self) -> None:
        self.log.append("locust ended")

    def kill_at_once(self) -> None:
        self.log.append("locust killed")


def phase(name: str) -> dict[str, Any]:
    """The event that a phase begins."""
    begun = {"warmup": (None, None), "measure": (2.0, None), "drain": (2.0, 9.0)}[name]
    return {
        "event": "phase",
        "name": name,
        "start": 1.0,
        "measure_start": begun[0],
        "measure_end": begun[1],
        "warmup": {"steady": True},
    }


def done(stopped: bool = False, **counts: int) -> dict[str, Any]:
    """The event that the run is over; `stopped`: before its time."""
    return {"event": "done", "end": {"counts": {"sent": 5, **counts}, "phases": MEASURED}, "stopped": stopped}


def tools(
    log: list[str],
    events: list[Any],
    engine: FakeEngine | None = None,
    up: BaseException | None = None,
    preflight: BaseException | None = None,
    locust: BaseException | None = None,
) -> LoadTools:
    """What a run starts: the fakes, or one of these exceptions in the stage of that name."""

    def bring_up(_plan: object, folder: Path, _console: object) -> FakeEngine:
        (folder / "engine.log").write_text("starting\n")
        if up is not None:
            raise up
        return engine or FakeEngine(log)

    def check(*_: object) -> PreflightRecord:
        if preflight is not None:
            raise preflight
        return PreflightRecord(**ANSWERS)

    def start(*_: object) -> FakeLocust:
        if locust is not None:
            raise locust
        log.append("locust started")
        return FakeLocust(log, events)

    return LoadTools(EngineTools(bring_up, check), start)  # type: ignore[arg-type]
