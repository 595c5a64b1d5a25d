"""A closed loop whose users grow (or shrink) over the measured phase, through Locust's own LoadTestShape."""

from __future__ import annotations

import math
import time

from locust import LoadTestShape

from tokenswarm.contract.phases import Timeline
from tokenswarm.scenario.load_settings import Load


class ScenarioShape(LoadTestShape):
    """Follows the scenario's [load] along the run's timeline."""

    abstract = True  # created by the plugin; hidden from Locust in locustfiles that import it

    def __init__(self, load: Load) -> None:
        super().__init__()
        self._load = load
        self.timeline: Timeline | None = None

    def tick(self) -> tuple[int, float]:
        elapsed = -math.inf if self.timeline is None else time.time() - self.timeline.measure_start
        return self._load.users_at(elapsed), self._load.spawn_rate
