"""Arrivals of the open loop bound to sessions and turns: the same work at arrival n, whatever the engine does."""

from __future__ import annotations

from random import Random

import pytest

from tokenswarm.generator.binding import FIRST_TOKEN_S, TOKEN_S, Binding, BoundSession, pauses
from tokenswarm.scenario.distribution import Distribution


def played(answers_s: Random | float, *, arrivals: int = 400, rate: float = 5.0, users: int = 1000,
           turns: int = 3, pause_s: float = 2.0) -> list[tuple[int, int] | None]:
    """What each arrival sent, as (session, turn), if answers take so long (or exponential times of 1 s on average)."""
    binding: Binding[BoundSession] = Binding()
    busy: list[tuple[float, BoundSession]] = []
    sent: list[tuple[int, int] | None] = []

    def begin() -> BoundSession:
        session = BoundSession("measure", turns, lambda: pause_s)
        binding.wait(session, session)
        return session

    for _ in range(users):
        begin()
    rng, now = Random(3), 0.0
    for _ in range(arrivals):
        now += rng.expovariate(rate)
        for ready, session in sorted(busy):
            if ready <= now:
                busy.remove((ready, session))
                if session.sent < turns:
                    binding.wait(session, session)
                else:
                    binding.end(session)
                    begin()
        session = binding.next_for(now, "measure")
        sent.append(None if session is None else (session.number, session.sent))
        if session is not None:
            answer_s = answers_s if isinstance(answers_s, float) else answers_s.expovariate(1.0)
            busy.append((now + answer_s, session))
    return sent


def test_the_same_arrivals_send_the_same_turns_however_fast_the_answers_come() -> None:
    assert played(0.01) == played(0.5) == played(1.99)


def test_first_turns_begin_sessions_in_order_and_later_turns_come_a_pause_after_the_place_before() -> None:
    sent = played(0.01)
    firsts = [session for session, turn in sent if turn == 1]
    assert firsts == list(range(len(firsts)))
    places: dict[int, list[int]] = {}
    for arrival, (session, turn) in enumerate(sent):
        places.setdefault(session, []).append(arrival)
        assert turn == len(places[session])
    assert all(len(places[session]) == 3 for session in range(50))


def test_a_slow_answer_moves_the_turns_around_it_only() -> None:
    """Answers of 1 s on average against a pause of 2 s: one place in seven is missed, and nothing else is moved."""
    quick, slow = played(0.01, arrivals=2000), played(Random(11), arrivals=2000)
    assert None not in slow
    same = sum(one == other for one, other in zip(quick, slow, strict=True)) / len(quick)
    assert same > 0.6
    first_of = [[arrival for arrival, (_, turn) in enumerate(run) if turn == 1] for run in (quick, slow)]
    shifts = [abs(one - other) for one, other in zip(*first_of, strict=False)]
    assert max(shifts) < 40 and sum(shifts) / len(shifts) < 5


def test_no_arrival_waits_for_a_session_while_any_user_is_free() -> None:
    assert None not in played(1000.0, arrivals=900), "an engine that never answers: each arrival begins a session"
    assert [turn for _, turn in played(1000.0, arrivals=900)] == [1] * 900


def test_sessions_that_wait_for_their_places_go_on_before_them_where_nobody_else_is_left() -> None:
    sent = played(0.001, users=4, rate=50.0)
    assert None not in sent
    turns = {turn for _, turn in sent}
    assert turns == {1, 2, 3}


def test_an_arrival_finds_nobody_while_all_are_in_flight() -> None:
    sent = played(1000.0, users=3, arrivals=5)
    assert sent == [(0, 1), (1, 1), (2, 1), None, None]


def test_a_session_that_ends_early_leaves_its_places_to_first_turns() -> None:
    binding: Binding[str] = Binding()
    one, two = BoundSession("measure", 3, lambda: 1.0), BoundSession("measure", 3, lambda: 1.0)
    for name, session in (("one", one), ("two", two)):
        binding.wait(session, name)
    assert binding.next_for(0.0, "measure") == "one"
    binding.end(one)
    assert binding.next_for(2.0, "measure") == "two"


def test_users_who_stand_in_an_earlier_phase_come_after_those_of_this_one() -> None:
    binding: Binding[str] = Binding()
    binding.wait(BoundSession("warmup"), "old")
    binding.wait(BoundSession("measure"), "new")
    assert [binding.next_for(0.0, "measure") for _ in range(3)] == ["new", "old", None]


def test_a_session_of_unknown_length_goes_on_with_the_next_arrival() -> None:
    binding: Binding[str] = Binding()
    session = BoundSession("measure", None)
    binding.wait(session, "own")
    assert binding.next_for(0.0, "measure") == "own"
    binding.wait(BoundSession("measure"), "other")
    binding.wait(session, "own")
    assert [binding.next_for(1.0, "measure"), binding.next_for(2.0, "measure")] == ["own", "other"]


def test_a_user_who_leaves_is_given_nothing() -> None:
    binding: Binding[str] = Binding()
    session = BoundSession("measure")
    binding.wait(session, "gone")
    binding.leave(session)
    assert binding.next_for(0.0, "measure") is None


@pytest.mark.parametrize("mean", [0.0, 4.0])
def test_pauses_hold_time_for_the_answer_and_to_think_and_are_the_session_s_own(mean: float) -> None:
    think = Distribution(kind="exponential", mean=mean) if mean else Distribution(kind="constant", value=0.0)
    one, again, other = (pauses(1, name, think, 100) for name in ("measure-000001", "measure-000001", "measure-000002"))
    drawn = [one() for _ in range(5)]
    assert drawn == [again() for _ in range(5)]
    assert min(drawn) >= FIRST_TOKEN_S + 100 * TOKEN_S
    assert (drawn == [other() for _ in range(5)]) == (mean == 0.0)
