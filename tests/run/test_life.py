"""What a run leaves behind, and what it cleans up, whichever stage fails."""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.run.helpers import ANSWERS, QUIET_MACHINE, FakeEngine, FakeLocust, done, phase, tools
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.signals import Interrupts
from tokenswarm.contract.manifest import PreflightRecord
from tokenswarm.run.checked_engine import CheckedEngine
from tokenswarm.run.life import LoadRun, LoadTools
from tokenswarm.run.options import LoadOptions
from tokenswarm.run.run_plan import resolve
from tokenswarm.run.web_run import WebRun

WHOLE = [phase("warmup"), phase("measure"), None, phase("drain"), done()]


def plan(results: Path, **typed: Any) -> Any:
    return resolve(LoadOptions(results=results, **typed), QUIET_MACHINE)


def live(results: Path, with_tools: LoadTools, stages: str = "prepare measure finish", **typed: Any) -> tuple[Any, str]:
    """Live a run through these stages; its last result and what was printed."""
    console = Console(file=io.StringIO(), width=200)
    result = None
    with Interrupts() as interrupts, LoadRun(plan(results, **typed), console, interrupts, tools=with_tools) as run:
        for stage in stages.split():
            result = getattr(run, stage)()
    return result, console.file.getvalue()


def manifest(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run.json").read_text())


def telemetry_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "engine-telemetry"]


def test_a_whole_run_is_told_of_in_run_json_and_nothing_of_it_goes_on(tmp_path: Path) -> None:
    log: list[str] = []
    outcome, printed = live(tmp_path, tools(log, WHOLE), gpu_hourly_cost=2.0)
    assert (outcome.status, outcome.error) == ("complete", None)
    assert log == ["locust started", "locust ended", "engine stopped"]
    written = manifest(outcome.folder)
    assert (written["status"], written["model"], written["preflight"]) == ("complete", "m", ANSWERS)
    assert written["counts"] == {"sent": 5} and written["phases"][1]["name"] == "measure"
    assert written["cache_reset"]["done"] is False and "was not emptied" in written["notes"][-1]
    assert written["cost"] == {"gpu_hour_usd": 2.0, "gpus": 1}
    assert written["telemetry"]["failed"] == 0 and "server_latency" in written and written["ended_at"]
    assert "note: The prefix cache was not emptied" in printed and "openai SDK" not in printed
    assert telemetry_threads() == []


def test_a_run_that_somebody_else_stopped_is_not_complete(tmp_path: Path) -> None:
    outcome, _ = live(tmp_path, tools([], [phase("warmup"), phase("measure"), done(stopped=True)]))
    assert (outcome.status, outcome.error.code) == ("failed", Exit.LOAD_GENERATOR)
    ended = manifest(outcome.folder)["ended_early"]
    assert (ended["rule"], ended["code"]) == ("stopped", Exit.LOAD_GENERATOR)
    assert (
        "was stopped by something other than this command" in ended["sentence"]
        and "measured for 7.0 s of 30 s" in ended["sentence"]
    )


def test_a_worker_that_dies_in_the_middle_of_a_run_is_named_at_once_and_in_run_json(tmp_path: Path) -> None:
    with_tools = tools([], [phase("warmup"), phase("measure"), None, phase("drain"), done(workers_lost=1)])

    def start(*of: Any) -> Any:
        locust = with_tools.locust(*of)
        locust.ended = ["load-generating process 2 of 2 ended by signal 9"]
        return locust

    outcome, printed = live(tmp_path, LoadTools(with_tools.engine, start))
    assert "load-generating process 2 of 2 ended by signal 9; the run continues" in printed
    assert "Load-generating process 2 of 2 ended by signal 9" in " ".join(manifest(outcome.folder)["notes"])


def test_an_engine_that_is_to_be_kept_is_kept_only_after_a_complete_run(tmp_path: Path) -> None:
    log: list[str] = []
    _, printed = live(tmp_path, tools(log, WHOLE), keep=True)
    assert log == ["locust started", "locust ended", "engine kept", "engine stopped"]
    assert "is left running at http://127.0.0.1:1" in printed
    log.clear()
    outcome, _ = live(tmp_path, tools(log, [phase("warmup")]), keep=True)
    assert outcome.status == "failed" and "engine kept" not in log


