"""Ctrl-C in a Locust process: it reaches the main greenlet, where Locust ends the run in good order.

Python raises KeyboardInterrupt in whatever runs at that moment. In a greenlet, or in a callback of the event loop, that
is printed with its traceback before it gets to the main greenlet, and what was interrupted is left half done.
"""

from __future__ import annotations

import signal
from types import FrameType

import gevent


def interrupt_between_greenlets() -> None:
    """From now on the first Ctrl-C interrupts the calling greenlet, the main one, when no other runs. A second one does
    what it always did, so that code which never waits can be stopped too. Nothing changes where somebody else handles
    it, or ignores it, or in another thread than the first."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return
    main = gevent.getcurrent()
    loop = gevent.get_hub().loop

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        loop.run_callback_threadsafe(main.throw, KeyboardInterrupt)

    try:
        signal.signal(signal.SIGINT, interrupt)
    except ValueError:  # another thread
        return
