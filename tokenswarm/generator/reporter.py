"""The line between a Locust process and the command line that started it: JSON lines out, `stop` in.

Out: {"event": "phase" | "live" | "done" | "fatal", ...}. The other end closing means that nobody waits any more.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable

import gevent

from tokenswarm.generator.plan import LIVE_VARIABLE


class Reporter:
    """Speaks over the inherited socket in TOKENSWARM_LIVE_FD; silent where there is none (plain Locust)."""

    def __init__(self) -> None:
        descriptor = os.environ.get(LIVE_VARIABLE)
        self._socket = socket.socket(fileno=int(descriptor)) if descriptor else None
        self._listener: gevent.Greenlet | None = None

    @property
    def connected(self) -> bool:
        return self._socket is not None

    def say(self, event: str, **facts: object) -> None:
        """Report an event; facts are plain JSON values."""
        if self._socket is not None:
            with contextlib.suppress(OSError):  # the other end is gone: `on_stop` hears of it
                self._socket.sendall(json.dumps({"event": event, **facts}).encode() + b"\n")

    def on_stop(self, stop: Callable[[], None]) -> None:
        """Call `stop` once, when the other end asks for it or has gone."""
        if self._socket is not None:
            self._listener = gevent.spawn(self._listen, stop)

    def _listen(self, stop: Callable[[], None]) -> None:
        with contextlib.suppress(OSError):
            self._socket.recv(64)
        stop()