@pytest.mark.parametrize(("code", "kept"), [(Exit.ENGINE, ["engine.log"]), (Exit.PORT, None)])
def test_an_engine_that_does_not_come_up_leaves_a_folder_only_if_its_log_says_why(
    tmp_path: Path, code: Exit, kept: list[str] | None
) -> None:
    log: list[str] = []
    with pytest.raises(UserError, match="no GPU"):
        live(tmp_path, tools(log, WHOLE, up=UserError(code, "no GPU")))
    assert log == []
    assert [[path.name for path in folder.iterdir()] for folder in tmp_path.iterdir()] == ([kept] if kept else [])


@pytest.mark.parametrize("error", [UserError(Exit.MODEL, "no such model"), KeyboardInterrupt()])
def test_a_run_that_cannot_be_prepared_stops_its_engine_and_leaves_no_folder(
    tmp_path: Path, error: BaseException
) -> None:
    log: list[str] = []
    with pytest.raises(type(error)):
        live(tmp_path, tools(log, WHOLE, preflight=error))
    assert log == ["engine stopped"]
    assert list(tmp_path.iterdir()) == []


def test_a_load_generator_that_cannot_be_started_stops_the_engine(tmp_path: Path) -> None:
    log: list[str] = []
    with pytest.raises(UserError, match="no free port"):
        live(tmp_path, tools(log, WHOLE, locust=UserError(Exit.PORT, "no free port")))
    assert log == ["engine stopped"]
    assert telemetry_threads() == []


def test_a_run_that_nobody_can_follow_any_more_is_ended(tmp_path: Path) -> None:
    log: list[str] = []
    with pytest.raises(BrokenPipeError):
        live(tmp_path, tools(log, [phase("warmup"), BrokenPipeError()]))
    assert log == ["locust started", "locust asked to stop", "locust ended", "engine stopped"]
    assert telemetry_threads() == []


@pytest.mark.parametrize(
    ("events", "looks", "rule", "words", "last_words"),
    [
        ([phase("warmup")], None, "load_generator", "the load generator ended before the run did", "it gave up"),
        (
            [{"event": "fatal", "code": int(Exit.RESULTS), "sentence": "no users"}],
            None,
            "load_generator",
            "no users",
            "",
        ),
        ([phase("warmup"), None, None], 1, "engine_gone", "ended during the run", "out of memory"),
    ],
)
def test_a_run_that_ends_early_says_why_and_keeps_its_folder(
    tmp_path: Path, events: list[Any], looks: int | None, rule: str, words: str, last_words: str
) -> None:
    log: list[str] = []
    outcome, _ = live(tmp_path, tools(log, events, FakeEngine(log, looks)))
    assert outcome.status == "failed"
    assert words in str(outcome.error) and last_words in str(outcome.error)
    written = manifest(outcome.folder)
    assert (written["status"], written["ended_early"]["rule"]) == ("failed", rule)
    assert ("locust asked to stop" in log) == (rule == "engine_gone")
    assert log[-2:] == ["locust ended", "engine stopped"]


def test_workers_that_were_lost_make_the_run_invalid(tmp_path: Path) -> None:
    outcome, _ = live(tmp_path, tools([], [phase("warmup"), done(workers_lost=1)]), workers=2)
    validity = manifest(outcome.folder)["validity"]
    assert validity["verdict"] == "INVALID"
    assert validity["reasons"][0]["sentence"].startswith("1 of 2 load-generating processes were lost")


def test_a_results_folder_that_vanishes_costs_the_run_but_not_the_engine_s_end(tmp_path: Path) -> None:
    log: list[str] = []
    with (
        Interrupts() as interrupts,
        pytest.raises(UserError, match=r"run\.json cannot be written") as caught,
        LoadRun(plan(tmp_path), Console(file=io.StringIO()), interrupts, tools=tools(log, WHOLE)) as run,
    ):
        run.prepare()
        run.measure()
        (run.folder / "run.json").unlink()
        for path in run.folder.iterdir():
            path.unlink()
        run.folder.rmdir()
        run.finish()
    assert caught.value.code is Exit.RESULTS
    assert log[-1] == "engine stopped"


class Interrupting(FakeLocust):
    """Gets a signal in the middle of the run, and ends it when asked to."""

    def events(self) -> Any:
        yield phase("warmup")
        yield phase("measure")
        os.kill(os.getpid(), signal.SIGINT)
        yield None
        assert "locust asked to stop" in self.log
        yield done()


