"""Ctrl-C in a Locust process, in whatever code it comes."""

from __future__ import annotations

import subprocess
import sys

_BEFORE = """
import signal, gevent
from tokenswarm.generator.greenlet_errors import report_greenlet_errors
from tokenswarm.generator.interrupts import interrupt_between_greenlets
report_greenlet_errors(print)
"""
_ARMED = _BEFORE + "interrupt_between_greenlets()\n"
_MAIN_WAITS = """
try:
    gevent.sleep(30)
except KeyboardInterrupt:
    print("main")
"""


def _said(code: str) -> tuple[str, str]:
    as_in_a_terminal = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    run = subprocess.run([sys.executable, "-c", as_in_a_terminal + code], capture_output=True, text=True, timeout=60)
    return run.stdout, run.stderr


def test_it_reaches_the_main_greenlet_and_what_ran_at_that_moment_goes_on() -> None:
    work = "def work():\n    signal.raise_signal(signal.SIGINT)\n    print('went on')\ngevent.spawn(work)\n"
    assert _said(_ARMED + work + _MAIN_WAITS) == ("went on\nmain\n", "")


def test_one_in_a_callback_of_the_loop_does_too_without_a_traceback() -> None:
    work = "gevent.get_hub().loop.run_callback(signal.raise_signal, signal.SIGINT)\n"
    assert _said(_ARMED + work + _MAIN_WAITS) == ("main\n", "")


def test_a_second_one_stops_code_that_never_waits() -> None:
    work = (
        "def work():\n    signal.raise_signal(signal.SIGINT)\n    signal.raise_signal(signal.SIGINT)\n"
        "    print('went on')\ngevent.spawn(work)\n"
    )
    assert _said(_ARMED + work + _MAIN_WAITS) == ("main\n", "")


def test_who_handles_it_already_keeps_doing_so() -> None:
    own = "signal.signal(signal.SIGINT, lambda *_: print('own'))\ninterrupt_between_greenlets()\n"
    assert _said(_BEFORE + own + "signal.raise_signal(signal.SIGINT)\n") == ("own\n", "")
