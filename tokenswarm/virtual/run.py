"""One run in virtual time: the load generator's own users, sessions, arrivals and phases, and the rows that it would
have written."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import cast

from tokenswarm.base.presence import present
from tokenswarm.client.answer import Answer
from tokenswarm.contract.manifest import WarmupRecord
from tokenswarm.contract.phases import Timeline
from tokenswarm.generator import warmup
from tokenswarm.generator.adapter_choice import adapter_of
from tokenswarm.generator.arrivals import Pacer
from tokenswarm.generator.binding import Arrival, Binding, BoundSession, bound_session, pauses
from tokenswarm.generator.request_body import constant_body, request_body
from tokenswarm.generator.rows import Origin, request_row
from tokenswarm.generator.schedule import (
    LEAD_S,
    Queue,
    listed_times,
    measured_times,
    warmup_times,
)
from tokenswarm.generator.session_stream import NoMoreSessions, SessionStream
from tokenswarm.generator.story import Ask, Pause, UserRules, asking, is_cut, thinking
from tokenswarm.generator.think_times import think_times
from tokenswarm.generator.under_way import places_under_way
from tokenswarm.scenario.model import Scenario
from tokenswarm.sim.config import Config
from tokenswarm.virtual.patience import Patience
from tokenswarm.virtual.simulated_engine import VirtualEngine
from tokenswarm.virtual.user import (
    Beside,
    NextArrival,
    NothingToSend,
    Story,
    Together,
    VirtualUser,
    Wait,
)
from tokenswarm.virtual.virtual_time import Clock
from tokenswarm.workloads import create
from tokenswarm.workloads.answer_checks import check_of, with_check
from tokenswarm.workloads.base import Prompt, Session
from tokenswarm.workloads.corpus import Corpus

Row = dict[str, object]
TICK_S = 1.0
_OBJECTS_A_COLLECTION = 100_000


@dataclass(frozen=True, slots=True)
class VirtualRun:
    """The result of a run. `rows`: as in requests.csv, in the order of their end; times in seconds since the run's
    start. `warmup`: how the warm-up ended, as in run.json. `unsent`, `arrivals_queued`, `moved`: arrivals of the open
    loop that were never sent, found no free user, or found that their session's turn was not ready."""

    rows: list[Row]
    timeline: Timeline
    warmup: WarmupRecord
    unsent: int = 0
    arrivals_queued: int = 0
    moved: int = 0

    def measured(self) -> Iterator[Row]:
        """The rows that count in figures."""
        return (row for row in self.rows if row["phase"] == "measure" and row["status"] != "cancelled")


def run(scenario: Scenario, config: Config, corpus: Corpus, *, seed: int = 1, salt: str = "virtual") -> VirtualRun:
    """Run a scenario against a simulated engine with an empty cache. The same arguments give the same rows."""
    with _fewer_collections():
        return _Run(scenario, config, corpus, seed, salt).play()


