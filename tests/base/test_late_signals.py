"""A signal after a command has settled its exit code, while Python shuts down."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tokenswarm.base.errors import Exit

_AT_THE_END = {
    "where Python still handles signals": "atexit.register(os.kill, os.getpid(), signal.{name})",
    "where it no longer does": "builtins.last = type('Last', (), {{'__del__': lambda _: kill(pid, signal.{name})}})()",
}
_PROGRAM = """
import atexit, builtins, os, runpy, signal, sys
kill, pid = os.kill, os.getpid()
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell started the tests in the background
{when}
sys.argv[1:] = {arguments}
runpy.run_module({module!r}, run_name="__main__", alter_sys=True)
"""


def _end(folder: Path, module: str, arguments: list[str], when: str) -> subprocess.CompletedProcess[str]:
    program = _PROGRAM.format(when=when, arguments=arguments, module=module)
    found_first = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run([sys.executable, "-c", program], env=found_first, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(("moment", "name"), [*zip(_AT_THE_END, ("SIGTERM", "SIGINT"), strict=True)])
def test_the_exit_code_stays_what_it_was(tmp_path: Path, moment: str, name: str) -> None:
    (tmp_path / "command.py").write_text(
        "from tokenswarm.base.signals import leave_with_code_of\nleave_with_code_of(lambda: print('result') or 7)\n"
    )
    run = _end(tmp_path, "command", [], _AT_THE_END[moment].format(name=name))
    assert (run.returncode, run.stdout, run.stderr) == (7, "result\n", "")


@pytest.mark.parametrize("module", ["tokenswarm", "tokenswarm.locust_main", "tokenswarm.sim"])
def test_so_it_does_for_each_program(tmp_path: Path, module: str) -> None:
    (tmp_path / "locust").mkdir()
    (tmp_path / "locust" / "__init__.py").touch()
    (tmp_path / "locust" / "main.py").write_text("def main():\n    raise SystemExit(print('usage') or 0)\n")
    run = _end(tmp_path, module, ["--help"], _AT_THE_END["where it no longer does"].format(name="SIGINT"))
    assert (run.returncode, "usage" in run.stdout, run.stderr) == (0, True, "")


def test_an_interrupt_that_no_command_took_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "command.py").write_text(
        "import signal\nfrom tokenswarm.base.signals import leave_with_code_of\n"
        "leave_with_code_of(lambda: signal.raise_signal(signal.SIGINT))\n"
    )
    run = _end(tmp_path, "command", [], "")
    assert (run.returncode, run.stderr) == (Exit.INTERRUPTED, "tokenswarm: interrupted\n")
