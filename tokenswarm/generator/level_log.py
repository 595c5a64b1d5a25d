"""Which load levels a run goes through, as the process that directs it knows them."""

from __future__ import annotations

from collections.abc import Callable

from locust import User
from locust.runners import Runner

from tokenswarm.contract.levels import LevelRecord, levels_of_users, planned_levels
from tokenswarm.contract.phases import Timeline
from tokenswarm.generator.locust_seam import replace_function
from tokenswarm.scenario.load_settings import Load


class LevelLog:
    """Remembers the numbers of users that were asked for, by whom it may be: a shape, the web UI, a key."""

    def __init__(self) -> None:
        self._targets: list[tuple[float, int]] = []

    def new_run(self) -> None:
        """A run begins with the users that were asked for last."""
        del self._targets[:-1]

    def set_target(self, moment: float, users: int) -> None:
        """From `moment` (unix s) on so many users are wanted."""
        self._targets.append((moment, users))

    def levels(self, load: Load, timeline: Timeline) -> list[LevelRecord]:
        """The levels of the measured phase, as far as they are known; none before it is known when it begins.

        Rates and ramps go by plan. A level of users begins when they were asked for, which steps are up to a second
        after their plan: Locust looks at a shape once a second.
        """
        start, end = timeline.measure_start, timeline.measure_end
        if not start < end:
            return []
        if load.rate is not None or load.users_end is not None or not self._targets:
            return planned_levels(load, start, end)
        return levels_of_users(self._targets, start, end, began="step" if load.users_steps else "changed")


def follow_user_targets(runner: Runner, tell: Callable[[int], None]) -> None:
    """From now on `tell` hears each number of users that Locust's runner is asked to go to, before it does."""
    start = runner.start

    def start_and_tell(
        user_count: int, spawn_rate: float, wait: bool = False, user_classes: list[type[User]] | None = None
    ) -> None:
        tell(int(user_count))
        start(user_count, spawn_rate, wait, user_classes)

    replace_function(runner, "start", start_and_tell)
