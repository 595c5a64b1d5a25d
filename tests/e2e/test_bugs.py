"""A bug of ours, in every process that a run has: one sentence, a log with the traceback, an exit code of its own."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tokenswarm.base.errors import Exit

from .support import CLI, Finished, load, simulator, started

pytestmark = pytest.mark.slow

HEAD = "from locust import task\nfrom tokenswarm.users import LLMUser\n"
USER = """
class Reader(LLMUser):
    scenario = "rag"

    @task
    def read(self):
        for prompt in self.next_session():
            self.ask(prompt)
"""
BROKEN = 'broken = eval("lambda *_, **__: 1 / 0", {"__name__": "tokenswarm.broken"})\n'
"""A function that looks like one of the package's own."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A simulator that has nothing wrong with it."""
    with simulator(tmp_path_factory.mktemp("engine"), "--time-scale", "10") as url:
        yield url


def scenario_with(folder: Path, code: str) -> str:
    """A scenario whose locustfile holds this code before its user class."""
    (folder / "mine.py").write_text(HEAD + code + USER)
    (folder / "mine.toml").write_text('locustfile = "mine.py"\nworkload = "rag"\n[load]\nusers = 2\n')
    return str(folder / "mine.toml")


def run(engine: str, scenario: str, results: Path, *arguments: str, **extra: str) -> Finished:
    command = load(results, "--engine", "external", "--host", engine, "--scenario", scenario, *arguments)
    with started(command, results, **extra) as process:
        return process.finish()


def check_bug(finished: Finished, words: str, log_in: Path) -> None:
    """One sentence that holds the words and names a log of that folder, which has the traceback."""
    assert finished.code == Exit.INTERNAL, (finished.code, finished.out, finished.err)
    assert "Traceback" not in finished.out + finished.err
    [sentence] = [line for line in finished.err.splitlines() if "this is a bug in tokenswarm" in line]
    assert words in sentence
    log = Path(re.search(r"please report it with (\S+), which", sentence)[1])
    assert log.is_relative_to(log_in) and log.read_text().startswith("Traceback")
    assert finished.left == []


@pytest.mark.parametrize(
    "place",
    [
        "tokenswarm.generator.roles.LocalRole.begin",  # a listener of Locust's
        "tokenswarm.generator.phase_controller.PhaseController._warm_up",  # a greenlet
        "tokenswarm.generator.load_process.LoadProcess.next_session",  # what a user's task calls
        "tokenswarm.generator.load_process.LoadProcess.end",  # the end of a run
    ],
)
def test_a_bug_in_the_process_that_loads_ends_the_run(place: str, engine: str, tmp_path: Path, results: Path) -> None:
    module, cls, method = place.rsplit(".", 2)
    code = f"{BROKEN}\nimport {module} as module\nmodule.{cls}.{method} = broken\n"
    finished = run(engine, scenario_with(tmp_path, code), results)
    check_bug(finished, "ZeroDivisionError", finished.path)
    assert finished.manifest["status"] == "failed" and finished.manifest["ended_early"]["code"] == Exit.INTERNAL


def test_a_bug_in_a_worker_ends_the_run_and_is_told_by_the_master(engine: str, tmp_path: Path, results: Path) -> None:
    code = f"""{BROKEN}
import sys
if "--worker" in sys.argv:
    from tokenswarm.generator.distributed import WorkerRole
    WorkerRole._planned = broken
"""
    finished = run(
        engine, scenario_with(tmp_path, code), results, "--workers", "2", XDG_STATE_HOME=str(tmp_path / "state")
    )
    check_bug(finished, "a load-generating process gave up", tmp_path / "state")


def test_a_role_that_cannot_be_made_ends_locust_at_once(engine: str, tmp_path: Path, results: Path) -> None:
    code = f"{BROKEN}\nimport tokenswarm.generator.roles as roles\nroles.Reporter = broken\n"
    finished = run(engine, scenario_with(tmp_path, code), results, XDG_STATE_HOME=str(tmp_path / "state"))
    check_bug(finished, "ZeroDivisionError", tmp_path / "state")


