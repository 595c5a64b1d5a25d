"""Several user classes in an open loop: sessions come in Locust's proportion, and arrival by arrival alike."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from tokenswarm.generator.binding import Arrival, Binding, BoundSession
from tokenswarm.generator.free_users import ClassShares, FreeUsers

USERS = {"Agent": 384, "Boss": 96, "Clerk": 32}


def shares(seed: int = 1, users: dict[str, int] = USERS) -> ClassShares:
    made = ClassShares(seed)
    for name, count in users.items():
        for _ in range(count):
            made.add(name)
    return made


@pytest.mark.parametrize("arrivals", [64, 1000])
def test_sessions_have_the_classes_proportion_over_any_stretch(arrivals: int) -> None:
    of = shares()
    for begin in (0, 777):
        counts = Counter(of.of_arrival(number) for number in range(begin, begin + arrivals))
        assert {name: counts[name] / arrivals for name in USERS} == pytest.approx(
            {name: count / 512 for name, count in USERS.items()}, abs=3 / arrivals
        )


def test_each_worker_s_arrivals_have_it_too() -> None:
    counts = Counter(shares().of_arrival(number) for number in range(1, 4000, 4))
    assert counts["Boss"] / 1000 == pytest.approx(96 / 512, abs=0.01)


def test_the_class_of_an_arrival_does_not_depend_on_the_order_in_which_users_were_made() -> None:
    backwards = shares(users=dict(reversed(USERS.items())))
    assert [shares().of_arrival(number) for number in range(50)] == [
        backwards.of_arrival(number) for number in range(50)
    ]
    assert len({tuple(shares(seed).of_arrival(number) for number in range(50)) for seed in range(5)}) == 5


def test_of_one_class_each_arrival_is_for_it() -> None:
    assert {shares(users={"Agent": 3}).of_arrival(number) for number in range(9)} == {"Agent"}


def test_users_of_a_class_take_turns_and_another_class_stands_in_where_all_are_busy() -> None:
    free: FreeUsers[str] = FreeUsers(lambda number: "AB"[number])
    assert not free
    for waiter in ("A1", "A2", "B1", "B2", "B3"):
        free.add(waiter, waiter[0])
    free.remove("B2")
    assert [free.take(number) for number in (0, 0, 0, 1)] == ["A1", "A2", "B1", "B3"]
    assert not free


def classes_sent(answers_s: Random | float) -> list[str]:
    """The class of each of 400 arrivals, five a second, of sessions of one turn whose answers take so long."""
    binding: Binding[str] = Binding(of_user=shares().of_arrival)
    for name, count in USERS.items():  # as Locust spawns them: one class after the other
        for _ in range(count):
            binding.wait(None, name, name)
    busy: list[tuple[float, str]] = []
    sent, now, rng = [], 0.0, Random(3)
    for number in range(400):
        now += rng.expovariate(5.0)
        for entry in sorted(entry for entry in busy if entry[0] <= now):
            busy.remove(entry)
            binding.wait(None, entry[1], entry[1])
        arrival = Arrival(now, number)
        name = binding.next_for(arrival)
        assert name is not None
        binding.began(BoundSession(1), arrival)
        busy.append((now + (answers_s if isinstance(answers_s, float) else answers_s.expovariate(1.0)), name))
        sent.append(name)
    return sent


def test_two_runs_agree_arrival_by_arrival_however_fast_their_engines_are() -> None:
    quick = classes_sent(0.001)
    assert quick == classes_sent(2.0) == classes_sent(Random(5))
    assert Counter(quick)["Clerk"] == pytest.approx(25, abs=3)


def test_users_whose_sessions_are_cut_wait_as_their_own_class() -> None:
    binding: Binding[str] = Binding(of_user=lambda number: "AB"[number % 2])
    for name in "AB":
        session = BoundSession(3)
        binding.began(session, Arrival(0.0, 0))
        binding.wait(session, name, name)
    binding.begin_phase((), goes_on=False)
    assert [binding.next_for(Arrival(1.0, number)) for number in (1, 2)] == ["B", "A"]
