"""The process that directs a run."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from locust.event import Events

from tests.analysis.make_run import manifest
from tokenswarm.contract.manifest import read_manifest
from tokenswarm.contract.tables import MANIFEST_JSON
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


def test_a_run_that_is_stopped_while_it_starts_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path
    (folder / MANIFEST_JSON).write_text(json.dumps(manifest()))
    monkeypatch.setattr(roles, "Reporter", Reporter)
    monkeypatch.setattr(roles, "complete_at_exit", lambda environment: None)
    monkeypatch.setattr(roles, "keep_flat", lambda environment: None)
    monkeypatch.setattr(roles, "prepared_plan", lambda: None)
    monkeypatch.setattr(roles, "standalone_manifest", lambda environment, workers: (read_manifest(folder), folder))
    scenario = SimpleNamespace(load=SimpleNamespace(rotate_s=3600.0), slo={}, open_loop=False)
    monkeypatch.setattr(roles, "plan_from", lambda *_, **__: SimpleNamespace(
        folder=folder, scenario=scenario, controlled=False))
    role = StoppedWhileItStarts(SimpleNamespace(events=Events(), web_ui=object(), runner=None))
    with pytest.raises(gevent.GreenletExit):
        role.start()
    assert not role.going_on and role.live is None
    assert role.reporter.events == ["begun", "dropped"]
    assert read_manifest(folder).status == "interrupted"
