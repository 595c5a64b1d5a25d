"""Delivers Ctrl-C in a Locust process to the main greenlet, where Locust ends the run gracefully.

Python raises KeyboardInterrupt in whatever is running. In a greenlet or a callback of the event loop, gevent prints its
traceback before it reaches the main greenlet, and the interrupted code is left half done.
"""

from __future__ import annotations

import signal
from types import FrameType

import gevent


def interrupt_between_greenlets() -> None:
    """From now on the first Ctrl-C interrupts the calling (main) greenlet when no other is running. A second one has
    its usual effect, so that code that never yields can be stopped too. Does nothing if SIGINT already has a handler or
    is ignored, or outside the main thread."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return
    main = gevent.getcurrent()
    loop = gevent.get_hub().loop

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        loop.run_callback_threadsafe(main.throw, KeyboardInterrupt)

    try:
        signal.signal(signal.SIGINT, interrupt)
    except ValueError:  # not the main thread
        return
