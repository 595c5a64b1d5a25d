"""When the event loop rests between two polls of its sockets."""

from __future__ import annotations

import gevent
import pytest

from tests.waiting import until
from tokenswarm.client import looptime
from tokenswarm.client.looptime import POLL_INTERVAL_NS, LoopTime


def test_the_loop_never_rests_while_a_greenlet_is_ready_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its request would leave late by the rest, and the look behind it would come later still."""
    loop = gevent.get_hub().loop
    waiting_while_resting: list[bool] = []
    ran: list[None] = []
    monkeypatch.setattr(looptime, "_sleep", lambda _: waiting_while_resting.append(bool(loop._callbacks)))
    time = LoopTime(POLL_INTERVAL_NS)
    tick = loop.timer(0.001, 0.001)
    tick.start(lambda: loop.run_callback(lambda: ran.append(None)))
    try:
        until(lambda: len(ran) >= 20 and bool(waiting_while_resting))
    finally:
        tick.stop()
        tick.close()
        time.close()
    assert not any(waiting_while_resting)
