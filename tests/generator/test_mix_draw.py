"""Which class of a mix a session is of: shares that come out, and the same draw for the same arrival."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from tokenswarm.generator.binding import Arrival, Binding, BoundSession, Places
from tokenswarm.generator.mix_draw import ClassDraw
from tokenswarm.scenario.mix import Mix, MixPart

TURNS = {"Rag": 3.0, "Chat": 5.0, "Batch": 1.0}


def mix(of: str, **weights: float) -> Mix:
    weights = weights or {"Rag": 6, "Chat": 3, "Batch": 1}
    return Mix(
        of=of,
        parts=tuple(
            MixPart(scenario=name.lower(), user_class=name, weight=weight, base=name, locustfile="x.py")
            for name, weight in weights.items()
        ),
    )


def test_session_starts_come_in_their_shares_and_each_arrival_is_drawn_for_the_same_class_again() -> None:
    draw, again = (ClassDraw(mix("sessions"), 7, 0, TURNS) for _ in range(2))
    classes = [draw.by_number("measure", number) for number in range(20_000)]
    shares = {name: count / 20_000 for name, count in Counter(classes).items()}
    assert shares == pytest.approx({"Rag": 0.6, "Chat": 0.3, "Batch": 0.1}, abs=0.01)
    assert [again.by_number("measure", number) for number in reversed(range(200))] == classes[199::-1]
    assert classes[:50] != [ClassDraw(mix("sessions"), 8, 0, TURNS).by_number("measure", n) for n in range(50)]


def test_shares_of_requests_are_kept_to_within_a_session_of_each_class() -> None:
    draw, rng = ClassDraw(mix("requests"), 7, 0, TURNS), Random(3)
    sent: Counter[str] = Counter()
    for number in range(3000):
        turns = {name: rng.randint(1, round(2 * mean - 1)) for name, mean in TURNS.items()}
        name = draw.at_place("measure", number, None, turns.get)
        sent[name] += turns[name]
        for each, share in draw.shares.items():
            if number > 100:
                assert abs(sent[each] - share * sent.total()) <= 2 * 9, (number, sent)


def test_many_users_of_a_closed_loop_have_the_shares_between_them_after_a_few_sessions_each() -> None:
    draw = ClassDraw(mix("requests"), 7, 0, TURNS)
    sent: Counter[str] = Counter()
    for user in range(40):
        for _ in range(5):
            name = draw.for_user("measure", user)
            draw.sent_by("measure", user, name, round(TURNS[name]))
            sent[name] += round(TURNS[name])
    assert {name: count / sent.total() for name, count in sent.items()} == pytest.approx(draw.shares, abs=0.03)


def test_a_session_that_goes_on_from_the_warm_up_counts_as_the_users_first() -> None:
    alone = mix("requests", Chat=1, Batch=1)
    draw = ClassDraw(alone, 7, 0, TURNS)
    for user in range(20):
        draw.sent_by("measure", user, "Chat", 2)
        assert draw.for_user("measure", user) == "Batch", "its class has just had its turn"


def test_a_later_place_of_a_session_is_of_its_class_for_whoever_takes_it() -> None:
    draw = ClassDraw(mix("sessions"), 7, 0, TURNS)
    assert draw.at_place("measure", 5, "Chat", TURNS.get) == "Chat"
    assert draw.of_arrival("measure", 5) == "Chat"
    assert draw.of_arrival("measure", 6) == draw.by_number("measure", 6)


def test_expected_shares_of_requests_follow_from_the_lengths_of_sessions() -> None:
    assert ClassDraw(mix("requests"), 7, 0, TURNS).request_shares()["Chat"] == 0.3
    by_starts = ClassDraw(mix("sessions"), 7, 0, TURNS).request_shares()
    assert by_starts == pytest.approx({"Rag": 18 / 34, "Chat": 15 / 34, "Batch": 1 / 34})


def planned_classes(slow: bool) -> list[str]:
    """The classes of 400 arrivals, one a second, at an engine that is always ready in time, or never."""
    draw = ClassDraw(mix("requests"), 7, 0, TURNS)

    def session(number: int) -> BoundSession:
        name = draw.of_arrival("measure", number)
        return BoundSession(round(TURNS[name]), lambda: 4.0, user_class=name)

    binding: Binding[int] = Binding(
        session, lambda number, of_place: draw.at_place("measure", number, of_place, TURNS.get)
    )
    binding.begin_phase([Places(0.5, 3, lambda: 4.0, None, "Chat")], goes_on=True)
    busy: list[tuple[float, BoundSession, int]] = []
    users: dict[int, BoundSession] = {}
    for user in range(200):
        binding.wait(None, user)
    classes, left = [], {}
    for number in range(400):
        for entry in [each for each in busy if each[0] <= number]:
            busy.remove(entry)
            _, bound, user = entry
            if left[user]:
                binding.wait(bound, user)
            else:
                binding.end(bound)
                users.pop(user)
                binding.wait(None, user)
        arrival = Arrival(float(number), number)
        user = binding.next_for(arrival)
        assert user is not None
        if user not in users:
            users[user] = bound = session(number)
            left[user] = bound.turns
            binding.began(bound, arrival)
        left[user] -= 1
        classes.append(users[user].user_class)
        busy.append((number + (9.0 if slow else 1.0), users[user], user))
    return classes


def test_every_arrival_is_of_the_class_that_the_plan_has_there_however_slow_the_engine_is() -> None:
    quick, slow = planned_classes(slow=False), planned_classes(slow=True)
    assert quick == slow
    shares = {name: count / len(quick) for name, count in Counter(quick).items()}
    assert shares == pytest.approx({"Rag": 0.6, "Chat": 0.3, "Batch": 0.1}, abs=0.03)
