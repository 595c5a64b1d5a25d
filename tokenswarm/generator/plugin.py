"""Hooks tokenswarm into Locust: one part for each Locust process, by the role that the process plays.

A local runner loads and directs; in distributed mode the master directs and writes, the workers load.
"""

from __future__ import annotations

from typing import Any

import gevent
from locust import events, stats
from locust.runners import MasterRunner, WorkerRunner

from tokenswarm.generator.distributed import MasterPart, WorkerPart
from tokenswarm.generator.part import LocalPart
from tokenswarm.generator.process import LoadProcess
from tokenswarm.generator.standalone import form_arguments

_registered = False


def register() -> None:
    """Listen to Locust's events; a second call does nothing."""
    global _registered
    if not _registered:
        _registered = True
        events.init_command_line_parser.add_listener(form_arguments)
        events.init.add_listener(_on_init)
        stats.bucket_response_time = three_digits


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


def three_digits(response_time: float) -> float:
    """A response time (ms) with three significant digits, as Locust counts it: its own two are too few at 100 ms."""
    return float(f"{response_time:.3g}") if response_time > 0 else 0.0


def _on_init(environment: Any, runner: Any, **_: Any) -> None:
    kind = WorkerPart if isinstance(runner, WorkerRunner) else MasterPart if isinstance(runner, MasterRunner) \
        else LocalPart
    environment.tokenswarm = part = kind(environment)
    if environment.web_ui is not None:
        from tokenswarm.ui.web import LlmTab  # only where there is a UI: it takes a while to import

        LlmTab(environment, part)
