"""Locust's user classes of a mix, made from those in the locustfiles of its scenarios."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from types import new_class
from typing import ClassVar

from locust import User, constant, task
from locust.env import Environment
from locust.exception import RescheduleTask, RescheduleTaskImmediately, StopUser
from locust.user.task import DefaultTaskSet

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.presence import present
from tokenswarm.generator.binding import Arrival
from tokenswarm.generator.locust_seam import loaded_classes, role_on
from tokenswarm.generator.turns import next_turn
from tokenswarm.scenario.mix import USERS, Mix


class SessionUser(User):
    """A user who plays sessions: what a user of a mix can be for the length of one."""

    abstract = True
    scenario = ""

    def take_arrival(self, arrival: Arrival | None) -> None:
        """The next session begins with that arrival."""
        raise NotImplementedError

    def leave_off(self) -> tuple[int, Arrival | None]:
        """The session is over. Returns how many prompts it had, and the arrival that is left, if nothing was sent with
        it."""
        raise NotImplementedError


class MixedUser(User):
    """Plays one session after another, each as a user of some class of the mix: of the one that the arrival which it
    begins with was drawn for (open loop), or that is behind its share of the requests (closed loop)."""

    abstract = True
    wait_time = constant(0)
    classes: ClassVar[dict[str, type[SessionUser]]] = {}

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        process = present(present(role_on(environment)).process)
        self._process, self._number = process, process.next_user()
        self._as: dict[str, SessionUser] = {}

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
            sent, arrival = player.leave_off()
            self._process.sent_in_session(self._process.phase(), self._number, name, sent)
            if arrival is None:
                return

    def _player(self, name: str) -> SessionUser:
        if name not in self._as:
            with self._process.numbered(self._number):
                self._as[name] = self.classes[name](self.environment)
            self._as[name].on_start()
        return self._as[name]

    def on_stop(self) -> None:
        for player in self._as.values():
            player.on_stop()


def choose_classes(environment: Environment, mix: Mix | None) -> None:
    """Let Locust spawn the users of a mix; of a run without one, all that there are. Raises UserError (USAGE)."""
    loaded = loaded_classes(environment)
    environment.user_classes = loaded if mix is None else classes_of_mix(mix, loaded)


def _subclass(name: str, base: type[User], fields: Mapping[str, object]) -> type[User]:
    return new_class(name, (base,), exec_body=lambda namespace: namespace.update(fields))


def classes_of_mix(mix: Mix, loaded: Iterable[type[User]]) -> list[type[User]]:
    """The classes that Locust is to spawn for a mix. Raises UserError (USAGE) if a locustfile has another class than it
    seemed to have."""
    by_name = {each.__name__: each for each in loaded}
    made = []
    for part in mix.parts:
        base = by_name.get(part.base)
        if base is None:
            raise UserError(Exit.USAGE, f"{part.locustfile} has no user class {part.base} that Locust could run")
        made.append(
            _subclass(
                part.user_class,
                base,
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
    return [
        _subclass(
            "MixedUser",
            MixedUser,
            {"abstract": False, "classes": {each.__name__: each for each in made}, "__module__": __name__},
        )
    ]
