"""What surrounds a command: its arguments' encoding, Locust's variables."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from tokenswarm.base.environment import leave_disturbing, without_disturbing
from tokenswarm.cli import main


def test_an_argument_that_is_not_utf8_is_refused_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["load", "--results", "bad\udcff"]) == 2
    assert "the argument 'bad\\udcff' is not UTF-8" in capsys.readouterr().err


def test_one_that_is_but_cannot_be_used_says_which_variable_is_to_blame(tmp_path: Path) -> None:
    around = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    run = subprocess.run(
        [sys.executable, "-m", "tokenswarm", "report", tmp_path / "ü"], env=around, capture_output=True, timeout=60
    )
    assert run.returncode == 2
    assert b"unset PYTHONUTF8" in run.stderr and run.stderr.count(b"\n") == 1


def test_locusts_own_variables_are_not_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCUST_RUN_TIME", "1s")
    monkeypatch.setenv("LOCUST_SKIP_MONKEY_PATCH", "1")
    monkeypatch.setenv("MODEL", "m")
    monkeypatch.setenv("TOKENSWARM_SESSION", "x")  # of another run
    monkeypatch.setenv("TOKENSWARM_LIVE_FD", "99")
    names = without_disturbing()
    assert names["MODEL"] == "m"
    assert not [name for name in names if name.startswith(("LOCUST_", "TOKENSWARM_SESSION", "TOKENSWARM_LIVE"))]


DISTURBING = {
    "GEVENT_LOOP": "bogus",
    "GEVENT_RESOLVER": "bogus",
    "LIBEV_FLAGS": "1",
    "FLASK_DEBUG": "1",
    "PANDAS_COPY_ON_WRITE": "warn",
    "NPY_DISABLE_CPU_FEATURES": "NONE_SUCH",
    "PYTHONINTMAXSTRDIGITS": "700",
    "PYTHONVERBOSE": "1",
    "PYTHONWARNINGS": "error",
    "LOCUST_USERS": "9",
}


def test_orders_to_the_libraries_are_dropped_and_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in DISTURBING.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    digits = sys.get_int_max_str_digits()
    try:
        sys.set_int_max_str_digits(700)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert leave_disturbing() is False
            warnings.warn("of some library", DeprecationWarning, stacklevel=1)  # no error
        assert sys.get_int_max_str_digits() == 4300
    finally:
        sys.set_int_max_str_digits(digits)
    assert not DISTURBING.keys() & os.environ.keys()
    assert os.environ["PYTHONPATH"] == "/somewhere"


@pytest.mark.parametrize("more", [{}, {"PYTHONINSPECT": "1"}], ids=["orders", "told to stay"])
def test_a_command_is_the_same_whatever_libraries_are_told_around_it(
    more: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A refusal that needs gevent, Locust and the data files: its sentence and exit code."""
    arguments = ["load", "--scenario", "no-such", "--engine", "sim"]
    code, expected = main(arguments), capsys.readouterr()
    command = [sys.executable, "-m", "tokenswarm", *arguments]
    plain = {name: value for name, value in os.environ.items() if name not in DISTURBING}
    disturbed = {**plain, **{k: v for k, v in DISTURBING.items() if k != "PYTHONVERBOSE"}, **more}
    found = subprocess.run(command, env=disturbed, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert code == 2 and "no-such" in expected.err
    assert (found.returncode, found.stdout, found.stderr) == (code, expected.out, expected.err)


def test_a_path_that_is_too_long_is_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path in (f"{tmp_path}/{'x' * 300}", f"/{'x/' * 5000}", str(loop / "x")):
        for command in (["load", "--results", path], ["report", path], ["results", "--results", path]):
            assert main(command) in (2, 15, 17), command
            err = capsys.readouterr().err
            assert err.count("\n") == 1 and "bug" not in err


def test_a_working_folder_that_is_gone_is_one_sentence(tmp_path: Path) -> None:
    script = f"cd {tmp_path} && mkdir gone && cd gone && rmdir ../gone && {sys.executable} -m tokenswarm scenarios"
    run = subprocess.run(["sh", "-c", script], capture_output=True, text=True)
    assert run.returncode == 2
    assert run.stderr.splitlines()[-1].startswith("tokenswarm: the folder in which this was started is gone")


def test_processes_take_no_module_from_the_working_folder_where_this_one_takes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path, safe in (([str(tmp_path), *sys.path], False), ([each for each in sys.path if each], True)):
        monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
        monkeypatch.setattr(sys, "path", path)
        main(["scenarios", "--check", "rag"])
        assert ("PYTHONSAFEPATH" in os.environ) is safe
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
