"""Ctrl-C, SIGTERM and a terminal that is closed (SIGHUP): the first asks for a graceful end, the second ends everything
at once.

A CI system that cancels a job may send SIGINT and, a few seconds later, SIGTERM: an unattended run takes only a second
Ctrl-C for a wish to quit at once.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from tokenswarm.base.errors import Exit


def heeded() -> tuple[signal.Signals, ...]:
    """The signals that end a command in good order; not SIGHUP where it is ignored on purpose (nohup)."""
    hang_up = getattr(signal, "SIGHUP", None)
    known = hang_up is not None and signal.getsignal(hang_up) is not signal.SIG_IGN
    return (signal.SIGINT, signal.SIGTERM, *((hang_up,) if known else ()))


def _name(number: int) -> str:
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name


def _raise(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(_name(number))


def interrupt_by_any_signal() -> None:
    """Let SIGTERM and SIGHUP interrupt this process as Ctrl-C does, with their name as the reason."""
    if threading.current_thread() is not threading.main_thread():
        return  # not the main thread, the only one in which Python handles signals
    for number in heeded():
        if number != signal.SIGINT:
            signal.signal(number, _raise)


def leave_with_code_of(command: Callable[[], int], program: str = "tokenswarm") -> NoReturn:
    """Call the command and end this process with its exit code. Once the code is settled, a signal ends the process at
    once, with that code.

    At its end Python gives signals back to the system, and then takes its modules down, which lasts a tenth of a second
    and more: a Ctrl-C in that time would end the process with -2 and without a word, although all was written.
    """
    atexit.register(_ignore)  # registered first, called last: what is ignored stays so to the end
    try:
        code = command()
    except SystemExit as end:  # from argparse or Locust
        _settle(end.code if isinstance(end.code, int) else int(end.code is not None))
        raise
    except KeyboardInterrupt as error:  # in the instructions after those that the command guards
        print(f"{program}: interrupted{f' by {error}' if str(error) else ''}", file=sys.stderr)
        code = Exit.INTERRUPTED
    _settle(code)
    sys.exit(code)


def _settle(code: int) -> None:
    for number in heeded():
        signal.signal(number, lambda *_: os._exit(code))
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # closed or missing
            stream.flush()


def _ignore() -> None:
    for number in heeded():
        signal.signal(number, signal.SIG_IGN)


_Handler = Callable[[int, FrameType | None], object] | int | None


class Interrupts:
    """While active, the first signal calls `on_first` (or raises KeyboardInterrupt where none is set); the second
    calls every function in `on_hard_exit` and leaves the process without further ado. `require_double_ctrl_c`: only
    two Ctrl-C do. One inside another hands over what it has seen when it ends."""

    def __init__(self, require_double_ctrl_c: bool = False) -> None:
        self.on_first: Callable[[], None] | None = None
        self.on_hard_exit: list[Callable[[], None]] = []
        self.interrupted = False
        self.first_at: float | None = None
        """When the first signal came, on the monotonic clock."""
        self._first: signal.Signals | None = None
        self._ctrl_c = 0
        self._require_double_ctrl_c = require_double_ctrl_c
        self._previous: dict[int, _Handler] = {}

    def __enter__(self) -> Interrupts:
        for number in heeded():
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        outer = getattr(self._previous.get(signal.SIGINT), "__self__", None)
        if isinstance(outer, Interrupts) and self.interrupted and not outer.interrupted:
            outer.interrupted, outer.first_at, outer._first = True, self.first_at, self._first
            outer._ctrl_c += self._ctrl_c

    @property
    def first_name(self) -> str:
        """The name of the first signal for messages."""
        return _name(self._first or signal.SIGTERM)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._ctrl_c += number == signal.SIGINT
        if self.interrupted:
            if self._require_double_ctrl_c and self._ctrl_c < 2:
                return
            for function in self.on_hard_exit:
                with contextlib.suppress(Exception):
                    function()
            os._exit(Exit.INTERRUPTED)
        self.interrupted, self.first_at, self._first = True, time.monotonic(), signal.Signals(number)
        if self.on_first is None:
            raise KeyboardInterrupt
        self.on_first()
