"""Ctrl-C and its like while a process still imports its code: it ends at once, with a sentence in place of a traceback.

An import that is interrupted in the middle raises KeyboardInterrupt wherever it happens to be, which libraries swallow
or turn into errors of their own. Nothing was begun by then, so nothing has to be put in order. This module imports
next to nothing, since what is imported before it is not covered.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

_STDERR = 2
_INTERRUPTED = 130
"""Exit.INTERRUPTED, whose module would be one more import that is not covered."""


def end_at_once_by_signals() -> None:
    """From now on Ctrl-C, SIGTERM and SIGHUP end this process with one sentence; each where nobody handles it yet, and
    where it is not ignored, as SIGINT is for a job in the background and SIGHUP under nohup. In another thread than the
    first nothing changes: Python lets that one alone handle signals."""
    for name, nobodys in (
        ("SIGINT", signal.default_int_handler),
        ("SIGTERM", signal.SIG_DFL),
        ("SIGHUP", signal.SIG_DFL),
    ):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is nobodys:
            try:
                signal.signal(number, _end)
            except ValueError:  # another thread
                return


def as_python_does() -> None:
    """From now on Ctrl-C raises KeyboardInterrupt again, and the others end the process: the imports are over."""
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
    except OSError:  # nobody reads it
        pass
    os._exit(_INTERRUPTED)
