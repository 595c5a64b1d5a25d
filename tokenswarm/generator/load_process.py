"""One load-generating process: its client, prompts, and rows."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import gevent

from tokenswarm.base.endpoint import Endpoint, keys_of
from tokenswarm.base.foreign import printable
from tokenswarm.base.masking import masked
from tokenswarm.base.presence import present
from tokenswarm.client.answer import Answer
from tokenswarm.client.client import LLMClient, Timeouts
from tokenswarm.client.stream import unclosed_as_reasoning
from tokenswarm.contract.objectives import bounds_of
from tokenswarm.contract.phases import Timeline
from tokenswarm.contract.tables import (
    ANSWERS_JSONL,
    HOST_METRIC_COLUMNS,
    HOST_METRICS_CSV,
    PROMPTS_CSV,
    REQUEST_COLUMNS,
    REQUESTS_CSV,
    format_rows,
)
from tokenswarm.generator.account import LoadAccount
from tokenswarm.generator.adapter_choice import adapter_of
from tokenswarm.generator.binding import Arrival, BoundSession, Places, bound_session, pauses
from tokenswarm.generator.budget import BudgetShare
from tokenswarm.generator.dispatch import Dispatcher, PlannedSessions
from tokenswarm.generator.fingerprints import Fingerprints, fresh_key
from tokenswarm.generator.free_users import ClassShares
from tokenswarm.generator.host_sampler import Health
from tokenswarm.generator.kept_answers import KeptAnswers
from tokenswarm.generator.mix_draw import ClassDraw
from tokenswarm.generator.plan import ALL, Plan
from tokenswarm.generator.private_text import without_prompt
from tokenswarm.generator.request_body import constant_body, path_of, request_body
from tokenswarm.generator.rows import Origin, request_row, why_invalid
from tokenswarm.generator.session_stream import SessionStream, Share, UserProgress
from tokenswarm.generator.sinks import FLUSH_INTERVAL_S, Buffer, Sink
from tokenswarm.generator.trace_context import trace_context
from tokenswarm.generator.under_way import mean_turns, places_under_way
from tokenswarm.live.aggregate import Delta
from tokenswarm.scenario.mix import USERS
from tokenswarm.workloads import create
from tokenswarm.workloads.answer_checks import check_of, with_check
from tokenswarm.workloads.base import Prompt, Session, as_cached

_ERROR_CHARS, _ERROR_KINDS, _OTHER_ERRORS = 200, 10, "other errors"
"""Errors raised by tasks: longest kept message, most kinds, and the name for the rest."""
_FINISH_CHARS = 60
"""Longest kept finish_reason; engines' have a dozen characters."""


class LimitReached(Exception):
    """`load.max_requests` or `load.max_usd` is reached: this process sends nothing more."""


class _ClassLoad:
    """How this process loads for one class plan: its prompts, its client with its limits, its constant body."""

    def __init__(self, plan: Plan, name: str, share: Share, of_all_classes: UserProgress) -> None:
        of_class = plan.classes[name]
        limits, output, endpoint = of_class.limits, of_class.output, plan.endpoint_of(name)
        form = endpoint.form()
        self.workload = create(of_class.scenario, plan.corpus, plan.seed, plan.salt_of(name))
        self.client = LLMClient(
            Endpoint(plan.base_url, form),
            Timeouts(limits.connect_s, limits.first_token_s, limits.gap_s, limits.total_s),
            plan.api_key,
        )
        self.body = constant_body(plan.model, output, endpoint)
        self.endpoint = endpoint
        self.keys = keys_of(plan.api_key, form.secrets)
        self.max_tokens = output.max_tokens
        self.check = check_of(output)
        self.raw_reasoning = of_class.scenario.workload_settings.raw_reasoning
        self.bounds = bounds_of(of_class.slo)
        self.behaviour = of_class.behaviour
        self.sessions = SessionStream(self.workload, plan.scenario, of_class.scenario, share, of_all_classes)


def _fit_to_keep(answer: Answer, prompt: Prompt, load: _ClassLoad) -> Answer:
    """The answer without words of the prompt or keys in fields that a server may echo."""
    if answer.error_detail:
        answer.error_detail = printable(masked(without_prompt(answer.error_detail, prompt), load.keys))
    if answer.finish_reason:
        reason = without_prompt(answer.finish_reason, prompt)
        answer.finish_reason = printable(masked(reason, load.keys), _FINISH_CHARS)
    return answer


@dataclass(frozen=True, slots=True)
class Outlets:
    """Where a process hands over what it measured.

    `on_failure(error)` is called, once, when `sink` can no longer keep rows (OSError). `tell` is called with what
    happened since the last time, right after the rows about it were handed over.
    """

    sink: Sink
    on_failure: Callable[[OSError], object]
    tell: Callable[[Delta], object]


