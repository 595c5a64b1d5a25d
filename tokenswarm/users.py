"""The Locust user that a locustfile builds on.

class RagReader(LLMUser):
    scenario = "rag"

    @task
    def read(self):
        reading = self.next_session()
        for prompt in reading:
            answer = self.ask(prompt)
            reading.record_answer(answer.text)
            self.think()
"""

from __future__ import annotations

from tokenswarm.base.early_signals import as_python_does, end_at_once_by_signals

end_at_once_by_signals()  # first: an import that is interrupted ends in an error of whatever it was importing

from tokenswarm.base.last_handler import handle_our_errors

handle_our_errors("tokenswarm")  # under plain Locust nobody else reports an import that fails

import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from random import Random
from typing import Self

import gevent
from gevent import GreenletExit
from locust import constant
from locust.exception import RescheduleTaskImmediately, StopUser

from tokenswarm.client.answer import Answer
from tokenswarm.generator import plugin
from tokenswarm.generator.binding import Arrival, BoundSession
from tokenswarm.generator.load_process import LimitReached, LoadProcess
from tokenswarm.generator.mixed_user import SessionUser
from tokenswarm.generator.session_stream import NoMoreSessions
from tokenswarm.generator.story import Ask, Pause, UserRules, asking, is_cut, thinking
from tokenswarm.generator.think_times import think_times
from tokenswarm.generator.turns import next_turn
from tokenswarm.locust_extensions import metrics_port, web_ui_tab
from tokenswarm.workloads.base import (
    Message,
    Prompt,
    Session,
    cache_buster_prefix,
    content_text,
    shared_scope,
    with_prefix,
)

as_python_does()
plugin.register(web_ui_tab, metrics_port)

_MS_PER_S = 1e3


class RequestFailed(Exception):
    """What Locust's statistics show of a failed request: the error kind, without the details that vary."""


