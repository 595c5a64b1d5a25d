"""The line between a Locust process and the command line that started it: JSON lines in both directions.

Out: {"event": "begun" | "dropped" | "phase" | "live" | "done" | "fatal", ...}. In: {"do": "stop" | "ready" | "engine",
...}. The other end closing means that nobody waits any more, which counts as `stop`.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable, Mapping

import gevent
import msgspec

from tokenswarm.base.environment import LIVE_VARIABLE
from tokenswarm.base.presence import present

_MOST_BYTES = 65536


class Reporter:
    """Speaks over the inherited socket in TOKENSWARM_LIVE_FD; silent where there is none (plain Locust)."""

    def __init__(self) -> None:
        descriptor = os.environ.get(LIVE_VARIABLE)
        self._socket = socket.socket(fileno=int(descriptor)) if descriptor else None
        self._listener: gevent.Greenlet | None = None
        self._handlers: dict[str, Callable[[Mapping[str, object]], None]] = {}

    @property
    def connected(self) -> bool:
        return self._socket is not None

    def say(self, event: str, **facts: object) -> None:
        """Report an event; facts are JSON values or records."""
        if self._socket is not None:
            with contextlib.suppress(OSError):  # the other end is gone: `stop` ends this
                self._socket.sendall(msgspec.json.encode({"event": event, **facts}) + b"\n")

    def on(self, what: str, handler: Callable[[Mapping[str, object]], None]) -> None:
        """Call `handler` with each message that asks for `what`; a later handler replaces an earlier one."""
        self._handlers[what] = handler
        if self._socket is not None and self._listener is None:
            self._listener = gevent.spawn(self._listen)

    def _listen(self) -> None:
        received = b""
        with contextlib.suppress(OSError):
            while data := present(self._socket).recv(_MOST_BYTES):
                *lines, received = (received + data).split(b"\n")
                for line in lines:
                    self._heard(json.loads(line))
        self._heard({"do": "stop"})

    def _heard(self, message: Mapping[str, object]) -> None:
        handler = self._handlers.get(str(message["do"]))
        if handler is not None:
            handler(message)
