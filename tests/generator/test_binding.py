"""Arrivals of the open loop bound to sessions and turns: the same work at arrival n, whatever the engine does."""

from __future__ import annotations

from random import Random

import pytest

from tokenswarm.base.presence import present
from tokenswarm.generator.binding import FIRST_TOKEN_S, TOKEN_S, Arrival, Binding, BoundSession, Places, pauses
from tokenswarm.scenario.distribution import Distribution


def played(
    answers_s: Random | float,
    *,
    arrivals: int = 400,
    rate: float = 5.0,
    users: int = 1000,
    turns: int = 3,
    pause_s: float = 2.0,
) -> list[tuple[int, int] | None]:
    """What each arrival sent, as (session, turn), if answers take so long (or exponential times of 1 s on average)."""
    binding: Binding[object] = Binding(lambda _: BoundSession(turns, lambda: pause_s))
    busy: list[tuple[float, int, BoundSession]] = []
    number_of: dict[BoundSession, int] = {}
    turn_of: dict[BoundSession, int] = {}
    sent: list[tuple[int, int] | None] = []
    for _ in range(users):
        binding.wait(None, "free")
    rng, now = Random(3), 0.0
    for number in range(arrivals):
        now += rng.expovariate(rate)
        for entry in sorted(busy, key=lambda entry: entry[:2]):
            if entry[0] <= now:
                busy.remove(entry)
                session = entry[2]
                if turn_of[session] < turns:
                    binding.wait(session, session)
                else:
                    binding.end(session)
                    binding.wait(None, "free")
        session = binding.next_for(Arrival(now, number))
        if session == "free":
            session = BoundSession(turns, lambda: pause_s)
            number_of[session] = number
            binding.began(session, Arrival(now, number))
        if session is not None:
            turn_of[session] = turn_of.get(session, 0) + 1
        sent.append(None if session is None else (number_of[session], turn_of[session]))
        if session is not None:
            answer_s = answers_s if isinstance(answers_s, float) else answers_s.expovariate(1.0)
            busy.append((now + answer_s, number, session))
    return sent


def test_the_same_arrivals_send_the_same_turns_however_fast_the_answers_come() -> None:
    assert played(0.01) == played(0.5) == played(1.99)


def test_an_arrival_begins_the_session_of_its_number_and_later_turns_come_a_pause_after_the_place_before() -> None:
    sent = played(0.01)
    places: dict[int, list[int]] = {}
    for arrival, (session, turn) in enumerate(sent):
        places.setdefault(session, []).append(arrival)
        assert turn == len(places[session])
    assert all(session == arrivals[0] for session, arrivals in places.items())
    assert all(len(places[session]) == 3 for session in list(places)[:50])


def test_a_slow_answer_moves_the_turns_around_it_only() -> None:
    """Answers of 1 s on average against a pause of 2 s: one place in seven is missed, and little else is moved."""
    quick, slow = played(0.01, arrivals=2000), played(Random(11), arrivals=2000)
    assert None not in slow
    same = [one == other for one, other in zip(quick, slow, strict=True)]
    assert sum(same) / len(same) > 0.7
    assert sum(same[-500:]) / 500 > 0.7, "the two do not drift apart"
    assert abs(sum(turn == 1 for _, turn in quick) - sum(turn == 1 for _, turn in slow)) < 20


def test_no_arrival_waits_for_a_session_while_any_user_is_free() -> None:
    assert None not in played(1000.0, arrivals=900), "an engine that never answers: each arrival begins a session"
    assert [turn for _, turn in played(1000.0, arrivals=900)] == [1] * 900


def test_sessions_that_wait_for_their_places_go_on_before_them_where_nobody_else_is_left() -> None:
    sent = played(0.001, users=4, rate=50.0)
    assert None not in sent
    assert {turn for _, turn in sent} == {1, 2, 3}


def test_an_arrival_finds_nobody_while_all_are_in_flight() -> None:
    assert played(1000.0, users=3, arrivals=5) == [(0, 1), (1, 1), (2, 1), None, None]


def begun(binding: Binding[str], turns: int | None, pause_s: float = 1.0) -> BoundSession:
    """A session that has begun at 0."""
    session = BoundSession(turns, lambda: pause_s)
    binding.began(session, Arrival(0.0, 0))
    return session


def senders(binding: Binding[str], *dues: float) -> list[str | None]:
    """Who sends the arrivals that are due then, each numbered by the tenths of seconds of its time."""
    return [binding.next_for(Arrival(due, round(10 * due))) for due in dues]


def test_a_session_that_ends_early_leaves_its_places_to_others() -> None:
    binding: Binding[str] = Binding()
    binding.end(begun(binding, 3))
    binding.wait(None, "free")
    assert senders(binding, 2.0) == ["free"] and binding.moved == 0


def test_a_turn_that_missed_its_place_takes_the_next_arrival_that_would_have_begun_a_session() -> None:
    binding: Binding[str] = Binding()
    slow = begun(binding, 2)
    for _ in range(3):
        binding.wait(None, "free")
    assert (senders(binding, 1.5), binding.moved) == (["free"], 1)
    binding.wait(slow, "slow")
    assert senders(binding, 1.6, 1.7) == ["slow", "free"]


