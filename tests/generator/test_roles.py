"""The process that coordinates a run."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from locust.event import Events

from tests.analysis.make_run import manifest
from tokenswarm.base.errors import UserError
from tokenswarm.contract.manifest import read_manifest
from tokenswarm.contract.tables import MANIFEST_JSON
from tokenswarm.engines import cache_reset
from tokenswarm.generator import roles


class Reporter:
    """Keeps what is reported to the command line."""

    connected = False

    def __init__(self) -> None:
        self.events: list[str] = []

    def on(self, what: str, handler: Any) -> None:
        """Nobody tells anything."""

    def say(self, event: str, **facts: object) -> None:
        self.events.append(event)


class StoppedWhileItStarts(roles.LocalRole):
    """Locust's web UI kills the greenlet that starts a run when somebody presses Stop."""

    def begin(self) -> None:
        raise gevent.GreenletExit


@pytest.fixture
def starting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoppedWhileItStarts:
    """A role that has a run in this folder to start."""
    folder = tmp_path
    (folder / MANIFEST_JSON).write_text(json.dumps(manifest()))
    monkeypatch.setattr(roles, "Reporter", Reporter)
    monkeypatch.setattr(roles, "complete_at_exit", lambda environment: None)
    monkeypatch.setattr(roles, "keep_flat", lambda environment: None)
    monkeypatch.setattr(roles, "prepared_plan", lambda: None)
    monkeypatch.setattr(roles, "standalone_manifest", lambda environment, workers: (read_manifest(folder), folder))
    load = SimpleNamespace(rotate_s=3600.0, arrivals="poisson")
    scenario = SimpleNamespace(mix=None, load=load, slo={}, open_loop=False)
    monkeypatch.setattr(
        roles,
        "plan_from",
        lambda *_, **__: SimpleNamespace(folder=folder, scenario=scenario, controlled=False, bounded=lambda _: False),
    )
    return StoppedWhileItStarts(SimpleNamespace(events=Events(), web_ui=object(), runner=None))


def test_a_run_that_is_stopped_while_it_starts_has_ended(starting: StoppedWhileItStarts, tmp_path: Path) -> None:
    with pytest.raises(gevent.GreenletExit):
        starting.start()
    assert not starting.going_on and starting.live is None
    assert starting.reporter.events == ["begun", "dropped"]
    assert read_manifest(tmp_path).status == "interrupted"


def test_nothing_is_sent_before_the_cache_is_emptied_however_long_that_takes(
    starting: StoppedWhileItStarts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roles, "_ENGINE_READY_S", 0.01)
    monkeypatch.setattr(Reporter, "connected", True)  # and never says that it is ready
    with pytest.raises(UserError, match="cache was not emptied"):
        starting.start()
    assert not starting.going_on and read_manifest(tmp_path).status == "interrupted"


def test_the_wait_for_a_cold_cache_is_longer_than_emptying_it_may_take() -> None:
    assert roles._ENGINE_READY_S > 2 * cache_reset.WAIT_S


def test_phases_that_are_over_do_not_end_a_locust_that_ended_the_test_itself(starting: StoppedWhileItStarts) -> None:
    """Its web UI does, and begins another one."""
    quits: list[str] = []
    starting.environment.runner = SimpleNamespace(quit=lambda: quits.append("quit"))
    starting.environment.web_ui = None
    starting._ended = True
    starting._finish(True)
    assert quits == []
