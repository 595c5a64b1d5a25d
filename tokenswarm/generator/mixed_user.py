"""Locust's user classes of a mix, made from those in the locustfiles of its scenarios."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any, ClassVar

from locust import User, constant, task
from locust.exception import RescheduleTask, RescheduleTaskImmediately, StopUser
from locust.user.task import DefaultTaskSet

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.generator.turns import next_turn
from tokenswarm.scenario.mix import USERS, Mix


class MixedUser(User):
    """Plays one session after another, each as a user of some class of the mix: of the one that the arrival which it
    begins with was drawn for (open loop), or that is behind its share of the requests (closed loop)."""

    abstract = True
    wait_time = constant(0)
    classes: ClassVar[dict[str, type[User]]] = {}

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        process = environment.tokenswarm.process
        self._process, self._number = process, process.next_user()
        self._as: dict[str, Any] = {}

    @task
    def play(self) -> None:
        """One task of one class: a session, as a rule."""
        turn = next_turn(self._process)
        if turn is None:
            raise StopUser
        phase, arrival = turn
        name = self._process.class_for(phase, self._number, arrival)
        player = self._player(name)
        while True:
            player.take_arrival(arrival)
            tasks = DefaultTaskSet(player)
            with contextlib.suppress(RescheduleTask, RescheduleTaskImmediately):
                tasks.execute_task(tasks.get_next_task())
            asked, arrival = player.leave_off()
            self._process.sent_in_session(self._process.phase(), self._number, name, asked)
            if arrival is None:
                return

    def _player(self, name: str) -> Any:
        if name not in self._as:
            with self._process.numbered(self._number):
                self._as[name] = self.classes[name](self.environment)
            self._as[name].on_start()
        return self._as[name]

    def on_stop(self) -> None:
        for player in self._as.values():
            player.on_stop()


def loaded_classes(environment: Any) -> list[Any]:
    """The user classes of the locustfiles, whichever of them the run that was begun last had."""
    known = getattr(environment, "tokenswarm_classes", None)
    if known is None:
        known = environment.tokenswarm_classes = list(environment.user_classes)
    return known


def choose_classes(environment: Any, mix: Mix | None) -> None:
    """Let Locust spawn the users of a mix; of a run without one, all that there are. Raises UserError (USAGE)."""
    loaded = loaded_classes(environment)
    environment.user_classes = loaded if mix is None else classes_of_mix(mix, loaded)


def classes_of_mix(mix: Mix, loaded: Iterable[type[User]]) -> list[type[User]]:
    """The classes that Locust is to spawn for a mix. Raises UserError (USAGE) if a locustfile has another class than it
    seemed to have."""
    by_name = {each.__name__: each for each in loaded}
    made = []
    for part in mix.parts:
        base = by_name.get(part.base)
        if base is None:
            raise UserError(Exit.USAGE, f"{part.locustfile} has no user class {part.base} that Locust could run")
        meta: Any = type(base)
        made.append(
            meta(
                part.user_class,
                (base,),
                {
                    "weight": part.weight,
                    "scenario": part.scenario,
                    "__module__": base.__module__,
                    "__doc__": base.__doc__,
                },
            )
        )
    if mix.of == USERS:
        return made
    meta = type(MixedUser)
    return [
        meta(
            "MixedUser",
            (MixedUser,),
            {"abstract": False, "classes": {each.__name__: each for each in made}, "__module__": __name__},
        )
    ]