def test_places_of_a_session_that_was_left_out_are_for_those_that_lost_theirs() -> None:
    """The arrival at 1.5 begins one that was not planned, in place of a slow turn. That at 1.6 is the slow turn's, and
    the place of the second turn of the session that it would have begun goes to the one that was not planned."""
    binding: Binding[str] = Binding(lambda _: BoundSession(2, lambda: 1.0))
    slow = begun(binding, 2)
    for _ in range(2):
        binding.wait(None, "free")
    assert senders(binding, 1.5) == ["free"]
    extra = BoundSession(2, lambda: 1.0)
    binding.began(extra, Arrival(1.5, 15))
    binding.wait(slow, "slow")
    assert senders(binding, 1.6) == ["slow"]
    binding.wait(extra, "extra")
    assert senders(binding, 1.7) == ["free"], "a session that is planned begins"
    assert senders(binding, 2.7) == ["extra"]


def test_where_sessions_are_cut_nobody_goes_on_and_no_place_is_kept() -> None:
    binding: Binding[str] = Binding()
    waiting, asking = begun(binding, 3), begun(binding, 3)
    binding.wait(waiting, "waiting")
    binding.begin_phase((), goes_on=False)
    binding.wait(asking, "asking")
    assert set(senders(binding, 5.0, 6.0)) == {"waiting", "asking"} and binding.moved == 0
    assert waiting.over and asking.over


def test_sessions_of_the_phase_before_go_on_at_the_places_of_those_that_are_under_way() -> None:
    binding: Binding[str] = Binding()
    waiting, asking = begun(binding, 3), begun(binding, 3)
    binding.wait(waiting, "waiting")
    binding.begin_phase([Places(5.0, 1, float), Places(6.0, 1, float)], goes_on=True)
    for _ in range(3):
        binding.wait(None, "free")
    binding.wait(asking, "asking")
    assert senders(binding, 4.0, 5.0, 6.0, 7.0) == ["free", "waiting", "asking", "free"]


def test_nobody_waits_for_ever_for_a_place_that_never_comes() -> None:
    binding: Binding[str] = Binding()
    binding.wait(begun(binding, 3), "waiting")
    binding.begin_phase((), goes_on=True)
    for _ in range(9):
        binding.wait(None, "free")
    assert "waiting" in senders(binding, *range(1, 60, 10))


def test_a_session_of_unknown_length_goes_on_with_the_next_arrival() -> None:
    binding: Binding[str] = Binding()
    session = begun(binding, None)
    binding.wait(None, "free")
    binding.wait(session, "own")
    assert senders(binding, 1.0, 2.0) == ["own", "free"]


def test_a_user_who_leaves_is_given_nothing() -> None:
    binding: Binding[str] = Binding()
    session = begun(binding, 2)
    binding.wait(None, "gone")
    binding.wait(session, "gone too")
    binding.leave(None, "gone")
    binding.leave(session, "gone too")
    assert senders(binding, 2.0) == [None]


@pytest.mark.parametrize("mean", [0.0, 4.0])
def test_pauses_hold_time_for_the_answer_and_to_think_and_are_the_session_s_own(mean: float) -> None:
    think = Distribution(kind="exponential", mean=mean) if mean else Distribution(kind="constant", value=0.0)
    one, again, other = (pauses(1, name, think, 100) for name in ("measure-000001", "measure-000001", "measure-000002"))
    drawn = [one() for _ in range(5)]
    assert drawn == [again() for _ in range(5)]
    assert min(drawn) >= FIRST_TOKEN_S + 100 * TOKEN_S
    assert (drawn == [other() for _ in range(5)]) == (mean == 0.0)


class SearchesThePlan(Binding[int]):
    """Finds the ready session whose place comes first by looking at the whole plan, and holds the product to it."""

    def __init__(self) -> None:
        super().__init__(lambda _: BoundSession(3, lambda: 1.0))
        self.checked = 0

    def _before_its_place(self) -> int | None:
        places = [entry for entry in self._plan if entry[2].owner in self._ready]
        expected = self._ready[present(min(places)[2].owner)] if places else None
        if not any(self._without.values()):
            self.checked += bool(places)
            waiter = super()._before_its_place()
            assert waiter == expected
            return waiter
        return super()._before_its_place()


def test_the_session_that_goes_on_early_is_the_one_whose_place_comes_first() -> None:
    rng, binding, now = Random(5), SearchesThePlan(), 0.0
    in_flight: list[tuple[float, int]] = []
    turn: dict[int, int] = {}
    for user in range(40):
        binding.wait(None, user)
    session_of: dict[int, BoundSession] = {}
    for number in range(4000):
        now += rng.expovariate(60.0)
        for entry in sorted(entry for entry in in_flight if entry[0] <= now):
            in_flight.remove(entry)
            user = entry[1]
            turn[user] += 1
            if turn[user] <= 3:
                binding.wait(session_of[user], user)
            else:
                binding.end(session_of.pop(user))
                binding.wait(None, user)
        arrival = Arrival(now, number)
        user = binding.next_for(arrival)
        if user is None:
            continue
        if user not in session_of:
            session_of[user], turn[user] = BoundSession(3, lambda: rng.choice([1.0, 5.0, rng.expovariate(1.0)])), 1
            binding.began(session_of[user], arrival)
        in_flight.append((now + rng.expovariate(4.0), user))
    assert binding.checked > 500
    assert len(binding._early) <= len(binding._plan) + 40  # what is stale does not gather
