"""Hooks tokenswarm into Locust: one part for each Locust process, by the role that the process plays.

A local runner loads and directs; in distributed mode the master directs and writes, the workers load.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from types import TracebackType

import gevent
from locust import events, stats
from locust.env import Environment
from locust.runners import MasterRunner, Runner, WorkerRunner

from tokenswarm.base.errors import UserError
from tokenswarm.base.last_handler import is_ours, report_bug
from tokenswarm.generator.distributed import MasterRole, WorkerRole
from tokenswarm.generator.greenlet_errors import report_greenlet_errors
from tokenswarm.generator.interrupts import interrupt_between_greenlets
from tokenswarm.generator.load_process import LoadProcess
from tokenswarm.generator.plain_locust import form_arguments
from tokenswarm.generator.roles import LocalRole, ProcessRole

Extension = Callable[[Environment, ProcessRole], None]
"""Called with Locust's environment and the process's role, once Locust is set up."""

_registered = False
_extensions: list[Extension] = []


def register(*extensions: Extension) -> None:
    """Listen to Locust's events, and let each extension add its own to every process; a second call does nothing."""
    global _registered
    if not _registered:
        _registered = True
        _extensions.extend(extensions)
        events.init_command_line_parser.add_listener(form_arguments)
        events.init.add_listener(_on_init)
        stats.bucket_response_time = three_digits  # type: ignore[assignment]


def process_of(environment: object) -> LoadProcess:
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


def _role_of(environment: Environment, runner: Runner) -> ProcessRole:
    if isinstance(runner, WorkerRunner):
        return WorkerRole(environment, runner)
    if isinstance(runner, MasterRunner):
        return MasterRole(environment, runner)
    return LocalRole(environment)


def _on_init(environment: Environment, runner: Runner, **_: object) -> None:
    try:
        role = _role_of(environment, runner)
        environment.tokenswarm = role  # type: ignore[attr-defined]
        report_greenlet_errors(role.bug)
        environment.events.user_error.add_listener(partial(_user_failed, role))
        for extend in _extensions:
            extend(environment, role)
        refresh_clock()
        interrupt_between_greenlets()
    except UserError as error:
        print(f"tokenswarm: {error}", file=sys.stderr, flush=True)
        raise SystemExit(int(error.code)) from None
    except Exception as error:  # Locust would show its traceback
        raise SystemExit(int(report_bug(error, "tokenswarm"))) from None


def refresh_clock() -> None:
    """Let timers count from now. The event loop still has the time from before the imports, which took seconds: a run
    time of Locust's (`-t 4s`) would be over by so much too soon."""
    gevent.get_hub().loop.update_now()


def _user_failed(role: ProcessRole, exception: Exception, tb: TracebackType | None, **_: object) -> None:
    """A user's task raised. Where it was in code of ours that the task called, that is a bug of ours."""
    if is_ours(tb):
        role.bug(exception)
    elif role.process is not None:
        role.process.user_failed(exception)
