"""What the workloads share: prompts, sessions of prompts, and the salt.

Everything here is a pure function of (scenario, corpus, seed, salt, phase, number): no clock, no network.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar, NamedTuple

from pydantic import Field

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.tool_call import ToolCall
from tokenswarm.scenario.model import Scenario
from tokenswarm.scenario.requests import refuse_reserved
from tokenswarm.scenario.values import Rate
from tokenswarm.scenario.workload_kinds import WorkloadSettings
from tokenswarm.workloads.corpus import Corpus
from tokenswarm.workloads.token_lengths import TokenLengths
from tokenswarm.workloads.turnover import generation

Message = dict[str, Any]


class SystemPromptSettings(WorkloadSettings):
    """Settings of a workload whose sessions share a system prompt or an instruction."""

    new_system_prompts_per_minute: Rate = Field(
        default=0.0, description="how often the shared system prompt is replaced by a new one, with steady prompts"
    )


STEADY = "steady"
"""The scope of shared parts that warm-up and measured phase both use."""
BEFORE = "before"
"""The phase name of sessions that began before the run (see `workloads.ages`), beside `warmup` and `measure`."""


class TaskStep(NamedTuple):
    """The position of a request in a task of so many `steps`. step: from 1; None for a request on behalf of a step,
    such as a sub-agent's."""

    task: str
    step: int | None
    steps: int


@dataclass(frozen=True, slots=True)
class Prompt:
    """The prompt of one request. messages: chat messages, ready to send. conversation: identity of the session, such as
    `measure-000012`. turn: 1-based position in it. shared_prefix_chars: leading characters (message contents, joined)
    that prompts of other or earlier requests have too, by design. document: identity of the shared document or kind of
    task, "" if there is none. check: the scenario's check of the answer text, if any. max_tokens: overrides [output].
    body: further fields of the request body; they override [output].extra, and `temperature` overrides the scenario's.
    Raises ValueError for any other field that tokenswarm sets itself. pause_after_s: the recorded pause after the
    answer; None to use the scenario's. private: the text is the user's own and must not appear in error details.
    token_ids: sent to /v1/completions in place of the messages; the messages then represent them, a few characters
    each, where prompts are compared. check_calls: the check of the answer's tool calls. task: the task that it belongs
    to.
    """

    messages: list[Message]
    conversation: str
    turn: int
    shared_prefix_chars: int
    document: str = ""
    check: Callable[[str], bool] | None = None
    max_tokens: int | None = None
    body: Mapping[str, object] | None = None
    pause_after_s: float | None = None
    private: bool = False
    token_ids: list[int] | None = None
    check_calls: Callable[[Sequence[ToolCall]], bool] | None = None
    task: TaskStep | None = None

    def __post_init__(self) -> None:
        if self.body is not None:
            if not isinstance(self.body, Mapping) or not all(isinstance(key, str) for key in self.body):
                raise ValueError(f"the body of a prompt is {self.body!r}; it should be a table of fields by name")
            try:
                refuse_reserved(self.body.keys() - {"temperature"})
            except ValueError as error:
                raise ValueError(f"the body of a prompt {error}") from None


@dataclass(frozen=True, slots=True)
class RecordedTime:
    """When a request is due: not before `at_s` (seconds into the measured phase), and not sooner than `delay_s` after
    the end of the previous answer in its session. None: not recorded."""

    at_s: float | None
    delay_s: float | None

    def due(self, phase_start: float, answered_at: float) -> float:
        """The due time, on the same clock as the arguments."""
        after_answer = answered_at + (self.delay_s or 0.0)
        return after_answer if self.at_s is None else max(phase_start + self.at_s, after_answer)


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """A request of the measured phase that is planned in advance. Lengths in tokens; None: not recorded. hash_ids: one
    per block of `block_tokens`; within a `scope`, equal IDs mean equal text."""

    conversation: str
    turn: int
    at_s: float | None
    prompt_tokens: int | None
    output_tokens: int | None
    block_tokens: int | None = None
    scope: str = ""
    hash_ids: Sequence[int] | None = None