class LLMUser(SessionUser):
    """A user of a language model. Subclasses name their `scenario` and tell what they do in a task.

    All timing happens in `ask`; what the scenario says about prompts, load and limits is applied here.
    """

    abstract = True
    wait_time = constant(0)  # pauses are the story's: see think()
    scenario = ""
    """Name of a scenario in scenarios/, or path of a TOML file; used when the file runs under plain Locust."""

    def __init__(self, environment) -> None:
        super().__init__(environment)
        self._process: LoadProcess = plugin.process_of(environment)
        self._plan = self._process.plan.of(type(self).__name__)
        self._session_phase = self._session_origin = ""
        self._session_sent = self._session_open = self._helps = False
        self._pause_s: float | None = None
        self._bound: BoundSession | None = None
        self._arrival: Arrival | None = None
        self._beside: list[gevent.Greenlet] = []
        """Stories of sub-agents for which nothing waits before the session is over."""
        self._number, self._prompts = self._process.next_user(type(self).__name__), 0
        self._asked = 0
        """Prompts sent since the last `leave_off`."""
        self._think = self._think_times(f"user-{self._number}")
        self.random = Random(f"user/{self._process.plan.seed}/{self._number}")
        """For choices of a user's own: same seed, same choices."""

    def next_session(self) -> Session:
        """The next conversation, reading, document or task; none is begun after the measured phase.

        In an open loop it waits for the arrival with which it begins. A user's first one is under way already, unless
        the scenario's prompts are cold.
        """
        self._end_session()
        phase = self._next_phase()
        try:
            session = self._process.next_session(phase, type(self).__name__, self._number, self._arrival)
        except NoMoreSessions:
            raise StopUser from None
        self._session_open = True
        if self._arrival is not None:
            self._bound = self._process.bind(session, type(self).__name__, self._arrival)
        self._session_phase, self._session_origin = phase, session.phase
        self._think = self._think_times(session.conversation)
        return session

    def _end_session(self) -> None:
        """The session before is over, and the places that it had left are others'."""
        self._wait_for_beside()
        self._session_sent = False
        if self._session_open:
            self._session_open = False
            self._process.session_over()
        if self._bound is not None:
            self._process.end_session(self._bound)
            self._bound = None

    def prompt(
        self,
        question: str = "",
        system: str = "",
        check: Callable[[str], bool] | None = None,
        max_tokens: int | None = None,
        body: Mapping[str, object] | None = None,
        messages: Sequence[Message] = (),
    ) -> Prompt:
        """A prompt of your own in place of a session's: `question` is what is asked, `system` what many requests share,
        `messages` a conversation in the API's form that stands between them, or alone.

        `check(answer)` fills the column valid_output; `body` holds further keys of the request body. The shared part is
        stamped as the scenario's are, so that no earlier run (and where prompts are cold, no warm-up) leaves it in the
        engine's prefix cache. None is made after the measured phase.
        """
        whole: list[Message] = [{"role": "system", "content": system}] if system else []
        whole += [*messages, *([{"role": "user", "content": question}] if question or not messages else [])]
        phase = self._process.phase()
        if phase == "drain":
            raise StopUser
        self._end_session()
        self._session_phase = self._session_origin = phase
        self._prompts += 1
        scope = shared_scope(self._plan.scenario.prompts.state, phase)
        prefix = cache_buster_prefix(self._process.plan.salt, scope)
        shared = content_text(whole[0]) if whole[0]["role"] == "system" else ""
        return Prompt(
            with_prefix(whole, prefix),
            f"{phase}-user-{self._number:04d}-{self._prompts:05d}",
            1,
            len(prefix) + len(shared),
            check=check,
            max_tokens=max_tokens,
            body=body,
        )

    def ask(self, prompt: Prompt) -> Answer:
        """Send the prompt and wait for the answer; `answer.ok` says how it went, `answer.text` what it said.

        In an open loop it first waits for the next scheduled arrival. Writes one row and fires one Locust request
        event; where the scenario asks for retries, one for each try. The request belongs to the phase in which it is
        sent: a session goes on into the next phase. The task ends there if nothing of its session was sent yet, or if
        the scenario's prompts are cold.
        """
        phase = self._next_phase()
        rules = UserRules(self._plan.retry, self._plan.scenario.phases_apart, self._process.open_loop)
        if is_cut(phase, self._session_phase, rules, session_sent=self._session_sent):
            self._session_phase = self._session_origin = phase  # prompts built by hand begin no session: ask again
            raise RescheduleTaskImmediately  # an arrival is kept for the next session's first prompt
        self._session_sent = True
        self._pause_s = prompt.pause_after_s
        scheduled_at, self._arrival = None if self._arrival is None else self._arrival.due, None
        story = asking(Ask(prompt, phase, scheduled_at), self._process.phase, rules)
        wait = next(story)
        while True:
            try:
                wait = story.send(self._wait_for(wait))
            except StopIteration as end:
                return end.value

    def _wait_for(self, wait: Pause | Ask) -> Answer | None:
        if isinstance(wait, Ask):
            return self._send(wait)
        gevent.sleep(wait.seconds)
        return None

    def _next_phase(self) -> str:
        """The phase of what is sent next; in an open loop once there is an arrival of that phase for it."""
        if self._helps:
            if (phase := self._process.phase()) == "drain":
                raise StopUser
            return phase
        turn = next_turn(self._process, self._bound, self._arrival, type(self).__name__)
        if turn is None:
            raise StopUser
        phase, self._arrival = turn
        return phase

    def take_arrival(self, arrival: Arrival | None) -> None:
        """As one of the classes that a user of a mix plays: the next session begins with that arrival."""
        self._arrival = arrival

    def leave_off(self) -> tuple[int, Arrival | None]:
        """As one of these: the session is over. Returns how many prompts it had, and the arrival that is left, if
        nothing was sent with it."""
        self._end_session()
        sent, arrival = self._asked, self._arrival
        self._asked, self._arrival = 0, None
        return sent, arrival

    def _send(self, ask: Ask) -> Answer:
        continuing = self._session_origin != ask.phase
        self._asked += ask.attempt == 1
        try:
            answer = self._process.send(
                ask.prompt, ask.phase, type(self).__name__, ask.scheduled_at, ask.attempt, continuing
            )
        except LimitReached:
            self._end_session()
            raise StopUser from None
        self._report(answer)
        return answer

    def think(self) -> None:
        """Pause as the scenario's user does between an answer and the next question, or as is on record of the last
        prompt (not in an open loop)."""
        if (not self._process.open_loop or self._helps) and (pause := thinking(self._pause_s, self._think)):
            gevent.sleep(pause.seconds)

    def together(self, story: Callable[[Self, Session], object], sessions: Sequence[Session]) -> None:
        """Play sessions at the same time, and wait until all are over: `story(helper, session)` tells each of them,
        where the helper asks and thinks as this user does. Sub-agents are such; they belong to the session that started
        them, and in an open loop they wait for no arrivals of their own. For one that is not awaited, it is waited at
        the end of this user's session."""
        helpers = [self._helper(session) for session in sessions]
        raised: list[Exception] = []

        def play(helper: Self, session: Session) -> None:
            if session.begins_after_s > 0:
                gevent.sleep(session.begins_after_s)
            try:
                story(helper, session)
            except GreenletExit:
                gevent.killall(helper._beside)
                raise
            helper._wait_for_beside()

        def play_awaited(helper: Self, session: Session) -> None:
            try:
                play(helper, session)
            except Exception as error:  # raised again by the one who waits
                raised.append(error)

        def play_beside(helper: Self, session: Session) -> None:
            try:
                with suppress(StopUser, RescheduleTaskImmediately):  # the run is over
                    play(helper, session)
            except Exception as error:  # nothing waits to which it could be raised
                self._report_error(error)
            self._asked += helper._asked

        pairs = list(zip(helpers, sessions, strict=True))
        self._beside += [gevent.spawn(play_beside, *pair) for pair in pairs if not pair[1].awaited]
        stories = [gevent.spawn(play_awaited, *pair) for pair in pairs if pair[1].awaited]
        try:
            gevent.joinall(stories)
        finally:  # the user is taken away: what they have in flight is cancelled
            gevent.killall(stories)
            self._asked += sum(helper._asked for helper, session in pairs if session.awaited)
        if raised:
            raise raised[0]

    def on_stop(self) -> None:
        """Called by Locust as this user ends. Its sub-agents finish if it ends by itself, and are cancelled if it is
        taken away. An `on_stop` of your own should call this one."""
        if isinstance(sys.exception(), GreenletExit):
            gevent.killall(self._beside)
        self._wait_for_beside()

    def _wait_for_beside(self) -> None:
        try:
            gevent.joinall(self._beside)
        except GreenletExit:  # taken away while it waits
            gevent.killall(self._beside)
            raise
        self._beside = []

    def _report_error(self, error: Exception) -> None:
        """As Locust does with what a task raises: into its log and statistics, and from there into run.json."""
        self.environment.events.user_error.fire(user_instance=self, exception=error, tb=error.__traceback__)
        logging.getLogger(__name__).error("%s", error, exc_info=error)

    def _think_times(self, name: str) -> Callable[[], float]:
        return think_times(self._process.plan.seed, name, self._plan.behaviour.think_time_s)

    def _helper(self, session: Session) -> Self:
        """A copy of this user, who is in the middle of a session and has no arrivals."""
        helper = copy(self)
        helper._helps, helper._asked, helper._arrival, helper._bound, helper._beside = True, 0, None, None, []
        helper._think = self._think_times(session.conversation)
        helper.random = Random(f"user/{self._process.plan.seed}/{session.conversation}")
        return helper

    def _report(self, answer: Answer) -> None:
        if answer.status == "cancelled":
            return  # neither a success nor a failure
        self.environment.events.request.fire(
            request_type="chat",
            name=type(self).__name__,
            response_time=answer.e2e_ms if answer.e2e_ms is not None else (time.time() - answer.sent_at) * _MS_PER_S,
            response_length=answer.response_bytes,
            exception=None if answer.ok else RequestFailed(answer.error),
            context=self.context(),
        )