@contextmanager
def _fewer_collections() -> Iterator[None]:
    """Run the garbage collector less often. A run makes many objects that live until its end, and few cycles, which
    `play` breaks; with the usual settings, collection would take a fifth of the time."""
    usual = gc.get_threshold()
    gc.set_threshold(max(usual[0], _OBJECTS_A_COLLECTION) if usual[0] else 0, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


class _Run:
    def __init__(self, scenario: Scenario, config: Config, corpus: Corpus, seed: int, salt: str) -> None:
        self._scenario, self._load, self._seed = scenario, scenario.load, seed
        self._workload = create(scenario, corpus, seed, salt)
        self._body = constant_body(config.model, scenario.output)
        self._check = check_of(scenario.output)
        self._rules = UserRules(scenario.retry, scenario.phases_apart, scenario.open_loop)
        self._engine = VirtualEngine(config)
        self._clock = Clock()
        self._patience = Patience(self._clock, self._engine, scenario.timeouts)
        self._timeline = Timeline(0.0)
        self._users: list[VirtualUser] = []
        self._sessions = SessionStream(self._workload, scenario, scenario)
        self._rows: list[Row] = []
        self._numbers = 0
        self._answers: list[warmup.WarmupAnswer] = []
        """Answers of the warm-up."""
        self._in_flight: list[tuple[float, int]] = []
        """(time, requests in flight) in the warm-up."""
        self._warmup = WarmupRecord()
        self._phase_played = "warmup"
        self._binding: Binding[VirtualUser] = Binding(
            lambda number: self._bound(self._workload.session(self._phase_played, number))
        )
        self._queue: Queue | None = None
        recorded = self._workload.recorded_starts()
        planned = listed_times(self._load) if scenario.open_loop else None
        self._listed = planned if recorded is None else tuple(recorded)
        self._sessions_open = 0
        self._unsent = self._queued = 0

    # ---- the run as a whole

    def play(self) -> VirtualRun:
        """Play the run from the first user to the last row."""
        load, clock = self._load, self._clock
        if self._scenario.open_loop:
            # Locust starts all users at once. Here each is made when it gets its first arrival.
            full_since = 0.0
            self._play_arrivals("warmup")
        else:
            self._spawn(load.users)
            full_since = (load.users - 1) // load.spawn_rate
        least, limit = warmup.bounds(load, 0.0, full_since)
        if not self._rules.cold:
            clock.at(full_since, self._count_in_flight)
        clock.at(least, lambda: self._judge(full_since, limit))
        timeline, finite = self._timeline, self._sessions.finite
        self._until(lambda: clock.now >= timeline.measure_end or (finite and self._exhausted()))
        self._timeline.end_measuring(clock.now, load.drain_s)
        self._unsent = self._queue.length if self._queue is not None else 0
        self._queue = None
        self._until(lambda: clock.now >= self._timeline.stop_by or not self._engine.live)
        for user in self._users:
            self._leave(user)
            user.story = None
        clock.forget()
        return VirtualRun(self._rows, self._timeline, self._warmup, self._unsent, self._queued, self._binding.moved)

    def _until(self, over: Callable[[], bool]) -> None:
        """Process events in order until the run is over."""
        clock, engine = self._clock, self._engine
        while not over():
            event_s = clock.next_s()
            ended = engine.compute(math.inf if event_s is None else event_s)
            for exchange in ended:
                clock.at(exchange.last_s, partial(engine.end, exchange))
            if not ended:
                if event_s is None:
                    return
                clock.step()

    def _exhausted(self) -> bool:
        """Whether the measured phase has a fixed number of sessions and all are over."""
        return self._sessions.exhausted and not self._sessions_open and self._phase() == "measure"

    def _count_in_flight(self) -> None:
        """Sample the requests in flight during the warm-up."""
        if self._timeline.measure_start == math.inf:
            self._in_flight.append((self._clock.now, len(self._engine.live)))
            self._clock.at(self._clock.now + warmup.SAMPLE_S, self._count_in_flight)

    def _judge(self, full_since: float, limit_s: float) -> None:
        """Whether the warm-up is over, by the phase controller's rule."""
        load, now = self._load, self._clock.now
        what = warmup.latency_name(self._scenario.output.stream)
        judgement = (
            warmup.judge(self._answers, 0.0, full_since, now)
            if self._rules.cold
            else warmup.judge_load(self._answers, self._in_flight, 0.0, full_since, now, what)
        )
        if not judgement.steady and now < limit_s:
            self._clock.at(min(now + warmup.JUDGE_S, limit_s), lambda: self._judge(full_since, limit_s))
            return
        self._warmup = warmup.ended(
            judgement, seconds=now, limit_s=load.warmup_most_s, fixed=load.warmup_s is not None, what=what
        )
        timeline = self._timeline
        timeline.pace = warmup.pace(load, judgement, self._answers, self._warmup)
        timeline.set_window(now + LEAD_S, load.duration_s, load.drain_s)
        self._clock.at(timeline.measure_start, self._begin_measuring)
        self._clock.at(timeline.measure_end, lambda: None)
        self._clock.at(timeline.stop_by, lambda: None)

    def _begin_measuring(self) -> None:
        if self._scenario.open_loop:
            places = (
                ()
                if self._rules.cold
                else places_under_way(
                    self._workload,
                    "measure",
                    self._scenario.user.think_time_s,
                    present(self._load.rate),
                    self._clock.now,
                )
            )
            self._binding.begin_phase(places, goes_on=not self._rules.cold)
            self._phase_played = "measure"
            self._play_arrivals("measure")
        elif self._load.shaped:
            self._shape()

    # ---- a closed loop's users

    def _spawn(self, count: int) -> None:
        """Add users at the scenario's spawn rate, in steps of one second like Locust."""
        for place in range(count):
            user = self._new_user()
            self._clock.at(self._clock.now + place // self._load.spawn_rate, partial(self._go_on, user))

    def _new_user(self) -> VirtualUser:
        user = VirtualUser(len(self._users))
        user.story = self._story(user)
        self._users.append(user)
        return user

    def _shape(self) -> None:
        now = self._clock.now
        if now >= self._timeline.measure_end:
            return
        here = [user for user in self._users if not user.gone]
        wanted = self._load.users_at(now - self._timeline.measure_start)
        self._spawn(wanted - len(here))
        for user in here[wanted:]:
            self._leave(user)
        self._clock.at(now + TICK_S, self._shape)

    def _leave(self, user: VirtualUser) -> None:
        """Remove a user and cancel its request in flight."""
        user.gone = True
        for helper in user.helpers:
            self._leave(helper)
        if user.request is not None:
            (exchange, origin, prompt), user.request = user.request, None
            self._engine.cancel(exchange)
            self._rows.append(request_row(origin, prompt, Answer(status="cancelled", sent_at=exchange.sent_s)))

    # ---- an open loop's arrivals

    def _play_arrivals(self, phase: str) -> None:
        """Hand out the arrivals of a phase, one after another; arrivals still queued from the previous phase are
        dropped."""

        def times() -> Iterator[float]:
            return (
                warmup_times(self._load, self._seed)
                if phase == "warmup"
                else measured_times(self._load, self._seed, self._listed)
            )

        start, pacer = self._clock.now, Pacer(times())
        queue = self._queue = Queue(Pacer(times()), start)

        def arrive(number: int) -> None:
            due = start + pacer.due_s(number)
            if self._phase() != phase:
                return
            if not (queue.length or self._binding.anyone_free) and len(self._users) < self._load.max_in_flight:
                self._go_on(self._new_user())
            arrival = Arrival(due, number)
            user = self._binding.next_for(arrival)
            if user is None:
                self._queued += phase == "measure"
                queue.add()
            else:
                queue.pass_by(number)
                self._go_on(user, arrival)
            wait_for(number + 1)

        def wait_for(number: int) -> None:
            due = start + pacer.due_s(number)
            if math.isfinite(due):
                self._clock.at(due, lambda: arrive(number))

        wait_for(0)

    # ---- what a user does

    def _go_on(self, user: VirtualUser, outcome: object = None) -> None:
        """Continue a user's story with what it waited for, up to its next wait."""
        if user.gone:
            return
        try:
            wait = present(user.story).send(outcome)
            if (
                isinstance(wait, NextArrival)
                and wait.session is not None
                and (recorded := wait.session.next_recorded()) is not None
            ):
                due = recorded.due(self._timeline.measure_start, self._clock.now)
                arrival = Arrival(due, wait.session.number)
                self._clock.at(due, lambda: self._go_on(user, arrival))
                return
            while isinstance(wait, NextArrival) and self._queue is not None and self._queue.length:
                if wait.session is not None:
                    self._binding.took(wait.session)
                wait = present(user.story).send(Arrival(*self._queue.pop()))
        except (NothingToSend, StopIteration):
            user.gone = True
            if user.over is not None:
                user.over()
            return
        if isinstance(wait, Pause):
            self._clock.at(self._clock.now + wait.seconds, lambda: self._go_on(user))
        elif isinstance(wait, NextArrival):
            self._binding.wait(wait.session, user)
        elif isinstance(wait, Together):
            self._play_together(user, wait.sessions)
        elif isinstance(wait, Beside):
            user.waits_for_them = True
        else:
            self._send(user, cast(Ask, wait))

    def _story(self, user: VirtualUser) -> Story:
        """One session after another, like the locustfiles. A session ends after a failure."""
        while True:
            session = yield from self._next_session(user)
            yield from self._play(user, session)

    def _play(self, user: VirtualUser, session: Session) -> Story:
        if user.over is not None and session.begins_after_s > 0:
            yield Pause(session.begins_after_s)
        think = think_times(self._seed, session.conversation, self._scenario.user.think_time_s)
        for prompt in session:
            answer = yield from self._ask(user, prompt)
            if answer is None or not answer.ok:
                break
            session.record_answer(answer.text, answer.calls)
            if sub_sessions := session.sub_sessions():
                yield Together(tuple(sub_sessions))
            if (not self._scenario.open_loop or user.over is not None) and (
                pause := thinking(prompt.pause_after_s, think)
            ):
                yield pause
        if user.beside:
            yield Beside()

    def _play_together(self, user: VirtualUser, sessions: tuple[Session, ...]) -> None:
        """Helpers of the user play one session each; the user continues when all awaited ones have ended."""
        left = sum(session.awaited for session in sessions)

        def over() -> None:
            nonlocal left
            left -= 1
            if not left:
                self._go_on(user)

        def over_beside() -> None:
            user.beside -= 1
            if not user.beside and user.waits_for_them:
                user.waits_for_them = False
                self._go_on(user)

        user.helpers = [helper for helper in user.helpers if not helper.gone]
        started = []
        for session in sessions:
            helper = VirtualUser(user.number)
            helper.session_phase, helper.session_origin = user.session_phase, user.session_origin
            helper.session_sent, helper.over = True, over if session.awaited else over_beside
            user.beside += not session.awaited
            helper.story = self._play(helper, session)
            started.append(helper)
        user.helpers += started
        awaits = left > 0
        for helper in started:
            self._go_on(helper)
        if not awaits:
            self._go_on(user)

    def _next_phase(self, user: VirtualUser) -> Generator[Wait, object, str]:
        """The phase of the next request; in an open loop, waits for an arrival of that phase."""
        while True:
            if user.arrival is None and self._scenario.open_loop and user.over is None:
                user.arrival = cast(Arrival, (yield NextArrival(user.bound)))
            phase = self._phase()
            if phase == "drain":
                raise NothingToSend
            if user.arrival is None or self._timeline.phase_at(user.arrival.due) == phase:
                return phase
            user.arrival = None

    def _next_session(self, user: VirtualUser) -> Generator[Wait, object, Session]:
        user.session_sent = False
        self._sessions_open -= user.session_open
        user.session_open = False
        if user.bound is not None:
            self._binding.end(user.bound)
            user.bound = None
        phase = yield from self._next_phase(user)
        try:
            session = self._sessions.next(phase, user.number, self._timeline, self._clock.now, user.arrival)
        except NoMoreSessions:
            raise NothingToSend from None
        self._sessions_open += 1
        user.session_open = True
        if user.arrival is not None:
            user.bound = self._bound(session, user.arrival.number)
            self._binding.began(user.bound, user.arrival)
        user.session_phase, user.session_origin = phase, session.phase
        return session

    def _bound(self, session: Session, number: int = 0) -> BoundSession:
        return bound_session(
            session,
            number,
            pauses(self._seed, session.conversation, self._scenario.user.think_time_s, self._workload.answer_tokens),
        )

    def _ask(self, user: VirtualUser, prompt: Prompt) -> Generator[Wait, object, Answer | None]:
        """The answer to a prompt, or None if the next phase cut the session."""
        phase = yield from self._next_phase(user)
        if is_cut(phase, user.session_phase, self._rules, session_sent=user.session_sent):
            return None
        user.session_sent = True
        scheduled_s, user.arrival = None if user.arrival is None else user.arrival.due, None
        return (yield from asking(Ask(prompt, phase, scheduled_s), self._phase, self._rules))

    def _phase(self) -> str:
        return self._timeline.phase_at(self._clock.now)

    def _send(self, user: VirtualUser, ask: Ask) -> None:
        self._numbers += 1
        lora = self._scenario.lora
        adapter = adapter_of(lora, self._seed, ask.prompt.conversation)
        origin = Origin(
            "virtual",
            0,
            ask.phase,
            "",
            f"virtual-{self._numbers}",
            ask.scheduled_at,
            ask.attempt,
            self._numbers,
            user.session_origin != ask.phase,
            adapter=adapter,
        )

        def done(answer: Answer) -> None:
            user.request = None
            self._rows.append(request_row(origin, with_check(ask.prompt, self._check), answer))
            if ask.phase == "warmup" and answer.ok:
                e2e_ms = present(answer.e2e_ms)
                ttft_ms = e2e_ms if answer.ttft_ms is None else answer.ttft_ms
                usage = answer.usage
                self._answers.append(
                    (answer.sent_at + e2e_ms / 1e3, ttft_ms, usage.cached_tokens, usage.prompt_tokens, e2e_ms)
                )
            self._go_on(user, answer)

        body = request_body(self._body, ask.prompt, self._scenario.output.max_tokens)
        if adapter is not None:
            body["model"] = lora.asked_model(adapter, str(self._body["model"]))
        exchange = self._engine.send(body, self._clock.now, done)
        if isinstance(exchange, Answer):
            self._clock.at(self._clock.now, lambda: done(exchange))
            return
        user.request = (exchange, origin, ask.prompt)
        self._patience.watch(exchange)
