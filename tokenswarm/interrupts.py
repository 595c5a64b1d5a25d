"""Ctrl-C and SIGTERM: the first asks for a graceful end, the second ends everything at once."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from types import FrameType

from tokenswarm.errors import Exit


class Interrupts:
    """While active, the first signal calls `on_first` (or raises KeyboardInterrupt where none is set); the second
    calls every function in `last_words` and leaves the process without further ado."""

    _SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.on_first: Callable[[], None] | None = None
        self.last_words: list[Callable[[], None]] = []
        self.interrupted = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> Interrupts:
        for number in self._SIGNALS:
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.interrupted:
            for function in self.last_words:
                with contextlib.suppress(Exception):
                    function()
            os._exit(Exit.INTERRUPTED)
        self.interrupted = True
        if self.on_first is None:
            raise KeyboardInterrupt
        self.on_first()
