"""A signal while a process still imports its code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tokenswarm.base.early_signals import end_at_once_by_signals
from tokenswarm.base.errors import Exit

_SIGNALS_ITSELF = "import os, signal, time\nos.kill(os.getpid(), signal.{name})\ntime.sleep(30)\n"


def _as_in_a_terminal() -> None:
    """Of a job in the background, such as these tests may be, SIGINT is ignored, and in what it starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _run(folder: Path, module: str, *before: str) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, "-m", module, "scenarios"]
    found_first = os.environ | {"PYTHONPATH": str(folder)}  # no module is taken from the working folder
    return subprocess.run(
        command, cwd=folder, env=found_first, capture_output=True, text=True, timeout=60, preexec_fn=_as_in_a_terminal
    )


@pytest.mark.parametrize(("name", "by"), [("SIGINT", ""), ("SIGTERM", " by SIGTERM"), ("SIGHUP", " by SIGHUP")])
@pytest.mark.parametrize(
    ("module", "imports"),
    [("tokenswarm", "argparse.py"), ("tokenswarm.locust_main", "locust.py"), ("tokenswarm.users", "locust.py")],
)
def test_it_ends_the_process_with_one_sentence(tmp_path: Path, module: str, imports: str, name: str, by: str) -> None:
    (tmp_path / imports).write_text(_SIGNALS_ITSELF.format(name=name))  # found before the real one
    run = _run(tmp_path, module)
    assert (run.returncode, run.stderr, run.stdout) == (Exit.INTERRUPTED, f"tokenswarm: interrupted{by}\n", "")


def test_after_the_imports_of_a_locustfile_signals_are_its_own_again(tmp_path: Path) -> None:
    code = (
        "import signal, tokenswarm.users\n"
        "try: signal.raise_signal(signal.SIGINT)\n"
        "except KeyboardInterrupt: print('mine')\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=_as_in_a_terminal,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "mine\n", "")


def test_in_another_thread_nothing_changes() -> None:
    errors: list[BaseException] = []

    def other() -> None:
        try:
            end_at_once_by_signals()
        except BaseException as error:  # whatever it is, the test tells
            errors.append(error)

    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert not errors and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_is_ignored_on_purpose_stays_so(tmp_path: Path) -> None:
    ends = _SIGNALS_ITSELF.format(name="SIGHUP").replace("time.sleep(30)", "raise SystemExit(7)")
    (tmp_path / "argparse.py").write_text(ends)
    assert _run(tmp_path, "tokenswarm", "nohup").returncode == 7


def test_an_interrupt_of_plain_locust_is_one_sentence(tmp_path: Path) -> None:
    code = (
        "from tokenswarm.base.last_handler import handle_our_errors\n"
        "handle_our_errors('tokenswarm')\n"
        "import signal\n"
        "signal.raise_signal(signal.SIGINT)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=_as_in_a_terminal,
    )
    assert (run.returncode, run.stderr) == (Exit.INTERRUPTED, "tokenswarm: interrupted\n")
