"""What tokenswarm changes in Locust when it is set up."""

from __future__ import annotations

import time

import gevent

from tokenswarm.generator.plugin import refresh_clock


def test_a_time_limit_counts_from_when_locust_is_set_up_not_from_before_the_imports():
    gevent.sleep(0)
    time.sleep(0.05)  # as an import does: the event loop gets no turn
    now = time.time()
    loop = gevent.get_hub().loop
    assert loop.now() < now - 0.02
    refresh_clock()
    assert loop.now() >= now - 0.001
