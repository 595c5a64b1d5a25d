"""The levels of a run, as recorded by its coordinator."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from locust.event import Events

from tests.analysis.make_run import manifest
from tests.waiting import until
from tokenswarm.contract.manifest import read_manifest
from tokenswarm.contract.phases import Timeline
from tokenswarm.contract.tables import MANIFEST_JSON
from tokenswarm.generator import roles
from tokenswarm.generator.level_log import LevelLog, follow_user_targets
from tokenswarm.scenario.load_settings import Load


def measuring(start: float = 100.0, seconds: float = 30.0) -> Timeline:
    timeline = Timeline(start - 10.0)
    timeline.set_window(start, seconds, 5.0)
    return timeline


def test_before_the_measured_phase_is_known_there_is_no_level() -> None:
    log = LevelLog()
    log.set_target(1.0, 8)
    assert log.levels(Load(users=8), Timeline(0.0)) == []


def test_a_run_that_ended_in_its_warm_up_has_no_level() -> None:
    timeline = measuring()
    timeline.end_now(95.0)
    assert LevelLog().levels(Load(users=8), timeline) == []


def test_steps_of_users_begin_when_locust_was_told_of_them() -> None:
    log = LevelLog()
    for moment, users in ((91.0, 2), (110.7, 4), (121.2, 8)):
        log.set_target(moment, users)
    levels = log.levels(Load(users_steps=(2, 4, 8), duration_s=30.0), measuring())
    assert [(level.start, level.users, level.began) for level in levels] == [
        (100.0, 2, "start"),
        (110.7, 4, "step"),
        (121.2, 8, "step"),
    ]


def test_a_ramp_and_an_open_loop_go_by_plan_whatever_users_were_asked_for() -> None:
    log = LevelLog()
    for moment in range(100, 130):
        log.set_target(float(moment), moment)
    ramp = log.levels(Load(users=1, users_end=30, duration_s=30.0), measuring())
    assert [level.began for level in ramp] == ["ramp"] * 3
    rates = log.levels(Load(rate_steps=(1.0, 2.0), duration_s=30.0), measuring())
    assert [(level.start, level.rate) for level in rates] == [(100.0, 1.0), (115.0, 2.0)]


def test_the_next_run_begins_with_the_users_asked_for_last() -> None:
    log = LevelLog()
    for moment, users in ((1.0, 4), (2.0, 6)):
        log.set_target(moment, users)
    log.new_run()
    assert [level.users for level in log.levels(Load(users=6), measuring())] == [6]


def test_a_runner_tells_the_users_that_it_is_asked_for_before_it_starts_them() -> None:
    happened: list[object] = []
    runner = SimpleNamespace(
        start=lambda user_count, spawn_rate, wait=False, user_classes=None: happened.append((user_count, spawn_rate))
    )
    follow_user_targets(runner, happened.append)
    runner.start(4, 2.0)
    runner.start(user_count=6, spawn_rate=3.0, wait=True)
    assert happened == [4, (4, 2.0), 6, (6, 3.0)]


class Reporter:
    """Keeps what is reported to the command line."""

    connected = False

    def __init__(self) -> None:
        self.levels: list[list[dict[str, Any]]] = []

    def on(self, what: str, handler: Any) -> None:
        """Nobody tells anything."""

    def say(self, event: str, **facts: Any) -> None:
        if event == "levels":
            self.levels.append(facts["levels"])


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> roles.Coordinator:
    """A coordinator in the measured phase of a run that somebody began in the web UI with 32 users."""
    (tmp_path / MANIFEST_JSON).write_text(json.dumps(manifest()))
    for name in ("complete_at_exit", "keep_flat"):
        monkeypatch.setattr(roles, name, lambda environment: None)
    monkeypatch.setattr(roles, "Reporter", Reporter)
    monkeypatch.setattr(roles, "prepared_plan", lambda: None)
    runner = SimpleNamespace(start=lambda user_count, spawn_rate, wait=False, user_classes=None: None)
    role = roles.LocalRole(SimpleNamespace(events=Events(), web_ui=object(), runner=runner))
    role.plan = SimpleNamespace(folder=tmp_path, scenario=SimpleNamespace(load=Load(users=32)))
    role.manifest = read_manifest(tmp_path)
    runner.start(32, 8.0)
    role._ended = False
    now = time.time()
    role.timeline = measuring(now + 1e-3, 3600.0)
    role._timeline_changed()
    until(lambda: time.time() >= role.timeline.measure_start)
    return role


def test_users_changed_by_hand_begin_a_level_that_run_json_and_the_workers_know(measured: roles.Coordinator) -> None:
    announced: list[list[float]] = []
    measured.announce = lambda: announced.append(list(measured.timeline.level_starts))
    measured.environment.runner.start(48, 8.0)
    measured.environment.runner.start(user_count=8, spawn_rate=8.0)
    recorded = read_manifest(measured.plan.folder).levels
    assert [(level.users, level.began) for level in recorded] == [(32, "start"), (48, "changed"), (8, "changed")]
    assert announced[-1] == [level.start for level in recorded[1:]]
    assert [level.users for level in measured.reporter.levels[-1]] == [32, 48, 8]
    assert measured.timeline.level_of("measure", time.time()) == 3


def test_users_changed_when_no_run_is_on_change_nothing(measured: roles.Coordinator) -> None:
    measured._ended = True
    measured.environment.runner.start(48, 8.0)
    assert [level.users for level in read_manifest(measured.plan.folder).levels] == [32]
