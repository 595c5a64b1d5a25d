"""Handles Ctrl-C and similar signals while a process is still importing its code: it ends at once, with a sentence
instead of a traceback.

An interrupted import raises KeyboardInterrupt at an arbitrary place, where libraries swallow it or turn it into other
errors. Nothing has been started yet, so there is nothing to clean up. This module imports almost nothing, since earlier
imports are not covered.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

_STDERR = 2
_INTERRUPTED = 130
"""Exit.INTERRUPTED; importing its module would be another uncovered import."""


def end_at_once_by_signals() -> None:
    """From now on Ctrl-C, SIGTERM and SIGHUP end this process with one sentence. Signals that already have a handler or
    are ignored (SIGINT in a background job, SIGHUP under nohup) are left alone. Does nothing outside the main thread,
    since Python handles signals only there."""
    for name, nobodys in (
        ("SIGINT", signal.default_int_handler),
        ("SIGTERM", signal.SIG_DFL),
        ("SIGHUP", signal.SIG_DFL),
    ):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is nobodys:
            try:
                signal.signal(number, _end)
            except ValueError:  # not the main thread
                return


def as_python_does() -> None:
    """Restore Python's defaults after the imports: Ctrl-C raises KeyboardInterrupt, the others end the process."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is _end:
            signal.signal(number, signal.SIG_DFL)


def _end(number: int, frame: FrameType | None) -> None:
    by = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
    try:  # noqa: SIM105 - contextlib would be one more import that is not covered
        os.write(_STDERR, f"tokenswarm: interrupted{by}\n".encode())
    except OSError:  # standard error is closed
        pass
    os._exit(_INTERRUPTED)
