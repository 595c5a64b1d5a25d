"""Keeps a run going, and its results written, if standard streams are closed, full, in another encoding, or lost with
their terminal."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TextIO

from tokenswarm.base.masking import hidden

_WAYS = (0, 1, 2)


class LastingStream:
    """A text stream that turns silent once nobody takes what is written: its reader has gone (`tokenswarm load |
    head -1`), its terminal was closed, its disk is full.

    `lost`: why it turned silent; None while it is written to, and where its reader has left on purpose.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost: OSError | None = None

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Like a stream's, with secrets masked; never raises OSError."""
        try:
            self._stream.write(hidden(text))
            return len(text)
        except OSError as error:
            self._silence(error)
            return len(text)

    def flush(self) -> None:
        """Like a stream's; never raises OSError."""
        try:
            self._stream.flush()
        except OSError as error:
            self._silence(error)

    def _silence(self, error: OSError) -> None:
        """Discard buffered and all further output."""
        if not isinstance(error, BrokenPipeError):
            self.lost = self.lost or error
        with contextlib.suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def last_through_everything() -> None:
    """Let this process go on whatever becomes of its standard streams; before anything else is opened.

    A descriptor that is closed would be given to the next file or socket, which would then take what is printed. A
    character that the terminal does not know is written as an escape.
    """
    for way in _WAYS:
        try:
            os.fstat(way)
        except OSError:
            _open_nowhere(way)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed before Python started
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        if isinstance(stream, LastingStream):
            continue
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, LastingStream(stream))


def _open_nowhere(way: int) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere != way:
        os.dup2(nowhere, way)
        os.close(nowhere)
    os.set_inheritable(way, True)


def why_output_was_lost() -> str | None:
    """Why standard output could not be written, in a few words; None if it could, or if its reader left."""
    with contextlib.suppress(ValueError):
        sys.stdout.flush()
    lost = getattr(sys.stdout, "lost", None)
    return None if lost is None else (lost.strerror or str(lost))
