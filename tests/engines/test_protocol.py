"""What every engine offers, whoever started it; reading an attribute fetches nothing."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from tests.engines.helpers import fake_description
from tokenswarm.engines.adopt import adopt
from tokenswarm.engines.docker.docker_engine import DockerEngine
from tokenswarm.engines.engine_protocol import Engine
from tokenswarm.engines.kept import Running
from tokenswarm.engines.local.local_engine import LocalEngine, start_local
from tokenswarm.engines.management_http import HttpReply, Unreachable
from tokenswarm.engines.running import TakenEngine
from tokenswarm.engines.start_request import StartRequest

CLASSES = (Engine, TakenEngine, LocalEngine, DockerEngine)
METHODS = [name for name, _ in inspect.getmembers(Engine, inspect.isfunction) if not name.startswith("_")]


class Silent(Engine):
    """An endpoint that counts what it is asked and never answers."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1", fake_description())
        self.requests = 0

    def request(self, *_: object, **__: object) -> HttpReply:
        self.requests += 1
        raise Unreachable("connection refused")


@pytest.mark.parametrize("kind", CLASSES)
def test_every_engine_answers_the_same_questions_with_the_same_parameters(kind: type[Engine]) -> None:
    assert {"is_alive", "keep", "kill", "log_tail", "release", "samplers", "stop"} <= set(METHODS)
    for name in METHODS:
        assert inspect.signature(getattr(kind, name)) == inspect.signature(getattr(Engine, name)), name


@pytest.mark.parametrize("kind", [LocalEngine, DockerEngine])
def test_an_engine_that_is_started_here_leaves_no_part_of_its_life_to_the_base(kind: type[Engine]) -> None:
    for name in ("is_alive", "keep", "kill", "log_tail", "release", "samplers", "stop"):
        assert getattr(kind, name) is not getattr(Engine, name), name


def test_somebody_elses_engine_is_left_alone() -> None:
    engine = Silent()
    engine.stop()
    engine.kill()
    engine.release()
    assert (engine.keep(), engine.is_alive(), engine.log_tail(), engine.samplers()) == (False, True, [], [])
    assert (engine.model, engine.runtime, engine.requests) == (None, "external", 0)


def test_reading_version_and_configuration_asks_nothing() -> None:
    engine = Silent()
    assert (engine.version, engine.effective) == (None, {})
    assert engine.record().version is None
    assert engine.requests == 0
    engine.read_configuration()
    assert engine.requests > 0 and (engine.version, engine.effective) == (None, {})


def test_configuration_is_read_when_the_engine_is_ready_and_when_it_is_taken_over(tmp_path: Path) -> None:
    engine = start_local(StartRequest(description=fake_description(), log_path=tmp_path / "log", model="tiny"))
    try:
        assert (engine.version, engine.effective, engine.model) == ("1.2.3", {"context_length": 512}, "tiny")
        adopted = adopt(engine.base_url)
        running = Running("fake", "local", engine.base_url, "tiny", 0.0, str(engine.pid))
        adopted.version, adopted.effective = "1.2.3", {"context_length": 512}  # no installed description knows it
        taken = TakenEngine(running, adopted)
        assert (taken.version, taken.effective, taken.model) == ("1.2.3", {"context_length": 512}, "tiny")
        assert not taken.is_alive(), "another process has this id: it did not begin then"
    finally:
        engine.stop()
    assert engine.version == "1.2.3", "what was read is kept"


def test_a_released_engine_is_not_killed_by_a_second_interrupt(tmp_path: Path) -> None:
    engine = start_local(StartRequest(description=fake_description(), log_path=tmp_path / "log"))
    try:
        engine.release()
        engine.kill()
        assert engine.is_alive()
    finally:
        engine._released = False
        engine.kill()