def broken_library(folder: Path, name: str) -> str:
    """PYTHONPATH with a library that cannot be imported."""
    folder = folder / "site-packages"
    folder.mkdir()
    (folder / f"{name}.py").write_text("raise RuntimeError('this library is broken')\n")
    return str(folder)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_import_that_fails_in_locust_is_a_bug_too(workers: str, engine: str, tmp_path: Path, results: Path) -> None:
    finished = run(
        engine,
        "rag",
        results,
        "--workers",
        workers,
        XDG_STATE_HOME=str(tmp_path / "state"),
        PYTHONPATH=broken_library(tmp_path, "ddsketch"),
    )
    check_bug(finished, "this library is broken", tmp_path / "state")


def test_an_import_that_fails_under_plain_locust_is_a_bug_too(engine: str, tmp_path: Path, results: Path) -> None:
    command = [sys.executable, "-m", "locust", "-f", "locustfiles/rag.py", "--headless", "--host", engine]
    with started(
        command, results, XDG_STATE_HOME=str(tmp_path / "state"), PYTHONPATH=broken_library(tmp_path, "ddsketch")
    ) as process:
        check_bug(process.finish(), "this library is broken", tmp_path / "state")


def test_a_bug_under_plain_locust_has_the_exit_code_too(engine: str, tmp_path: Path, results: Path) -> None:
    code = f"{BROKEN}\nimport tokenswarm.generator.phase_controller as m\nm.PhaseController._warm_up = broken\n"
    scenario_with(tmp_path, code)
    command = [
        sys.executable,
        "-m",
        "locust",
        "-f",
        str(tmp_path / "mine.py"),
        "--headless",
        "--host",
        engine,
        "-t",
        "60s",
    ]
    with started(command, results, RESULTS=str(results)) as process:
        finished = process.finish()
    check_bug(finished, "ZeroDivisionError", results)
    assert finished.manifest["status"] == "failed"


def test_an_import_that_fails_while_the_commands_are_loaded_is_a_bug_too(tmp_path: Path, results: Path) -> None:
    with started(
        [*CLI, "scenarios"],
        results,
        XDG_STATE_HOME=str(tmp_path / "state"),
        PYTHONPATH=broken_library(tmp_path, "rich"),
    ) as process:
        check_bug(process.finish(), "this library is broken", tmp_path / "state")


def test_an_error_in_a_locustfile_is_told_without_its_traceback(engine: str, tmp_path: Path, results: Path) -> None:
    finished = run(engine, scenario_with(tmp_path, "surprise = undefined_name\n"), results)
    assert finished.code == Exit.LOAD_GENERATOR
    assert "NameError: name 'undefined_name' is not defined" in finished.err
    assert "Traceback" not in finished.err and str(finished.path / "locust.log") in finished.err


def test_a_task_that_only_raises_is_no_bug_of_ours_and_no_success(engine: str, tmp_path: Path, results: Path) -> None:
    scenario = scenario_with(tmp_path, "")
    text = (tmp_path / "mine.py").read_text()
    (tmp_path / "mine.py").write_text(
        text.replace("        for prompt", "        raise KeyError('no such ticket')\n        for prompt")
    )
    finished = run(engine, scenario, results)
    assert finished.code not in (Exit.PASSED, Exit.INTERNAL), finished.err
    assert finished.manifest["counts"]["user_errors"]["KeyError: 'no such ticket'"] > 0
    assert any("A task of the locustfile raised KeyError" in note for note in finished.manifest["notes"])
    assert finished.summary["counts"]["measured"]["failed"] == 0


def test_a_worker_that_dies_before_the_run_is_told_at_once(engine: str, tmp_path: Path, results: Path) -> None:
    code = "import os, sys\nif '--worker' in sys.argv:\n    os._exit(9)\n"
    finished = run(engine, scenario_with(tmp_path, code), results, "--workers", "2")
    assert finished.code == Exit.LOAD_GENERATOR
    assert re.search(r"load-generating process \d of 2 ended with 9 before the run began", finished.err)
    assert finished.left == [] and finished.manifest["status"] == "failed"
