"""Standard output that nobody may read any more: a run goes on, and its results are written, all the same."""

from __future__ import annotations

import os
import sys
from typing import Any, TextIO


class BrokenPipeSafeStream:
    """A text stream that turns silent once its reader has gone (`tokenswarm load | head -1`)."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """As of a stream; never raises BrokenPipeError."""
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._silence()
            return len(text)

    def flush(self) -> None:
        """As of a stream; never raises BrokenPipeError."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._silence()

    def _silence(self) -> None:
        """What is still buffered, and all that follows, goes nowhere."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


def ignore_broken_pipe() -> None:
    """Let this process go on when whoever reads its standard output or error ends."""
    sys.stdout, sys.stderr = BrokenPipeSafeStream(sys.stdout), BrokenPipeSafeStream(sys.stderr)
