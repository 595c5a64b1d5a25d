"""Hooks tokenswarm into Locust: one part for each Locust process, by the role that the process plays.

A local runner loads and directs; in distributed mode the master directs and writes, the workers load.
"""

from __future__ import annotations

from typing import Any

import gevent
from locust import events
from locust.runners import MasterRunner, WorkerRunner

from tokenswarm.generator.distributed import MasterPart, WorkerPart
from tokenswarm.generator.part import LocalPart
from tokenswarm.generator.process import LoadProcess

_registered = False


def register() -> None:
    """Listen to Locust's events; a second call does nothing."""
    global _registered
    if not _registered:
        _registered = True
        events.init.add_listener(_on_init)


def process_of(environment: Any) -> LoadProcess:
    """The load process of this Locust environment.

    Raises RuntimeError before the test has started, and GreenletExit (a quiet end) where it could not start.
    """
    part = getattr(environment, "tokenswarm", None)
    if part is not None and part.gave_up:
        raise gevent.GreenletExit
    if part is None or part.process is None:
        raise RuntimeError("an LLMUser can only be made by a running Locust test")
    return part.process


def _on_init(environment: Any, runner: Any, **_: Any) -> None:
    kind = WorkerPart if isinstance(runner, WorkerRunner) else MasterPart if isinstance(runner, MasterRunner) \
        else LocalPart
    environment.tokenswarm = kind(environment)