class Session(ABC):
    """One conversation, reading, document or task. Iterate over it, and record each answer:

        for prompt in session:
            session.record_answer(ask(prompt))

    An answer that was not recorded counts as empty. Each iteration starts the same session again.
    """

    turns: int | None = None
    """Planned number of requests; the session may end sooner. None: unknown. An open loop uses it to bind arrivals."""
    schedule: Sequence[RecordedTime] | None = None
    """Recorded times of its requests, or None. If given, no other arrivals are bound to it."""
    begins_after_s: float = 0.0
    """For a sub-agent: seconds after the answer that started it."""
    awaited: bool = True
    """For a sub-agent: whether the agent that started it waits for its end."""

    def __init__(self, phase: str, number: int) -> None:
        self.phase = phase
        self.conversation = f"{phase}-{number:06d}"
        self._last_answer = ""

    def record_answer(self, answer: str, calls: Sequence[ToolCall] = ()) -> None:
        """Record the text of the answer to the last prompt, and its tool calls: they may become part of the next
        prompt."""
        self._last_answer = answer

    def record_unsent(self, answer: str) -> None:
        """Record that the last prompt was never sent (see `workloads.ages`); `answer` is a text used as its answer."""
        self.record_answer(answer)

    def sub_sessions(self) -> Sequence[Session]:
        """Sessions of sub-agents to run now, between the last recorded answer and the next prompt. By default none."""
        return ()

    def _take_answer(self) -> str:
        answer, self._last_answer = self._last_answer, ""
        return answer

    @abstractmethod
    def __iter__(self) -> Iterator[Prompt]: ...


class Workload(ABC):
    """Makes sessions. The same (scenario, corpus, seed, salt) gives the same sessions, byte for byte.

    A module (here, a package's, or a file that a scenario names) defines a subclass with a `name`, and `Settings` for
    the scenario's table of that name.
    """

    name: ClassVar[str]
    Settings: ClassVar[type[WorkloadSettings]]

    def __init__(self, scenario: Scenario, corpus: Corpus, seed: int, salt: str) -> None:
        self.settings: Any = scenario.workload_settings
        self.state = scenario.prompts.state
        self.lengths = TokenLengths.of(scenario.prompts)
        self.chars_per_token = self.lengths.chars_per_token
        self.corpus, self.seed, self.salt = corpus, seed, salt
        self.answer_tokens: float = scenario.output.max_tokens
        """Approximate length of an answer, in tokens."""

    sessions_in_all: int | None = None
    """Number of sessions in the measured phase, each sent once; then the phase is over. None: unlimited."""

    def recorded_starts(self) -> Sequence[float] | None:
        """Recorded start times of the sessions of the measured phase, in seconds into it, ascending; None if not
        recorded."""
        return None

    def planned(self) -> Iterator[PlannedRequest] | None:
        """All requests of the measured phase, if they are recorded."""
        return None

    def notes(self) -> list[str]:
        """Sentences about the prompts for readers of the run."""
        return []

    probed: str = "these prompts"
    """A description of `probes`."""

    def probes(self) -> Sequence[Prompt]:
        """Prompts whose token counts a run measures with the engine before it begins. By default none."""
        return ()

    def measured(self, prompt_tokens: Sequence[int | None]) -> tuple[dict[str, object], str | None]:
        """(settings, a sentence for readers of the run or None) that follow from the lengths of the probes. Raises
        ValueError if the endpoint does not do what it should, with what it does."""
        return {}, None

    @abstractmethod
    def session(self, phase: str, number: int) -> Session:
        """Session `number` of a phase (`warmup`, `measure`, ...). Each number is requested once over all workers."""

    def session_at(self, phase: str, number: int, at_s: float) -> Session:
        """Session `number` of a phase that begins `at_s` seconds after the run's start, for workloads whose shared
        parts change over time.
        """
        return self.session(phase, number)

    def argued_against(self) -> Sequence[Prompt]:
        """Prompts that argue against the constraints of this workload's requests, one per kind. Each one's `check`
        passes for an answer's first words only if the engine enforces the constraint. The check before a load sends
        them.
        """
        return ()

    def scope(self, phase: str, at_s: float = 0.0) -> str:
        """The scope of the shared parts for a session of this phase that begins `at_s` seconds after the run's start;
        see `shared_scope`. If the settings replace system prompts over time, each has its own scope.
        """
        scope = shared_scope(self.state, phase)
        per_minute = getattr(self.settings, "new_system_prompts_per_minute", 0.0)
        renewed = 0 if self.state == "cold" else generation(0, 1, per_minute, at_s)
        return f"{scope}.{renewed}" if renewed else scope


