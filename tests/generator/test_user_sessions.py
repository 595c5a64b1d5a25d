"""Which sessions a user begins and continues, as the run goes from its warm-up into its measured phase."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from gevent.event import Event
from gevent.lock import Semaphore
from gevent.pool import Group
from locust import task
from locust.exception import RescheduleTaskImmediately, StopUser

from tokenswarm.base.config_text import parse_set
from tokenswarm.client.answer import Answer
from tokenswarm.contract.phases import Timeline
from tokenswarm.generator.binding import Arrival, BoundSession
from tokenswarm.generator.plan import ClassPlan
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.users import LLMUser
from tokenswarm.workloads import create
from tokenswarm.workloads.base import Prompt, Session
from tokenswarm.workloads.corpus import load_corpus

MEASURE_START = 10.0


class Reader(LLMUser):
    """Any user."""


class FakeProcess:
    """As much of a load process as a user sees. `arrivals` are handed out in turn; without them the loop is closed."""

    def __init__(self, state: str, arrivals: list[float] | None = None) -> None:
        scenario = load_scenario("rag", parse_set(f"prompts.state={state} rag.questions_per_reader=3"))
        self.plan = SimpleNamespace(seed=7, salt="", of=lambda _: ClassPlan(scenario))
        self.workload = create(scenario, load_corpus(), 7, "")
        self.timeline = Timeline(0.0)
        self.timeline.set_window(MEASURE_START, 100.0, 1.0)
        self.now, self.arrivals, self.begun, self.sent, self.bound = 1.0, arrivals, [], [], []

    @property
    def open_loop(self) -> bool:
        return self.arrivals is not None

    def phase(self) -> str:
        return self.timeline.phase_at(self.now)

    def next_user(self, _: str = "") -> int:
        return 5

    def next_arrival(self, _: Any, user_class: str = "") -> Arrival | None:
        if self.arrivals is None:
            return None
        due = self.arrivals.pop(0)
        self.now = max(self.now, due)
        return Arrival(due, int(due))

    def next_session(self, phase: str, user_class: str, user: int, arrival: Arrival | None) -> Any:
        self.begun.append((phase, user))
        return self.workload.session(phase, sum(each == phase for each, _ in self.begun) - 1)

    def bind(self, session: Any, user_class: str, arrival: Arrival) -> BoundSession:
        self.bound.append((session.conversation, arrival.due))
        return BoundSession(session.turns)

    def end_session(self, session: BoundSession) -> None:
        pass

    def session_over(self) -> None:
        pass

    def send(
        self, prompt: Any, phase: str, user_class: str, scheduled_at: float | None, attempt: int, continuing: bool
    ) -> Answer:
        self.sent.append((prompt.conversation, prompt.turn, phase, continuing, scheduled_at))
        return Answer(status="ok", e2e_ms=1.0)


def user_of(process: FakeProcess, of: type[Any] = Reader) -> Any:
    fire = SimpleNamespace(fire=lambda **_: None)
    return of(
        SimpleNamespace(
            tokenswarm=SimpleNamespace(process=process, gave_up=False), events=SimpleNamespace(request=fire)
        )
    )


def test_a_session_of_the_warm_up_goes_on_and_the_next_one_is_the_first_of_the_measured_phase() -> None:
    process = FakeProcess("steady")
    user = user_of(process)
    for prompt in user.next_session():
        user.ask(prompt)
        process.now = MEASURE_START + 1
    user.ask(next(iter(user.next_session())))
    assert [row[:4] for row in process.sent] == [
        ("warmup-000000", 1, "warmup", False),
        ("warmup-000000", 2, "measure", True),
        ("warmup-000000", 3, "measure", True),
        ("measure-000000", 1, "measure", False),
    ]
    assert process.begun == [("warmup", 5), ("measure", 5)]


@pytest.mark.parametrize("state", ["steady", "cold"])
def test_an_open_loop_s_session_begins_with_its_arrival_and_sends_it(state: str) -> None:
    process = FakeProcess(state, [12.0, 14.0])
    user = user_of(process)
    user.ask(next(iter(user.next_session())))
    user.ask(next(iter(user.next_session())))
    assert process.bound == [("measure-000000", 12.0), ("measure-000001", 14.0)]
    assert process.sent == [
        ("measure-000000", 1, "measure", False, 12.0),
        ("measure-000001", 1, "measure", False, 14.0),
    ]


@pytest.mark.parametrize("state", ["steady", "cold"])
def test_a_session_of_which_nothing_was_sent_yet_makes_room_for_a_measured_one(state: str) -> None:
    process = FakeProcess(state)
    user = user_of(process)
    prompt = next(iter(user.next_session()))
    process.now = MEASURE_START + 1
    with pytest.raises(RescheduleTaskImmediately):
        user.ask(prompt)
    user.ask(next(iter(user.next_session())))
    assert process.sent == [("measure-000000", 1, "measure", False, None)]


def test_where_prompts_are_cold_it_is_given_up() -> None:
    process = FakeProcess("cold")
    user = user_of(process)
    prompts = iter(user.next_session())
    user.ask(next(prompts))
    process.now = MEASURE_START + 1
    with pytest.raises(RescheduleTaskImmediately):
        user.ask(next(prompts))
    user.ask(next(iter(user.next_session())))
    assert [row[:3] for row in process.sent] == [("warmup-000000", 1, "warmup"), ("measure-000000", 1, "measure")]


def test_an_arrival_that_was_due_in_the_warm_up_is_nobody_s_in_the_measured_phase() -> None:
    process = FakeProcess("steady", [1.5, 9.9, 12.0])
    user = user_of(process)
    prompts = iter(user.next_session())
    user.ask(next(prompts))
    process.now = MEASURE_START + 0.5
    user.ask(next(prompts))
    assert process.sent[-1] == ("warmup-000000", 2, "measure", True, 12.0)


def test_a_cold_session_keeps_the_measured_arrival_that_found_it_in_the_warm_up() -> None:
    process = FakeProcess("cold", [1.5, 12.0])
    user = user_of(process)
    prompts = iter(user.next_session())
    user.ask(next(prompts))
    with pytest.raises(RescheduleTaskImmediately):
        user.ask(next(prompts))
    user.ask(next(iter(user.next_session())))
    assert process.sent[-1][4] == 12.0 and process.bound[-1] == ("measure-000000", 12.0)


def test_nothing_is_begun_or_sent_after_the_measured_phase() -> None:
    process = FakeProcess("steady")
    user = user_of(process)
    prompt = next(iter(user.next_session()))
    process.now = 1000.0
    for ask in (lambda: user.ask(prompt), user.next_session):
        with pytest.raises(StopUser):
            ask()


def follow(user: Reader, session: Any) -> None:
    """As the locustfile of agents tells it."""
    for prompt in session:
        user.ask(prompt)
        user.together(follow, session.sub_sessions())
        user.think()


class Agent(Session):
    """A session of two turns, after the first of which others go on."""

    def __init__(self, name: str, helpers: tuple[Any, ...] = (), awaited: bool = True) -> None:
        super().__init__("measure", 0)
        self.name, self.helpers, self.turn, self.awaited = name, helpers, 0, awaited

    def __iter__(self) -> Any:
        for self.turn in (1, 2):
            yield Prompt([], self.name, self.turn, 0, pause_after_s=0.0)

    def sub_sessions(self) -> tuple[Any, ...]:
        return self.helpers if self.turn == 1 else ()


@pytest.mark.parametrize("arrivals", [None, [12.0, 14.0]], ids=["closed", "open"])
def test_sub_sessions_go_on_at_the_same_time_and_the_next_turn_waits_for_all(arrivals: list[float] | None) -> None:
    process = FakeProcess("steady", arrivals)
    process.now = MEASURE_START + 1
    send = process.send

    def send_slowly(*request: Any) -> Answer:
        gevent.sleep(0)
        return send(*request)

    process.send = send_slowly  # type: ignore[method-assign]
    user = user_of(process)
    user._session_phase = user._session_origin = "measure"
    user._session_sent = True
    follow(user, Agent("main", (Agent("a"), Agent("b"))))
    assert [row[:2] for row in process.sent] == [("main", 1), ("a", 1), ("b", 1), ("a", 2), ("b", 2), ("main", 2)]
    due = [row[4] for row in process.sent]
    assert due == ([None] * 6 if arrivals is None else [12.0, None, None, None, None, 14.0])
    assert user._asked == 6


def test_a_sub_session_that_nothing_awaits_goes_on_beside_the_next_turns_until_the_session_ends() -> None:
    process = FakeProcess("steady")
    process.now = MEASURE_START + 1
    send, others_are_done = process.send, Event()

    def send_slowly(*request: Any) -> Answer:
        if request[0].conversation == "slow":
            others_are_done.wait()
        return send(*request)

    process.send = send_slowly  # type: ignore[method-assign]
    user = user_of(process)
    user._session_phase, user._session_sent = "measure", True
    follow(user, Agent("main", (Agent("slow", awaited=False),)))
    assert [row[:2] for row in process.sent] == [("main", 1), ("main", 2)]
    others_are_done.set()
    user.next_session()
    assert [row[:2] for row in process.sent[2:]] == [("slow", 1), ("slow", 2)]


def test_a_sub_session_begins_when_its_agent_had_started_it() -> None:
    process = FakeProcess("steady")
    process.now = MEASURE_START + 1
    user = user_of(process)
    user._session_phase, user._session_sent = "measure", True
    late, soon = Agent("late"), Agent("soon")
    late.begins_after_s = 0.02
    follow(user, Agent("main", (late, soon)))
    assert [row[0] for row in process.sent] == ["main", "soon", "soon", "late", "late", "main"]


def test_what_a_helper_raises_is_raised_where_it_is_waited_for() -> None:
    process = FakeProcess("steady")
    user = user_of(process)
    user._session_phase, user._session_sent = "warmup", True
    sub = Agent("a")
    with pytest.raises(StopUser):
        process.now = MEASURE_START + 1000
        user.together(follow, (sub,))
    assert process.sent == []


class Leader(Reader):
    """Starts a sub-agent that nothing awaits, and goes on with its own turns."""

    @task
    def work(self) -> None:
        self._session_phase = self._session_origin = "measure"
        self._session_sent = True
        follow(self, Agent("main", (Agent("sub", awaited=False),)))
        raise StopUser


def led(process: FakeProcess, turns: int) -> tuple[Leader, Event]:
    """A user of Locust, in whose session so many turns are answered; its sub-agent's are once the event is set."""
    send, answers, sub = process.send, Semaphore(turns), Event()

    def answered(*request: Any) -> Answer:
        if request[0].conversation == "main":
            answers.acquire()
        else:
            sub.wait()
        return send(*request)

    process.now, process.send = MEASURE_START + 1, answered  # type: ignore[method-assign]
    user = user_of(process, Leader)
    user.start(Group())
    let_run()
    return user, sub


