"""Keeps Locust's own statistics from growing during a run. Locust counts requests by second without limit, and adds a
point to its charts every five seconds: some 10 MB in eight hours. Only the last dozen seconds are ever read, and
thousands of points do not improve a chart.
"""

from __future__ import annotations

import gevent
from locust.env import Environment
from locust.stats import RequestStats

_INTERVAL_S = 30.0
_KEPT_S = 60
"""Locust's current rates look back 12 s from the last request."""
_POINTS = 2000


class Trimmer:
    """Trims `locust.stats.RequestStats` repeatedly, without changing anything that is read."""

    def __init__(self) -> None:
        self._stride = 1
        self._seen = self._kept = 0

    def trim(self, stats: RequestStats) -> None:
        """Drop what is no longer read, and thin the history evenly to at most _POINTS."""
        horizon = int(stats.last_request_timestamp or 0) - _KEPT_S
        for entry in (stats.total, *stats.entries.values()):
            for counts in (entry.num_reqs_per_sec, entry.num_fail_per_sec):
                for second in [second for second in counts if second < horizon]:
                    del counts[second]
        self._thin(stats.history)

    def _thin(self, history: list[dict]) -> None:
        if len(history) < self._kept:  # a new test, or somebody reset the statistics
            self._stride, self._seen, self._kept = 1, 0, 0
        new = history[self._kept :]
        history[self._kept :] = [point for number, point in enumerate(new, self._seen) if number % self._stride == 0]
        self._seen += len(new)
        if len(history) > _POINTS:
            del history[1::2]
            self._stride *= 2
        self._kept = len(history)


def keep_flat(environment: Environment) -> gevent.Greenlet:
    """Trim the statistics of a Locust environment regularly until the process ends."""
    trimmer = Trimmer()

    def forever() -> None:
        while True:
            gevent.sleep(_INTERVAL_S)
            trimmer.trim(environment.stats)

    return gevent.spawn(forever)