def rng_for(seed: int, phase: str, *names: object) -> Random:
    """A random source that depends only on these names. Strings seed it through SHA-512, not through hash()."""
    return Random("/".join(str(part) for part in (seed, phase, *names)))


def shared_scope(state: str, phase: str) -> str:
    """The scope of shared parts: one for all phases or, if `state` is "cold", one per phase."""
    return phase if state == "cold" else STEADY


def cache_buster_prefix(salt: str, scope: str) -> str:
    """The start of each shared part: hexadecimal digits from salt and scope, then an empty line. It differs between
    runs and between scopes of a run (see `shared_scope`), almost from the first character on, so no prompt of one can
    hit what the other left in a prefix cache. Empty for an empty salt.
    """
    return f"{hashlib.sha256(f'{salt}/{scope}'.encode()).hexdigest()[:16]}\n\n" if salt else ""


def with_prefix(messages: Sequence[Message], prefix: str) -> list[Message]:
    """The messages with `prefix` at the very start of the first one."""
    first, *others = messages
    content = first.get("content")
    if isinstance(content, list):
        parts = [{"type": "text", "text": prefix}, *content] if prefix else content
        return [{**first, "content": parts}, *others]
    return [{**first, "content": prefix + (content or "")}, *others]


def content_text(message: Message) -> str:
    """A message's content as one text. A list of parts, which a user's class may send, becomes JSON; None becomes "".
    Names and arguments of tool calls follow, as in the text of an answer.
    """
    content = message.get("content")
    text = content if isinstance(content, str) else "" if content is None else json.dumps(content, default=str)
    calls = message.get("tool_calls")
    return text + "".join(map(_call_text, calls)) if isinstance(calls, list) else text


def _call_text(call: object) -> str:
    function = call.get("function") if isinstance(call, Mapping) else None
    return f"{function.get('name', '')}{function.get('arguments', '')}" if isinstance(function, Mapping) else ""


def as_cached(prompt: Prompt) -> list[Message]:
    """A prompt as a prefix cache sees it: tool definitions come first, and each message is reduced to role and text,
    since tool call IDs differ between answers."""
    tools = prompt.body.get("tools") if prompt.body else None
    if not tools:
        return prompt.messages
    return [
        {"role": "tools", "content": json.dumps(tools)},
        *({"role": message.get("role"), "content": content_text(message)} for message in prompt.messages),
    ]


def asked_chars(messages: list[Message], body: Mapping[str, object] | None) -> int:
    """Characters of all messages and tool definitions."""
    tools = body.get("tools") if body else None
    return chars_of(messages) + (len(json.dumps(tools)) if tools else 0)


def chars_of(messages: list[Message]) -> int:
    """Characters of all message contents."""
    chars = 0
    for message in messages:
        content = message.get("content")
        plain = content if isinstance(content, str) and "tool_calls" not in message else content_text(message)
        chars += len(plain)
    return chars


def require_text(corpus: Corpus, chars: float, what: str) -> None:
    """Raise UserError (CORPUS) if the corpus is shorter than one typical `what` of `chars` characters."""
    if len(corpus.text) < chars:
        raise UserError(
            Exit.CORPUS,
            f"corpus {corpus.name} holds {len(corpus.text)} characters, but {what} takes about {chars:.0f}: "
            "add text to the corpus or lower that setting",
        )
