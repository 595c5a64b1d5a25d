"""Agents with tools: an agent works on a human's request turn by turn, and each prompt grows by a tool's result.

All agents share a system prompt and tool definitions; each session has a context that looks like a repository. A
session has several tasks (requests of the human), and a task several steps (tool calls); a task's last step is its
report. A step may start sub-agents: they have their own contexts and work in parallel, and the next step waits for all
of them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.tool_call import ToolCall
from tokenswarm.scenario.distribution import Distribution, constant
from tokenswarm.scenario.model import Scenario
from tokenswarm.scenario.values import Count, seconds_of_distribution
from tokenswarm.workloads.agent_tools import (
    DELEGATE,
    MOST_TOOLS,
    REPORT,
    calls_fit,
    definitions,
    file_path,
    scripted_call,
)
from tokenswarm.workloads.answer_checks import is_json
from tokenswarm.workloads.base import (
    Message,
    Prompt,
    Session,
    SystemPromptSettings,
    TaskStep,
    Workload,
    asked_chars,
    cache_buster_prefix,
    require_text,
    rng_for,
)
from tokenswarm.workloads.constraints import require_answers_that_end, require_not_extra
from tokenswarm.workloads.corpus import Corpus
from tokenswarm.workloads.token_lengths import TokenLengths

INSTRUCTION = (
    "You are a coding agent. You work on a repository by calling tools, one step after the other: look before you "
    "change anything, keep changes small, run the tests, and end each task with a report. These are the rules of the "
    "house:\n\n"
)
SUB_INSTRUCTION = (
    "You are the helper of a coding agent. Do the one assignment that you are given by calling tools, and end it with "
    "a report.\n\n"
)
_REQUESTS = (
    "Please look into this: ",
    "This should work differently: ",
    "Find out why this fails: ",
    "Add what is missing here: ",
    "Review this and better it: ",
)
_NO_CALL = "That was no call of a tool that can be carried out. This is what it would have given:\n\n"
_SHOWN = "The report was shown to the human."
_REMEMBERED = 8
"""Number of system prompts to cache, for sessions that begin now."""
_FILE_TOKENS = 400
"""Approximate size of one file in a context."""

Delay = Annotated[Distribution, BeforeValidator(seconds_of_distribution)]


class AgentSettings(SystemPromptSettings):
    """Agents that call tools, with sub-agents."""

    system_tokens: Count = Field(default=1200, description="approximate length of the shared system prompt, tokens")
    tools: Annotated[int, Field(strict=True, ge=3, le=MOST_TOOLS)] = Field(
        default=MOST_TOOLS, description=f"tools that are defined in each request, at most {MOST_TOOLS}"
    )
    context_tokens: Distribution = Field(
        default=constant(3000),
        description="approximate length of a session's own context, such as a repository, tokens",
    )
    tasks: Distribution = Field(default=constant(2), description="number of the human's requests in a session")
    steps: Distribution = Field(default=constant(6), description="turns of a task, including its report")
    request_tokens: Distribution = Field(default=constant(60), description="approximate length of a request, tokens")
    result_tokens: Distribution = Field(
        default=constant(300), description="approximate length of a tool's result, tokens"
    )
    tool_delay_s: Delay = Field(
        default=constant(1.0),
        description="how long tools take after a turn (not in an open loop); between two tasks "
        "the human takes user.think_time_s",
    )
    sub_agent_probability: Annotated[float, Field(strict=True, ge=0, le=1)] = Field(
        default=0.0, description="probability that a step starts sub-agents; the next step waits for them"
    )
    sub_agents: Distribution = Field(default=constant(2), description="number of sub-agents started at once")
    sub_agent_steps: Distribution = Field(default=constant(3), description="turns of a sub-agent")
    sub_agent_context_tokens: Distribution = Field(
        default=constant(1000), description="approximate length of a sub-agent's context, tokens"
    )
    assistant_turns: Literal["engine", "corpus"] = Field(
        default="engine",
        description="which calls enter the history: the engine's, or scripted ones (equal prompts everywhere)",
    )
    tool_choice: Literal["required", "auto"] = Field(
        default="required",
        description="required: the engine constrains each answer to tool calls; auto: the model may answer in text",
    )
    history_limit_tokens: Count = Field(
        default=12000,
        description="a session ends before a task that could make its prompt longer than about this, tokens",
    )

    @classmethod
    def completed_scenario(
        cls, values: dict[str, Any], table: dict[str, object], explicit: Collection[str]
    ) -> dict[str, object]:
        """See `WorkloadSettings`. Refuses settings that would measure something else than they say."""
        endpoint = values.get("endpoint") or {}
        if endpoint.get("api", "chat") != "chat":
            raise UserError(
                Exit.USAGE,
                f"endpoint.api is {endpoint['api']!r}, but agents call tools, which is in the "
                "form of the chat API: use endpoint.api=chat",
            )
        return values


@dataclass(frozen=True, slots=True)
class AgentStep:
    """What follows a turn by plan: a tool result of so many tokens after `delay_s`, and sub-agents."""

    result_tokens: float
    delay_s: float
    sub_agents: tuple[Assignment, ...] = ()


@dataclass(frozen=True, slots=True)
class Assignment:
    """The task of an agent, and its turns. Lengths in tokens."""

    request_tokens: float
    context_tokens: float
    steps: tuple[AgentStep, ...]


@dataclass(frozen=True, slots=True)
class _Material:
    """What all sessions of a workload share."""

    settings: AgentSettings
    corpus: Corpus
    seed: int
    salt: str
    lengths: TokenLengths
    answer_tokens: int

    def text(self, rng: Random, tokens: float) -> str:
        """An excerpt of the corpus of about that many tokens."""
        return self.lengths.excerpt(self.corpus, rng, max(2.0, tokens))

    def assignment(
        self, rng: Random, steps: Distribution, context_tokens: float, room: float, sub_agents: bool
    ) -> Assignment | None:
        """Draw an assignment that fits into `room` tokens with answers of maximum length, with fewer steps if needed;
        None if not even one step fits."""
        settings = self.settings
        request = settings.request_tokens.sample(rng)
        room -= request + context_tokens
        taken: list[AgentStep] = []
        count = steps.sample_int(rng)
        for number in range(count):
            step = AgentStep(
                settings.result_tokens.sample(rng),
                max(0.0, settings.tool_delay_s.sample(rng)),
                self._sub_agents(rng) if sub_agents and number + 1 < count else (),
            )
            room -= step.result_tokens + self.answer_tokens
            if room < 0:
                break
            taken.append(step)
        return Assignment(request, context_tokens, tuple(taken)) if taken else None

    def _sub_agents(self, rng: Random) -> tuple[Assignment, ...]:
        settings = self.settings
        if rng.random() >= settings.sub_agent_probability:
            return ()
        drawn = (
            self.assignment(
                rng,
                settings.sub_agent_steps,
                settings.sub_agent_context_tokens.sample(rng),
                settings.history_limit_tokens,
                False,
            )
            for _ in range(settings.sub_agents.sample_int(rng))
        )
        return tuple(each for each in drawn if each is not None)

    def tasks(self, rng: Random, room: float) -> tuple[Assignment, ...]:
        """The tasks of a session, with at least one step in total. The first one brings the context."""
        settings = self.settings
        least = settings.request_tokens.typical() + self.answer_tokens
        context = min(settings.context_tokens.sample(rng), max(0.0, room - least))
        drawn: list[Assignment] = []
        for _ in range(settings.tasks.sample_int(rng)):
            task = self.assignment(rng, settings.steps, 0.0 if drawn else context, room, True)
            if task is None:
                break
            drawn.append(task)
            room -= (
                task.request_tokens
                + task.context_tokens
                + sum(step.result_tokens + self.answer_tokens for step in task.steps)
            )
        return tuple(drawn) or (Assignment(settings.request_tokens.typical(), context, (AgentStep(0.0, 0.0),)),)

    def repository(self, rng: Random, tokens: float) -> str:
        """A context that looks like a repository: a list of files, and the texts of some."""
        paths = [file_path(rng) for _ in range(max(1, round(tokens / _FILE_TOKENS)))]
        files = (f"=== {path} ===\n{self.text(rng, tokens / len(paths) - 8)}\n" for path in paths)
        return "Files:\n" + "\n".join(paths) + "\n\n" + "\n".join(files)


class AgentWorkload(Workload):
    """Sessions of agents that call tools."""

    name = "agent"
    Settings = AgentSettings

    def __init__(self, scenario: Scenario, corpus: Corpus, seed: int, salt: str) -> None:
        super().__init__(scenario, corpus, seed, salt)
        settings: AgentSettings = self.settings
        self._material = _Material(settings, corpus, seed, salt, self.lengths, scenario.output.max_tokens)
        self._tool_tokens = len(json.dumps(definitions(settings.tools))) / self.chars_per_token
        require_answers_that_end(scenario.output, "a call of a tool")
        require_not_extra(
            scenario.output,
            ("tools", "tool_choice"),
            "its tools are those of agent.tools, and agent.tool_choice says how",
        )
        if scenario.output.check is not None:
            raise UserError(
                Exit.USAGE,
                "output.check looks at texts, but agents answer by calls, which are held against the schemas of their "
                "tools: leave it out",
            )
        self._require_room()
        self._beside_the_rate = scenario.open_loop and settings.sub_agent_probability > 0
        self._shared = lru_cache(maxsize=_REMEMBERED)(self._shared_of)
        require_text(corpus, settings.system_tokens * self.chars_per_token, "agent.system_tokens")

    def _require_room(self) -> None:
        """Raises UserError (USAGE) if a typical session cannot have the lengths in the settings."""
        settings = self._material.settings
        shared = self._tool_tokens + settings.system_tokens
        step = settings.request_tokens.typical() + self._material.answer_tokens
        context = settings.context_tokens.typical()
        if settings.history_limit_tokens < shared + context + step:
            raise UserError(
                Exit.USAGE,
                f"agent.history_limit_tokens is {settings.history_limit_tokens:,}, but tools and system prompt "
                f"({shared:,.0f} tokens), a usual context ({context:,.0f}), a request and an answer "
                f"({step:,.0f}) take more: raise it (with engine.context_length), or shorten those",
            )

    def notes(self) -> list[str]:
        """See `Workload`. Says what an open loop's rate does not count."""
        return (
            []
            if not self._beside_the_rate
            else ["Requests of sub-agents come on top of load.rate, which is that of the agents' own requests."]
        )

    def session(self, phase: str, number: int) -> AgentSession:
        """Session `number` of a phase."""
        return self.session_at(phase, number, 0.0)

    def session_at(self, phase: str, number: int, at_s: float) -> AgentSession:
        """Session `number` of a phase."""
        material, scope = self._material, self.scope(phase, at_s)
        rng = rng_for(self.seed, phase, number)
        room = material.settings.history_limit_tokens - self._tool_tokens - material.settings.system_tokens
        return AgentSession(phase, number, _Work(material, self._shared(scope), material.tasks(rng, room)))

    def _shared_of(self, scope: str) -> _Shared:
        """What all agents in a scope share."""
        settings, stamp = self._material.settings, cache_buster_prefix(self.salt, scope)
        rules = settings.system_tokens - len(INSTRUCTION) / self.chars_per_token
        system = stamp + INSTRUCTION + self._material.text(rng_for(self.seed, scope, "system"), rules)
        body = {
            "tools": definitions(settings.tools, stamp.strip() + " " if stamp else ""),
            "tool_choice": settings.tool_choice,
        }
        return _Shared(system, stamp + SUB_INSTRUCTION, body)


