"""Hooks tokenswarm into Locust: one role for each Locust process.

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
from tokenswarm.generator.locust_seam import hang_role, replace_function, role_on
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
        replace_function(stats, "bucket_response_time", three_digits)


def process_of(environment: object) -> LoadProcess:
    """The load process of this Locust environment.

    Raises RuntimeError before the test has started, and GreenletExit (a quiet end) where it could not start.
    """
    role = role_on(environment)
    if role is not None and role.gave_up:
        raise gevent.GreenletExit
    if role is None or role.process is None:
        raise RuntimeError("an LLMUser can only be made by a running Locust test")
    return role.process


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
        hang_role(environment, role)
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
