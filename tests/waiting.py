"""Waits for conditions, never for a fixed time; the only place in the tests that polls."""

from __future__ import annotations

import time
from collections.abc import Callable

import gevent
from gevent.event import Event

PATIENCE_S = 60.0
"""Nothing here takes nearly that long, however busy the machine: a test that waits so long has failed."""
_LOOK_S = 0.002


def until(condition: Callable[[], object]) -> None:
    """Return once it holds. Other greenlets run meanwhile, and other threads and processes anyhow."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        gevent.sleep(_LOOK_S)


def for_ever(*_: object) -> None:
    """What a peer does that never answers: nothing, until its greenlet is killed."""
    Event().wait()