def test_the_first_interrupt_ends_the_run_in_good_order(tmp_path: Path) -> None:
    log: list[str] = []
    fakes = tools(log, [])
    outcome, _ = live(tmp_path, LoadTools(fakes.engine, lambda *_: Interrupting(log, [])), keep=True)
    assert outcome.status == "interrupted" and outcome.interrupted_at is not None
    assert manifest(outcome.folder)["ended_early"]["rule"] == "interrupted"
    assert log == ["locust asked to stop", "locust ended", "engine stopped"]


class InterruptedWhileItWaits(FakeLocust):
    """An interrupt while the leader still waits for workers of other machines, in which it hears nothing."""

    def events(self) -> Any:
        yield None
        os.kill(os.getpid(), signal.SIGTERM)
        yield None
        assert "locust asked to stop" in self.log


def test_an_interrupt_before_the_load_begins_is_no_failure_of_the_load_generator(tmp_path: Path) -> None:
    log: list[str] = []
    outcome, _ = live(tmp_path, LoadTools(tools(log, []).engine, lambda *_: InterruptedWhileItWaits(log, [])))
    assert (outcome.status, outcome.error) == ("interrupted", None)
    assert manifest(outcome.folder)["ended_early"]["sentence"] == "the run was interrupted by SIGTERM"


@pytest.mark.parametrize(("compatible", "told"), [(None, False), (True, False), (False, True)])
def test_the_sdk_is_spoken_of_only_where_it_was_tried_and_does_not_get_along(
    compatible: bool | None, told: bool, tmp_path: Path
) -> None:
    asked = PreflightRecord(**ANSWERS | {"sdk_compatible": compatible, "sdk_notes": ["no [DONE]"]})
    screen = io.StringIO()
    CheckedEngine(plan(tmp_path), FakeEngine([]), asked, (), None).announce(Console(file=screen, width=200))  # type: ignore[arg-type]
    assert ("base_url alone is not enough: no [DONE]" in screen.getvalue()) is told


# ---- the same in the web UI, where Locust owns the folder and both outlive the run


def web_run(folder: Path, log: list[str], events: list[Any]) -> tuple[WebRun, FakeLocust, Any]:
    """A run in a folder that Locust has made."""
    typed = plan(folder)
    values = typed.scenario.values()
    (folder / "run.json").write_text(
        json.dumps({"scenario": {"values": values}, "salt": "a1", "notes": ["first"], "status": "running"})
    )
    locust = FakeLocust(log, events)
    checked = CheckedEngine(typed, FakeEngine(log), PreflightRecord(**ANSWERS), ("first",), None)
    return WebRun(checked, folder, locust), locust, iter(locust.events())  # type: ignore[arg-type]


def test_a_run_of_the_ui_waits_for_a_cold_cache_and_is_completed_when_it_is_done(tmp_path: Path) -> None:
    log: list[str] = []
    run, locust, events = web_run(tmp_path, log, [*WHOLE, "the next run's"])
    run.prepare()
    assert locust.messages == [("ready", {})]
    others: list[Any] = []
    assert run.measure(events, others.append) is True
    assert others == [None], "phases and the end are the run's own"
    assert next(events) == "the next run's", "what comes after the end is left to others"
    completed = manifest(tmp_path)
    completed["status"] = "complete"  # Locust owns the file until the run is done
    (tmp_path / "run.json").write_text(json.dumps(completed))
    run.finish()
    written = manifest(tmp_path)
    assert written["status"] == "complete" and written["cache_reset"]["done"] is False
    assert written["notes"][0] == "first" and "was not emptied" in written["notes"][1]
    assert {"telemetry", "server_latency"} <= set(written)
    assert log == [] and telemetry_threads() == []


@pytest.mark.parametrize("events", [[None, {"event": "dropped"}], [phase("warmup")]])
def test_a_run_of_the_ui_that_came_to_nothing_leaves_nobody_watching(tmp_path: Path, events: list[Any]) -> None:
    run, _, reported = web_run(tmp_path, [], events)
    run.prepare()
    assert run.measure(reported, lambda event: None) is False
    assert telemetry_threads() == []


@pytest.mark.parametrize(("hard", "noted"), [(50, True), (4096, False)])
def test_too_few_open_files_for_the_users_are_told_before_the_load(
    hard: int, noted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (hard, hard))
    outcome, printed = live(tmp_path, tools([], WHOLE), overrides={"load.users": "60"})
    printed = " ".join(printed.split())
    assert ("limit on open files (ulimit -n) is 50 too low for 60 connections" in printed) == noted
    assert any("ulimit -n" in note for note in manifest(outcome.folder)["notes"]) == noted
