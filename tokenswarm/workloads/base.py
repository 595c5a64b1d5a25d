"""What the workloads share: a prompt, a session of prompts, and the salt.

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
    """Settings of a workload whose sessions share a system prompt, or an instruction."""

    new_system_prompts_per_minute: Rate = Field(
        default=0.0, description="how often the shared system prompt is replaced by a new one, with steady prompts"
    )


STEADY = "steady"
"""Names the shared parts of all phases where warm-up and measured phase draw from the same ones."""
BEFORE = "before"
"""Names sessions that began before anything was sent (see `workloads.ages`), as `warmup` and `measure` name others."""


class TaskStep(NamedTuple):
    """A place in a task: what somebody wants done, in so many `steps`. step: from 1; None for a request that is made on
    behalf of one of them, such as a sub-agent's."""

    task: str
    step: int | None
    steps: int


@dataclass(frozen=True, slots=True)
class Prompt:
    """One request's worth of question.

    messages: chat messages, ready to send. conversation: identity of the session, such as `measure-000012`.
    turn: 1-based position in it. shared_prefix_chars: leading characters (message contents, joined) that other or
    earlier requests' prompts begin with too, by design. document: identity of the shared document or kind of task, ""
    if there is none. check: the scenario's own check of the answer text, if it has one. max_tokens: overrides [output].
    body: further keys of the request body, over [output].extra; `temperature` goes before the
    scenario's. Raises ValueError for any other that tokenswarm sets itself.
    pause_after_s: how long the user waits after the answer, where that is on record; else the scenario says.
    private: its text is somebody's own, and must stand in no detail of an error. token_ids: what is sent in place of
    the messages, to /v1/completions; the messages then stand for it, a few characters each, where prompts are compared.
    check_calls: the check of the answer's calls of tools. task: the task that it belongs to.
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
    """When a request is due: not before `at_s`, seconds into the measured phase, nor sooner than `delay_s` after the
    end of the answer before it in its session. None: nothing is on record."""

    at_s: float | None
    delay_s: float | None

    def due(self, phase_start: float, answered_at: float) -> float:
        """The moment, in the time in which the two others are given."""
        after_answer = answered_at + (self.delay_s or 0.0)
        return after_answer if self.at_s is None else max(phase_start + self.at_s, after_answer)


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """A request of the measured phase that is planned in advance. Lengths in tokens; None: not on record. hash_ids: of
    blocks of `block_tokens` each, equal ones in a `scope` are equal text."""

    conversation: str
    turn: int
    at_s: float | None
    prompt_tokens: int | None
    output_tokens: int | None
    block_tokens: int | None = None
    scope: str = ""
    hash_ids: Sequence[int] | None = None


class Session(ABC):
    """One conversation, reading, document or task. Iterate over it, and tell it each answer:

        for prompt in session:
            session.record_answer(ask(prompt))

    An answer that was not recorded counts as empty. Each iteration begins the same session anew.
    """

    turns: int | None = None
    """Requests that it is planned to have; it may end sooner. None: not known. An open loop binds arrivals by it."""
    schedule: Sequence[RecordedTime] | None = None
    """When its requests are due, where that is on record; then no others are bound to it."""
    begins_after_s: float = 0.0
    """Of a sub-agent's: how long after the answer that started it."""
    awaited: bool = True
    """Of a sub-agent's: whether the agent that started it waits for its end."""

    def __init__(self, phase: str, number: int) -> None:
        self.phase = phase
        self.conversation = f"{phase}-{number:06d}"
        self._last_answer = ""

    def record_answer(self, answer: str, calls: Sequence[ToolCall] = ()) -> None:
        """Take in the text of the answer to the last prompt, and its calls of tools: they may become part of the next
        one."""
        self._last_answer = answer

    def record_unsent(self, answer: str) -> None:
        """The last prompt was never sent (see `workloads.ages`); `answer`: a text that stands for its answer."""
        self.record_answer(answer)

    def sub_sessions(self) -> Sequence[Session]:
        """Sessions that go on at the same time, now that the last answer is recorded, before the next prompt: those of
        sub-agents. By default none."""
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
        """About how long an answer is, tokens."""

    sessions_in_all: int | None = None
    """How many sessions the measured phase has, each once; then it is over. None: without end."""

    def recorded_starts(self) -> Sequence[float] | None:
        """When the sessions of the measured phase begin, seconds into it, where that is on record: rising, one each."""
        return None

    def planned(self) -> Iterator[PlannedRequest] | None:
        """All requests of the measured phase, where they are on record."""
        return None

    def notes(self) -> list[str]:
        """What a reader of the run should know of the prompts: sentences."""
        return []

    probed: str = "these prompts"
    """What `probes` are, in words."""

    def probes(self) -> Sequence[Prompt]:
        """Prompts whose lengths in the engine's tokens a run measures before it begins. By default none."""
        return ()

    def measured(self, prompt_tokens: Sequence[int | None]) -> tuple[dict[str, object], str | None]:
        """(settings, a sentence for a reader of the run or None) that follow from the lengths of the probes. Raises
        ValueError, with what the endpoint does in place of what it should."""
        return {}, None

    @abstractmethod
    def session(self, phase: str, number: int) -> Session:
        """Session `number` (each is asked for once, over all workers) of a phase (`warmup`, `measure`, ...)."""

    def session_at(self, phase: str, number: int, at_s: float) -> Session:
        """The same for a session that begins `at_s` seconds after the run's start: what is shared may change with time.

        By default it does not.
        """
        return self.session(phase, number)

    def argued_against(self) -> Sequence[Prompt]:
        """Prompts that argue against the constraints with which this workload's requests are sent, one for each kind.
        The `check` of each holds of an answer's first words only if the engine enforces the constraint.

        The check before a load asks them.
        """
        return ()

    def scope(self, phase: str, at_s: float = 0.0) -> str:
        """Whose shared parts a session of this phase uses that begins `at_s` seconds after the run's start.

        See `shared_scope`. Where the settings replace system prompts over time, each of them has a scope of its own.
        """
        scope = shared_scope(self.state, phase)
        per_minute = getattr(self.settings, "new_system_prompts_per_minute", 0.0)
        renewed = 0 if self.state == "cold" else generation(0, 1, per_minute, at_s)
        return f"{scope}.{renewed}" if renewed else scope