@dataclass(frozen=True, slots=True)
class _Shared:
    """What agents share: their system prompt, that of their sub-agents, and the body fields with the tools."""

    system: str
    sub_system: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Work:
    """The assignments of one agent."""

    material: _Material
    shared: _Shared
    tasks: tuple[Assignment, ...]


class AgentSession(Session):
    """The tasks of one agent, one after another in one history. For a sub-agent, `of` is the step of the other agent's
    task that it works for, and `name` says which sub-agent it is."""

    def __init__(self, phase: str, number: int, work: _Work, name: str = "", of: TaskStep | None = None) -> None:
        super().__init__(phase, number)
        self._work, self._name, self._of = work, name, of
        self._source = (work.material.seed, phase, number, f"agent{name}")
        self._number = number
        self.conversation += name
        self.turns = sum(len(task.steps) for task in work.tasks)
        self._calls: tuple[ToolCall, ...] = ()
        self._unsent = False
        self._sub_agents: list[AgentSession] = []
        self._waiting: list[AgentSession] = []
        self.report = ""
        """Its last message."""

    def record_answer(self, answer: str, calls: Sequence[ToolCall] = ()) -> None:
        """See `Session`."""
        super().record_answer(answer, calls)
        self._calls = tuple(calls)
        self.report = answer

    def record_unsent(self, answer: str) -> None:
        """See `Session`. Turns that were never sent have scripted answers."""
        self._unsent = True

    def sub_sessions(self) -> Sequence[Session]:
        """The sub-agents started at this step."""
        self._waiting, self._sub_agents = self._sub_agents, []
        return self._waiting

    def __iter__(self) -> Iterator[Prompt]:
        material, rng = self._work.material, rng_for(*self._source)
        check = calls_fit(material.settings.tools)
        common, turn = self._work.shared, 0
        messages: list[Message] = [{"role": "system", "content": common.sub_system if self._of else common.system}]
        shared = asked_chars(messages, common.body)
        for number, task in enumerate(self._work.tasks, start=1):
            messages.append(self._request(task, rng))
            for step_number, step in enumerate(task.steps, start=1):
                turn, last = turn + 1, step_number == len(task.steps)
                place = self._of or TaskStep(f"{self.conversation}/{number}", step_number, len(task.steps))
                self._sub_agents = [
                    self._sub_agent(each, turn, index, place) for index, each in enumerate(step.sub_agents, start=1)
                ]
                pause = None if last and self._of is None else 0.0 if last else step.delay_s
                yield Prompt(
                    list(messages),
                    self.conversation,
                    turn,
                    shared,
                    "sub-agent" if self._of else "agent",
                    body=common.body,
                    check_calls=check,
                    pause_after_s=pause,
                    task=place,
                )
                shared = asked_chars(messages, common.body)
                messages += self._follow(step, rng, turn, last)

    def _sub_agent(self, assignment: Assignment, turn: int, index: int, place: TaskStep) -> AgentSession:
        work = _Work(self._work.material, self._work.shared, (assignment,))
        return AgentSession(self.phase, self._number, work, f"-{turn}.{index}", TaskStep(place.task, None, place.steps))

    def _request(self, task: Assignment, rng: Random) -> Message:
        material = self._work.material
        context = material.repository(rng, task.context_tokens) + "\n" if task.context_tokens else ""
        return {"role": "user", "content": context + rng.choice(_REQUESTS) + material.text(rng, task.request_tokens)}

    def _follow(self, step: AgentStep, rng: Random, turn: int, last: bool) -> list[Message]:
        """Add a turn's answer and its tool results to the history. The same random draws are made for either kind of
        answer, so that the rest of the session does not depend on it."""
        material, answer, calls = self._work.material, self._take_answer(), self._calls
        kind = REPORT if last else DELEGATE if step.sub_agents else None
        scripted = scripted_call(rng, material.settings.tools, f"c{turn:08d}", kind)
        result = _SHOWN if last and self._of is None else material.text(rng, step.result_tokens)
        by_script = material.settings.assistant_turns == "corpus" or self._unsent
        if not by_script and self._waiting:  # cut to the planned length, so that the history stays within its limit
            reports = "\n\n".join(f"Report of helper {n}: {each.report}" for n, each in enumerate(self._waiting, 1))
            result = reports[: max(1, len(result))]
        self._calls, self._waiting, self._unsent = (), [], False
        if by_script:
            calls = (scripted,)
        if not calls or not all(is_json(call.arguments) for call in calls):  # servers reject such a call
            return [
                {"role": "assistant", "content": answer.strip() or "(nothing)"},
                {"role": "user", "content": _NO_CALL + result},
            ]
        calls = tuple(call._replace(id=call.id or f"c{turn:07d}{place}") for place, call in enumerate(calls))
        share = -(-len(result) // len(calls))
        return [
            {"role": "assistant", "content": "", "tool_calls": [call.as_part() for call in calls]},
            *(
                {
                    "role": "tool",
                    "tool_call_id": call.id,
                    "content": result[place * share : (place + 1) * share] or "(nothing)",
                }
                for place, call in enumerate(calls)
            ),
        ]
