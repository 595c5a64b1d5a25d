"""Which session a user begins depends on the user, the phase and on how many it had in it: on nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenswarm import workloads
from tokenswarm.base.config_text import parse_set
from tokenswarm.contract.phases import Pace, Timeline
from tokenswarm.generator.binding import Arrival
from tokenswarm.generator.session_stream import NoMoreSessions, SessionStream, Share, prime_from, session_number
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.workloads.corpus import load_corpus


def stream(overrides: str = "") -> SessionStream:
    scenario = load_scenario("rag", parse_set(overrides))
    return SessionStream(workloads.create(scenario, load_corpus(), 1, "salt"), scenario, scenario)


def timeline() -> Timeline:
    line = Timeline(1000.0)
    line.set_window(1010.0, 60.0, 5.0)
    return line


def names(sessions: SessionStream, phase: str, users: list[int]) -> list[str]:
    return [sessions.next(phase, user, timeline(), 1001.0, None).conversation for user in users]


def begun_by(sessions: SessionStream, phase: str, arrivals: list[int]) -> list[str]:
    return [
        sessions.next(phase, 0, timeline(), 1001.0, Arrival(1001.0 + number, number)).conversation
        for number in arrivals
    ]


def test_measured_sessions_are_the_same_whatever_happened_in_the_warm_up() -> None:
    one, other = stream(), stream()
    names(one, "warmup", [0, 1, 2, 0, 1, 5])
    names(other, "warmup", [5, 2, 1, 0])
    assert names(one, "measure", [0, 0, 1, 2]) == names(other, "measure", [0, 0, 1, 2])
    assert names(one, "measure", [5, 5]) == ["measure-000005", "measure-000022"]


def test_a_user_s_first_session_is_under_way_and_the_next_ones_are_not() -> None:
    begun = names(stream(), "warmup", [0, 0, 0])
    assert [name.partition("-")[0] for name in begun] == ["before", "warmup", "warmup"]
    without_warmup = names(stream(), "measure", [0, 0])
    assert [name.partition("-")[0] for name in without_warmup] == ["before", "measure"]


SHELF = "rag.documents=6 rag.new_documents_per_minute=60 user.think_time_s=2"


def documents(pace_s: float, sessions: int = 40) -> list[list[str]]:
    """What each of three users reads in the measured phase, if an answer really takes so long."""
    made, line = stream(SHELF), timeline()
    line.pace = Pace(10.0, 1.0)
    read: list[list[str]] = [[], [], []]
    now = [1010.0] * 3
    for user in range(3):
        made.next("warmup", user, line, 1001.0, None)
        for _ in range(sessions):
            session = made.next("measure", user, line, now[user], None)
            read[user].append(next(iter(session)).document)
            now[user] += (session.turns or 0) * (pace_s + 2.0)
    return read


def test_in_a_closed_loop_what_a_session_reads_does_not_depend_on_how_fast_the_engine_is() -> None:
    assert documents(0.2) == documents(1.0) == documents(5.0)


def test_documents_are_replaced_at_the_rate_of_the_scenario_where_answers_take_as_long_as_in_the_warm_up() -> None:
    """40 sessions of about 3 questions of 3 s: at one document a second, of 6, each user's last one is about no. 60."""
    made, line = stream(SHELF), timeline()
    line.pace = Pace(10.0, 1.0)
    made.next("warmup", 0, line, 1001.0, None)
    now = 1010.0
    for _ in range(100):
        session = made.next("measure", 0, line, now, None)
        document = next(iter(session)).document
        generation = int(document.partition(".")[2] or 0)
        assert generation == pytest.approx((now - 1000.0) / 6, abs=4), "within one session of the plan, and one place"
        now += (session.turns or 0) * 3.0


def test_a_user_who_comes_in_the_measured_phase_is_planned_from_the_second_at_which_it_comes() -> None:
    def read(now: float) -> str:
        made, line = stream(SHELF), timeline()
        line.pace = Pace(10.0, 1.0)
        made.next("measure", 9, line, now, None)
        return next(iter(made.next("measure", 9, line, now + 30.0, None))).document

    assert read(1030.02) == read(1029.98) != read(1040.0)


def test_an_arrival_of_the_open_loop_finds_what_is_there_by_the_plan_whenever_the_measured_phase_begins() -> None:
    def read(begins: float) -> list[str]:
        made, line = stream(f"{SHELF} load.rate=1"), Timeline(1000.0)
        line.set_window(begins, 60.0, 5.0)
        line.pace = Pace(10.0)
        due = (Arrival(begins + number, number) for number in range(50))
        return [next(iter(made.next("measure", 0, line, 0.0, each))).document for each in due]

    assert read(1010.0) == read(1010.4)


def test_where_prompts_are_cold_every_session_begins_at_its_beginning() -> None:
    assert names(stream("prompts.state=cold"), "warmup", [0, 1]) == ["warmup-000000", "warmup-000001"]


def test_an_open_loop_begins_with_sessions_under_way_until_their_later_turns_come() -> None:
    # A pause of 1 s + 128 x 50 ms + 0.5 s to think, at 10 arrivals/s: 79 arrivals.
    sessions = stream("load.rate=10")
    begun = [name.partition("-")[0] for name in begun_by(sessions, "warmup", list(range(100)))]
    assert begun == ["before"] * 79 + ["warmup"] * 21


def test_in_an_open_loop_an_arrival_begins_the_session_of_its_number() -> None:
    assert begun_by(stream("load.rate=10"), "measure", [0, 3, 7]) == [
        "measure-000000",
        "measure-000003",
        "measure-000007",
    ]


@pytest.mark.parametrize("planned", [1, 2, 6, 16, 33])
def test_no_two_users_ever_get_the_same_session_also_where_more_came_than_were_planned(planned: int) -> None:
    numbers = [session_number(user, turn, planned) for user in range(100) for turn in range(200)]
    assert len(set(numbers)) == len(numbers)


def test_planned_users_fill_the_numbers_nearly_without_gaps() -> None:
    numbers = {session_number(user, turn, 16) for user in range(16) for turn in range(100)}
    assert max(numbers) < 1.1 * len(numbers)


@pytest.mark.parametrize("kinds", [2, 3, 5])
def test_a_workload_that_deals_its_kinds_by_number_gives_each_user_all_of_them(kinds: int) -> None:
    for planned in (8, 16, 30, 64):
        for user in (0, planned - 1):
            assert {session_number(user, turn, planned) % kinds for turn in range(kinds)} == set(range(kinds))


def test_the_distance_is_the_next_prime() -> None:
    assert [prime_from(least) for least in (0, 2, 3, 4, 16, 32, 64, 90)] == [2, 2, 3, 5, 17, 37, 67, 97]


def test_sessions_that_are_sent_once_are_dealt_out_in_order_over_all_processes(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text("".join(f'{{"prompt": "Question {n}"}}\n' for n in range(7)), "utf-8")
    scenario = load_scenario("dataset", parse_set("dataset.order=once"), str(tmp_path / "d.jsonl"))
    processes = [
        SessionStream(workloads.create(scenario, load_corpus(), 1, ""), scenario, scenario, Share(index, 2))
        for index in range(2)
    ]
    begun: list[list[str]] = []
    for process in processes:
        names(process, "warmup", [0, 3, 0])
        mine: list[str] = []
        while not process.exhausted:
            mine += names(process, "measure", [len(mine) % 3])
        with pytest.raises(NoMoreSessions):
            names(process, "measure", [0])
        begun.append(mine)
    assert begun == [[f"measure-{n:06d}" for n in range(0, 7, 2)], [f"measure-{n:06d}" for n in range(1, 7, 2)]]