def rng_for(seed: int, phase: str, *names: object) -> Random:
    """A random source that depends on these names only. Strings seed through SHA-512, not through hash()."""
    return Random("/".join(str(part) for part in (seed, phase, *names)))


def shared_scope(state: str, phase: str) -> str:
    """The name under which shared parts are made: one for all phases, or (`state` "cold") the phase's own."""
    return phase if state == "cold" else STEADY


def cache_buster_prefix(salt: str, scope: str) -> str:
    """What stands at the very start of each shared part: hexadecimal digits from salt and scope, then an empty line.

    Two runs, or two scopes of one run (see `shared_scope`), differ in it from the first character or nearly so: no
    prompt of the one can hit what the other left in a prefix cache. Empty for an empty salt.
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
    """A message's content as one text: a list of parts, which a user's own class may send, as JSON; none as empty.

    Names and arguments of calls follow, as they do in the text of an answer.
    """
    content = message.get("content")
    text = content if isinstance(content, str) else "" if content is None else json.dumps(content, default=str)
    calls = message.get("tool_calls")
    return text + "".join(map(_call_text, calls)) if isinstance(calls, list) else text


def _call_text(call: object) -> str:
    function = call.get("function") if isinstance(call, Mapping) else None
    return f"{function.get('name', '')}{function.get('arguments', '')}" if isinstance(function, Mapping) else ""


def as_cached(prompt: Prompt) -> list[Message]:
    """What a prefix cache sees of a prompt: where it defines tools, these come first, and each message is its role and
    text alone, for the names of calls differ from answer to answer."""
    tools = prompt.body.get("tools") if prompt.body else None
    if not tools:
        return prompt.messages
    return [
        {"role": "tools", "content": json.dumps(tools)},
        *({"role": message.get("role"), "content": content_text(message)} for message in prompt.messages),
    ]


def asked_chars(messages: list[Message], body: Mapping[str, object] | None) -> int:
    """Characters of all messages, and of the definitions of tools where there are some."""
    tools = body.get("tools") if body else None
    return chars_of(messages) + (len(json.dumps(tools)) if tools else 0)


def chars_of(messages: list[Message]) -> int:
    """Characters of all message contents."""
    chars = 0
    for message in messages:
        content = message.get("content")
        plain = isinstance(content, str) and "tool_calls" not in message
        chars += len(content) if plain else len(content_text(message))  # type: ignore[arg-type]
    return chars


def require_text(corpus: Corpus, chars: float, what: str) -> None:
    """Raise UserError (CORPUS) if the corpus is shorter than one typical `what` of `chars` characters."""
    if len(corpus.text) < chars:
        raise UserError(
            Exit.CORPUS,
            f"corpus {corpus.name} holds {len(corpus.text)} characters, but {what} takes about {chars:.0f}: "
            "add text to the corpus or lower that setting",
        )