class LoadProcess:
    """What the users of this process share. `index`: its number among `plan.workers`. `clock_shift_s`: how far this
    machine's clock is ahead of the master's, in whose time rows are written. `hash_key`: for prompts.csv, the same for
    all processes of a run; a fresh one by default.
    """

    def __init__(
        self,
        plan: Plan,
        index: int,
        timeline: Timeline,
        outlets: Outlets,
        clock_shift_s: float = 0.0,
        hash_key: bytes | None = None,
    ) -> None:
        scenario = plan.scenario
        self.plan = plan
        self.index = index
        self.timeline = timeline
        self._slice = Delta()
        self._tell = outlets.tell
        self.simulated_answers = 0
        self.oddities: Counter[str] = Counter()
        """Number of answers by harmless oddity."""
        self._user_errors: Counter[str] = Counter()
        self._clock_shift_s = clock_shift_s
        self._sink = outlets.sink
        self._buffer = Buffer(outlets.sink)
        self._fingerprints = Fingerprints(hash_key or fresh_key())
        self._kept = KeptAnswers(scenario.output.keep_answers)
        self._on_failure = outlets.on_failure
        self._failed = False
        share, begun = Share(index, plan.workers), UserProgress()
        self._budget = BudgetShare(scenario.load, share)
        self._loads = {
            name: _ClassLoad(plan, name, share, begun) for name in plan.classes if name != ALL or scenario.mix is None
        }
        self._draw = self._class_draw()
        self._numbered: int | None = None
        self.in_flight: Counter[str] = Counter()
        """Requests in flight by user class."""
        self._users, self._shares = 0, ClassShares(plan.seed)
        self._sessions_open = 0
        self._requests = 0
        self._dispatcher = self._open_loop() if scenario.open_loop else None
        self.health = Health(f"worker {index}", lambda: self.requests_in_flight, self._host_row)
        self._flusher = gevent.spawn(self._flush_forever)

    # ---- what users ask for

    def phase(self) -> str:
        """`warmup`, `measure` or `drain`, now."""
        return self.timeline.phase_at(time.time())

    def next_session(self, phase: str, user_class: str = ALL, user: int = 0, arrival: Arrival | None = None) -> Session:
        """The session that a user begins now, in an open loop with that arrival; workers never repeat each other's. See
        `session_stream`. Raises `NoMoreSessions` after the last one of a workload that has so many in all."""
        session = self._load_of(user_class).sessions.next(phase, user, self.timeline, time.time(), arrival)
        self._sessions_open += 1
        return session

    def session_over(self) -> None:
        """A user's session is over."""
        self._sessions_open -= 1

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left to send: a limit of the run is reached, or each session of a measured phase that has
        so many in all was begun by its process, and is over."""
        return self._budget.over or (
            self._sessions_open == 0
            and self.phase() == "measure"
            and all(load.sessions.exhausted for load in self._loads.values() if load.sessions.finite)
            and any(load.sessions.finite for load in self._loads.values())
        )

    def bind(self, session: Session, user_class: str, arrival: Arrival) -> BoundSession | None:
        """Open loop: a session has begun with that arrival; its later turns get places."""
        if self._dispatcher is None:
            return None
        bound = self._bound(session, user_class, arrival.number)
        self._dispatcher.began(bound, arrival)
        return bound

    def _bound(self, session: Session, user_class: str, number: int = 0) -> BoundSession:
        return bound_session(
            session,
            number,
            pauses(
                self.plan.seed,
                session.conversation,
                self.plan.of(user_class).behaviour.think_time_s,
                self._load_of(user_class).workload.answer_tokens,
            ),
            user_class if self._draw is not None else ALL,
        )

    def _open_loop(self) -> Dispatcher:
        """The arrivals of this process. Planned are sessions of the leading scenario, or of the class that a mix drew;
        else which class of several gets an arrival is known only then."""
        plan, load, draw = self.plan, self.plan.scenario.load, self._draw
        shares = {ALL: 1.0} if draw is None else draw.request_shares()

        def session(phase: str, number: int, user_class: str) -> Session:
            return self._load_of(user_class).workload.session(phase, number)

        def begun(phase: str, number: int) -> BoundSession:
            user_class = ALL if draw is None else draw.of_arrival(phase, number)
            return self._bound(session(phase, number, user_class), user_class)

        def class_at(phase: str, number: int, of_place: str | None) -> str:
            return (
                ALL
                if draw is None
                else draw.at_place(phase, number, of_place, lambda user_class: session(phase, number, user_class).turns)
            )

        def under_way(phase: str, start: float) -> list[Places]:
            return [
                places
                for user_class, share in shares.items()
                for places in places_under_way(
                    self._load_of(user_class).workload,
                    phase,
                    self._load_of(user_class).behaviour.think_time_s,
                    share * present(load.rate) / plan.workers,
                    start,
                    user_class,
                )
            ]

        planned = PlannedSessions(
            begun,
            None if plan.scenario.phases_apart else under_way,
            self._load_of(ALL).workload.recorded_starts(),
            class_at,
            self._shares.of_arrival,
        )
        return Dispatcher(load, plan.seed, Share(self.index, plan.workers), self.timeline, planned)

    def _load_of(self, user_class: str) -> _ClassLoad:
        return self._loads.get(user_class) or self._loads.get(ALL) or next(iter(self._loads.values()))

    def _class_draw(self) -> ClassDraw | None:
        """Who draws the classes of sessions; None where users keep to one class."""
        mix = self.plan.scenario.mix
        if mix is None or mix.of == USERS:
            return None
        return ClassDraw(
            mix, self.plan.seed, self.index, {name: mean_turns(load.workload) for name, load in self._loads.items()}
        )

    def class_for(self, phase: str, user: int, arrival: Arrival | None) -> str:
        """In a mix: the class of the session that a user begins now, in an open loop with that arrival."""
        draw = present(self._draw)
        return draw.for_user(phase, user) if arrival is None else draw.of_arrival(phase, arrival.number)

    def sent_in_session(self, phase: str, user: int, user_class: str, requests: int) -> None:
        """In a mix: a user's session is over and had so many requests."""
        if self._dispatcher is None:
            present(self._draw).sent_by(phase, user, user_class, requests)

    @property
    def requests_in_flight(self) -> int:
        """Unfinished requests of all classes."""
        return sum(load.client.in_flight for load in self._loads.values())

    def next_user(self, user_class: str = ALL) -> int:
        """A number for a new user, unique among all workers; within `numbered`, that one."""
        if self._numbered is not None:
            return self._numbered
        self._users += 1
        self._shares.add(user_class)
        return (self._users - 1) * self.plan.workers + self.index

    @contextmanager
    def numbered(self, number: int) -> Iterator[None]:
        """Users that are made here are all one user, who has that number: those of a mix who plays every class."""
        self._numbered = number
        try:
            yield
        finally:
            self._numbered = None

    def next_arrival(self, session: BoundSession | None = None, user_class: str = ALL) -> Arrival | None:
        """Open loop: wait, as a user of that class, for the arrival that a session's next turn is bound to, or (None)
        for one that begins a session. Closed loop: None."""
        if self._dispatcher is None:
            return None
        return self._dispatcher.next_arrival(session, user_class if self._draw is None else ALL)

    def end_session(self, session: BoundSession) -> None:
        """Open loop: a session is over, and its places are free for others."""
        if self._dispatcher is not None:
            self._dispatcher.end(session)

    @property
    def open_loop(self) -> bool:
        return self._dispatcher is not None

    def send(
        self,
        prompt: Prompt,
        phase: str,
        user_class: str,
        scheduled_at: float | None,
        attempt: int = 1,
        continuing: bool = False,
    ) -> Answer:
        """Send one prompt, wait for its outcome, write its row. Also when the user is killed meanwhile. Raises
        LimitReached, and sends nothing, where the run may ask no more."""
        of_class = self._load_of(user_class)
        prompt = with_check(prompt, of_class.check)
        reserved = self._budget.reserve(of_class.endpoint, prompt, prompt.max_tokens or of_class.max_tokens)
        if reserved is None:
            raise LimitReached
        answer: Answer | None = None
        try:
            answer = self._sent(prompt, phase, user_class, scheduled_at, attempt, continuing)
            return answer
        finally:
            self._budget.settle(of_class.endpoint, reserved, answer)

    def _sent(
        self, prompt: Prompt, phase: str, user_class: str, scheduled_at: float | None, attempt: int, continuing: bool
    ) -> Answer:
        self._requests += 1
        number = self._requests
        request_id = f"{self.plan.run_id}-{self.index}-{number}"
        lora = self.plan.scenario.lora
        adapter = adapter_of(lora, self.plan.seed, prompt.conversation)
        load = self._load_of(user_class)
        traced = trace_context(request_id) if load.endpoint.traceparent else None
        origin = Origin(
            self.plan.run_id,
            self.index,
            phase,
            user_class,
            request_id,
            scheduled_at,
            attempt,
            number,
            continuing,
            traced[0] if traced else None,
            adapter,
        )
        body = request_body(load.body, prompt, load.max_tokens, load.endpoint)
        if adapter is not None:
            body["model"] = lora.asked_model(adapter, self.plan.model)
        asked_at = time.time()
        self.in_flight[user_class] += 1
        try:
            answer = load.client.complete(
                body,
                request_id,
                path_of(prompt, load.endpoint),
                **({"headers": {"traceparent": traced[1]}} if traced else {}),
            )
            if load.raw_reasoning:
                unclosed_as_reasoning(answer)
        except Exception as error:  # a bug of ours, or a prompt that is not JSON; write the row all the same
            answer = Answer(
                status="failed", error="client_error", error_detail=f"{type(error).__name__}: {error}", sent_at=asked_at
            )
        except BaseException:  # GreenletExit: the run is over and the request was in flight
            cut = load.client.cut_off() or Answer(status="cancelled", sent_at=asked_at)
            self._record(origin, prompt, _fit_to_keep(cut, prompt, load))
            raise
        finally:
            self.in_flight[user_class] -= 1
        self._record(origin, prompt, _fit_to_keep(answer, prompt, load))
        return answer

    # ---- rows

    def _record(self, origin: Origin, prompt: Prompt, answer: Answer) -> None:
        row = request_row(origin, prompt, answer, self.timeline.level_of(origin.phase, answer.sent_at))
        if self.plan.scenario.mix is not None:  # each class counts its sessions from 0
            for name in ("conversation", "task"):
                row[name] = None if row[name] is None else f"{origin.user_class}-{row[name]}"
        if self._clock_shift_s:
            for name in ("sent_at", "scheduled_at"):
                row[name] = None if row[name] is None else row[name] - self._clock_shift_s
        self._buffer.add(REQUESTS_CSV, format_rows(REQUEST_COLUMNS, (row,)))
        self._buffer.add(PROMPTS_CSV, self._fingerprints.row(self.index, origin.number, as_cached(prompt), answer))
        self._slice.add(row, self._load_of(origin.user_class).bounds, self.timeline.shifted(-self._clock_shift_s))
        self._kept.add(row, answer, self._load_of(origin.user_class).keys, lambda: why_invalid(prompt, answer))
        self.simulated_answers += answer.simulated
        self.oddities.update(answer.oddities)
        self.health.saw(answer, row["lateness_ms"])

    def _host_row(self, row: dict[str, object]) -> None:
        at = row["at"]
        assert isinstance(at, float)
        row["at"] = at - self._clock_shift_s
        self._slice.health = row
        self._buffer.add(HOST_METRICS_CSV, format_rows(HOST_METRIC_COLUMNS, (row,)))

    def _flush_forever(self) -> None:
        while True:
            gevent.sleep(FLUSH_INTERVAL_S)
            self.flush()

    def user_failed(self, error: Exception) -> None:
        """Record an error raised by a task of the locustfile, which ends that task."""
        what = masked(f"{type(error).__name__}: {' '.join(str(error).split())[:_ERROR_CHARS]}", self.plan.api_key)
        known = what in self._user_errors or len(self._user_errors) < _ERROR_KINDS
        self._user_errors[what if known else _OTHER_ERRORS] += 1

    def flush(self) -> None:
        """Hand over all rows. If that fails the run ends; rows written before are kept."""
        try:
            self._buffer.flush()
        except OSError as error:
            if not self._failed:
                self._failed = True
                self._on_failure(error)
        finally:  # the requests were sent even if their rows were lost
            seen, self._slice = self._slice, Delta()
            self._tell(seen)

    @property
    def rows(self) -> int:
        """Request rows made so far, flushed or not."""
        return self._buffer.taken[REQUESTS_CSV]

    # ---- the end

    def end(self) -> None:
        """Cancel what is in flight, count arrivals that could not be sent, hand over all rows."""
        self.timeline.end_now(time.time())  # remaining users send nothing more
        for load in self._loads.values():
            load.client.cancel_all()
        gevent.sleep(0)  # their greenlets now write their rows
        deadline = time.monotonic() + 2.0
        while self.requests_in_flight and time.monotonic() < deadline:
            gevent.sleep(0.01)
        if self._dispatcher is not None:
            self._dispatcher.stop()
        self.health.stop()
        self._flusher.kill(block=False)
        for line in self._kept.lines():
            self._buffer.add(ANSWERS_JSONL, line)
        self.flush()

    def account(self) -> LoadAccount:
        """Counts that the rows do not contain."""
        account = LoadAccount({"simulated_answers": self.simulated_answers}, rows=self.rows)
        for name, counted in (("odd", self.oddities), ("user_errors", self._user_errors)):
            if counted:
                account.kinds[name] = dict(counted)
        if self._budget.reached is not None:
            account.kinds["limit_reached"] = {self._budget.reached: 1}
        if self.plan.scenario.endpoint.priced:
            account.numbers["usd"] = self._budget.spent_usd
        if self._dispatcher is not None:
            account.numbers |= {"unsent": self._dispatcher.unsent, "arrivals_queued": self._dispatcher.arrivals_queued}
        return account

    def close(self) -> None:
        for load in self._loads.values():
            load.client.close()
