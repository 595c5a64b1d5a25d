"""An unexpected error ends with one sentence, a log and its own exit code."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from tokenswarm import cli
from tokenswarm.base import last_handler
from tokenswarm.base.environment import KEY_VARIABLE
from tokenswarm.base.errors import Exit
from tokenswarm.sim import __main__ as simulator

KEY = "sk-very-secret-0123456789"


@pytest.fixture(autouse=True)
def log_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder for logs."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv(last_handler.DEBUG_VARIABLE, raising=False)
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    return tmp_path / "state" / "tokenswarm" / "log"


def broken(*_: object) -> int:
    """A command with a bug."""
    raise ZeroDivisionError(f"no share of\nnothing for {KEY}")


@pytest.fixture
def buggy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command of `tokenswarm` has a bug."""
    monkeypatch.setattr(cli, "_parser", lambda: SimpleNamespace(parse_args=parse))


def parse(arguments: list[str]) -> SimpleNamespace:
    """The options of the buggy command; --results as given."""
    return SimpleNamespace(run=broken, results=Path(arguments[2]) if len(arguments) > 2 else None)


def the_log(folder: Path) -> str:
    [log] = folder.glob("tokenswarm-error-*.log")
    assert log.stat().st_mode & 0o077 == 0
    return log.read_text()


def test_a_bug_is_one_sentence_and_the_log_has_the_traceback(
    buggy: None, log_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["scenarios"]) == Exit.INTERNAL == 70
    out, said = capsys.readouterr()
    assert out == "" and said.count("\n") == 1 and "Traceback" not in said
    assert "ZeroDivisionError: no share of nothing" in said and str(log_folder) in said
    trace = the_log(log_folder)
    assert trace.startswith("Traceback") and "in broken" in trace
    assert KEY not in said and KEY not in trace and "***" in said


@pytest.mark.parametrize(
    "error", [MemoryError(), OSError(12, "Cannot allocate memory"), ImportError("x.so: failed to map segment")]
)
def test_a_lack_of_memory_is_no_bug(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def starved(*_: object) -> int:
        try:
            raise error
        except Exception as first:
            raise RuntimeError("it could not go on") from first

    monkeypatch.setattr(
        cli, "_parser", lambda: SimpleNamespace(parse_args=lambda _: SimpleNamespace(run=starved, results=None))
    )
    assert cli.main(["load"]) == Exit.MEMORY == 24
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "too little memory" in said and "bug" not in said


def test_a_python_without_our_packages_is_told_to_be_another_one_and_is_no_bug(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-m", "tokenswarm", "scenarios"],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"XDG_STATE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == Exit.USAGE and done.stdout == ""
    assert "lacks the package " in done.stderr and ".venv/bin/python" in done.stderr
    assert len(done.stderr.splitlines()) == 1 and not list(tmp_path.iterdir())


def test_the_log_goes_into_the_results_folder_where_it_is_there(
    buggy: None, log_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    results.mkdir()
    assert cli.main(["load", "--results", str(results)]) == Exit.INTERNAL
    assert "in broken" in the_log(results) and str(results) in capsys.readouterr().err
    assert cli.main(["load", "--results", str(tmp_path / "none")]) == Exit.INTERNAL
    assert "in broken" in the_log(log_folder) and not (tmp_path / "none").exists()


def test_a_folder_that_cannot_be_written_is_passed_over(
    buggy: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    assert cli.main(["scenarios"]) == Exit.INTERNAL
    assert "in broken" in the_log(temporary)
    capsys.readouterr()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "state" / "below-a-file"))
    assert cli.main(["scenarios"]) == Exit.INTERNAL
    said = capsys.readouterr().err
    assert "no log could be written" in said and "Traceback" not in said and said.count("\n") == 1


def test_whoever_debugs_sees_the_traceback(
    buggy: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(last_handler.DEBUG_VARIABLE, "1")
    assert cli.main(["scenarios"]) == Exit.INTERNAL
    said = capsys.readouterr().err
    assert said.startswith("Traceback") and KEY not in said


def test_the_simulator_has_the_same_last_handler(
    log_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(simulator, "main", broken)
    assert simulator._run() == Exit.INTERNAL
    assert capsys.readouterr().err.startswith("tokenswarm.sim: this is a bug") and "in broken" in the_log(log_folder)