def let_run() -> None:
    for _ in range(20):
        gevent.sleep(0)


@pytest.mark.parametrize("turns", [1, 2], ids=["in its second turn", "while it waits for the sub-agent"])
def test_a_sub_agent_ends_with_a_user_that_is_taken_away(turns: int) -> None:
    process = FakeProcess("steady")
    user, sub = led(process, turns)
    user.stop(force=True)
    let_run()
    assert user.greenlet.dead
    sub.set()
    let_run()
    assert [row[0] for row in process.sent] == ["main"] * turns


def test_a_user_that_ends_by_itself_lets_its_sub_agent_finish() -> None:
    process = FakeProcess("steady")
    user, sub = led(process, 2)
    assert not user.greenlet.dead
    sub.set()
    user.greenlet.join()
    assert [row[:2] for row in process.sent] == [("main", 1), ("main", 2), ("sub", 1), ("sub", 2)]


def test_what_a_sub_agent_raises_that_nothing_awaits_is_counted_as_an_error_of_its_user() -> None:
    process = FakeProcess("steady")
    process.now = MEASURE_START + 1
    user = user_of(process)
    raised: list[dict[str, Any]] = []
    user.environment.events.user_error = SimpleNamespace(fire=lambda **what: raised.append(what))

    def story(*_: Any) -> None:
        raise ZeroDivisionError("a fault of the locustfile")

    user.together(story, (Agent("a", awaited=False),))
    user.next_session()
    [error] = raised
    assert error["user_instance"] is user and isinstance(error["exception"], ZeroDivisionError) and error["tb"]
