"""The load levels of a run, for the process that directs it."""

from __future__ import annotations

from collections.abc import Callable

from locust import User
from locust.runners import Runner

from tokenswarm.contract.levels import LevelRecord, levels_of_users, planned_levels
from tokenswarm.contract.phases import Timeline
from tokenswarm.generator.locust_seam import replace_function
from tokenswarm.scenario.load_settings import Load


class LevelLog:
    """Records the requested numbers of users, from any source: a shape, the web UI, a key."""

    def __init__(self) -> None:
        self._targets: list[tuple[float, int]] = []

    def new_run(self) -> None:
        """Start a run with the users requested last."""
        del self._targets[:-1]

    def set_target(self, moment: float, users: int) -> None:
        """Record that so many users are wanted from `moment` (unix s) on."""
        self._targets.append((moment, users))

    def levels(self, load: Load, timeline: Timeline) -> list[LevelRecord]:
        """The levels of the measured phase known so far; none before its start is known. Rates and ramps follow the
        plan. A level of users begins when they were requested, for steps up to a second late, since Locust checks a
        shape once a second.
        """
        start, end = timeline.measure_start, timeline.measure_end
        if not start < end:
            return []
        if load.rate is not None or load.users_end is not None or not self._targets:
            return planned_levels(load, start, end)
        return levels_of_users(self._targets, start, end, began="step" if load.users_steps else "changed")


def follow_user_targets(runner: Runner, tell: Callable[[int], None]) -> None:
    """From now on, call `tell` with each number of users before Locust's runner goes to it."""
    start = runner.start

    def start_and_tell(
        user_count: int, spawn_rate: float, wait: bool = False, user_classes: list[type[User]] | None = None
    ) -> None:
        tell(int(user_count))
        start(user_count, spawn_rate, wait, user_classes)

    replace_function(runner, "start", start_and_tell)
