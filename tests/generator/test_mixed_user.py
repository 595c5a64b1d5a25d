"""Locust's classes of a mix: weights, names, and one user who plays the sessions of every class."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import pytest
from locust import task
from locust.dispatch import UsersDispatcher
from locust.exception import StopUser
from locust.runners import WorkerNode

from tokenswarm.base.errors import UserError
from tokenswarm.contract.phases import Timeline
from tokenswarm.generator.binding import Arrival
from tokenswarm.generator.mixed_user import classes_of_mix
from tokenswarm.scenario.mix import Mix, MixPart
from tokenswarm.scenario.requests import UserBehaviour
from tokenswarm.users import LLMUser


class Reader(LLMUser):
    @task
    def read(self) -> None:
        self.environment.played.append((type(self).__name__, self._number, self._arrival))
        self._arrival, self._asked = None, 3


def mix(of: str, **weights: float) -> Mix:
    return Mix(
        of=of,
        parts=tuple(
            MixPart(scenario=name.lower(), user_class=name, weight=weight, base="Reader", locustfile="x.py")
            for name, weight in weights.items()
        ),
    )


def test_shares_of_users_are_locusts_own_weights() -> None:
    classes = classes_of_mix(mix("users", A=6, B=3, C=1), [Reader])
    assert all(issubclass(each, Reader) for each in classes)
    dispatcher = UsersDispatcher([WorkerNode("1"), WorkerNode("2")], classes)
    dispatcher.new_dispatch(20, 20)
    *_, users = dispatcher
    assert sum((Counter(of_worker) for of_worker in users.values()), Counter()) == {"A": 12, "B": 6, "C": 2}


def test_a_locustfile_without_the_class_that_was_seen_in_it_is_refused() -> None:
    with pytest.raises(UserError, match="has no user class Reader"):
        classes_of_mix(mix("users", A=1), [])


class FakeProcess:
    """A process whose phase is over after `turns` turns."""

    def __init__(self, turns: int, open_loop: bool) -> None:
        self.timeline, self.plan = (
            Timeline(0.0),
            SimpleNamespace(of=lambda _: SimpleNamespace(behaviour=UserBehaviour()), seed=1),
        )
        self.timeline.measure_start, self.timeline.measure_end = 0.0, 1e9
        self.left, self.open_loop, self.numbers = turns, open_loop, iter(range(5, 9))
        self.sent: list[tuple[int, str, int]] = []
        self._numbered: int | None = None

    def next_user(self, _: str = "") -> int:
        return next(self.numbers) if self._numbered is None else self._numbered

    def numbered(self, number: int):
        from contextlib import contextmanager

        @contextmanager
        def as_one():
            self._numbered = number
            yield
            self._numbered = None

        return as_one()

    def next_arrival(self, session: object = None, user_class: str = "") -> Arrival | None:
        self.left -= 1
        return Arrival(10.0, self.left) if self.open_loop else None

    def phase(self) -> str:
        return "measure" if self.left >= 0 else "drain"

    def class_for(self, phase: str, user: int, arrival: Arrival | None) -> str:
        return "AB"[self.left % 2]

    def sent_in_session(self, phase: str, user: int, name: str, requests: int) -> None:
        self.sent.append((user, name, requests))


@pytest.mark.parametrize("open_loop", [False, True])
def test_one_user_plays_sessions_of_every_class_under_one_number(open_loop: bool) -> None:
    (mixed,) = classes_of_mix(mix("requests", A=1, B=1), [Reader])
    process = FakeProcess(3, open_loop)
    environment = SimpleNamespace(tokenswarm=SimpleNamespace(process=process, gave_up=False), played=[], host=None)
    user = mixed(environment)
    for _ in range(3):
        user.play()
    with pytest.raises(StopUser):
        user.play()
    arrivals = [Arrival(10.0, left) if open_loop else None for left in (2, 1, 0)]
    assert environment.played == [("A", 5, arrivals[0]), ("B", 5, arrivals[1]), ("A", 5, arrivals[2])]
    assert process.sent == [(5, "A", 3), (5, "B", 3), (5, "A", 3)]
