"""Reports errors that end one of our greenlets like any other bug; gevent would print the traceback and continue."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

import gevent

from tokenswarm.base.last_handler import is_ours


def report_greenlet_errors(bug: Callable[[Exception], None]) -> None:
    """From now on call `bug` with an error of this package that ends a greenlet or a callback of the event loop, and
    say nothing of an interrupt there, which the main greenlet gets. All others, such as those of a locustfile, go where
    they went before."""
    hub = gevent.get_hub()
    before = hub.handle_error

    def handle_error(context: object, kind: type[BaseException], error: object, trace: TracebackType | None) -> None:
        if isinstance(error, Exception) and is_ours(trace):
            gevent.spawn(bug, error.with_traceback(trace))  # in a greenlet of its own: here nothing may wait
        elif isinstance(error, KeyboardInterrupt):  # to the main greenlet, as before, but without its traceback
            hub.handle_system_error(kind, error, trace)
        else:
            before(context, kind, error, trace)

    hub.handle_error = handle_error
