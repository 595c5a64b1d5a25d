"""Reasoning: generated tasks with known answers, prompted as DeepSeek-R1's authors recommend."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.presence import present
from tokenswarm.scenario.engine_settings import NO_PARSER
from tokenswarm.scenario.model import Scenario
from tokenswarm.workloads.base import Prompt, Session, SystemPromptSettings, Workload, cache_buster_prefix, rng_for
from tokenswarm.workloads.corpus import Corpus
from tokenswarm.workloads.tasks import GENERATORS, Task

INSTRUCTION = (
    "Think step by step. Then write the result on a last line of its own, in the form 'Answer: X', with nothing after "
    "it.\n\n"
)
_ANSWER = re.compile(r"answer\W{0,4}:", re.IGNORECASE)
_DECORATION = re.compile(r"[\s*`$\"'(\[\\]*(?:boxed\{)?\s*(?:(?:the|line|place|total)\s+)*", re.IGNORECASE)
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.0+)?(?!\w|\.\d)")
_WORD = re.compile(r"[^\W\d]\w*")


class ReasoningSettings(SystemPromptSettings):
    """Generated tasks with a known answer."""

    tasks: tuple[Literal["bug", "arithmetic", "logic"], ...] = Field(
        default=("bug", "arithmetic", "logic"), description="kinds of task, asked in equal parts"
    )
    difficulty: Annotated[int, Field(strict=True, ge=1, le=5)] = Field(
        default=3, description="1 (short tasks) to 5 (long tasks)"
    )

    format: Literal["parser", "raw"] = Field(
        default="parser",
        description="parser: the engine separates reasoning from the answer (engine.reasoning_parser); raw: it "
        "returns the model's <think> tags, and tokenswarm separates them, with the same figures for the "
        "same text",
    )

    @property
    def raw_reasoning(self) -> bool:
        return self.format == "raw"

    @classmethod
    def completed_scenario(
        cls, values: dict[str, object], table: dict[str, object], explicit: Collection[str]
    ) -> dict[str, object]:
        """See WorkloadSettings. Raw answers need an engine without a reasoning parser."""
        engine = values.get("engine", {})
        if not isinstance(engine, dict) or table.get("format", "parser") not in ("parser", "raw"):
            return values  # rejected by validation
        parser = engine.get("reasoning_parser")
        if table.get("format") == "raw":
            if "engine.reasoning_parser" in explicit and parser != NO_PARSER:
                raise UserError(
                    Exit.USAGE,
                    f"reasoning.format is raw, but engine.reasoning_parser is {parser}: it "
                    "takes the tags out; leave one of them",
                )
            return {**values, "engine": {**engine, "reasoning_parser": NO_PARSER}}
        return values

    @model_validator(mode="after")
    def _some_task(self) -> ReasoningSettings:
        if not self.tasks:
            raise ValueError("tasks should hold at least one of 'bug', 'arithmetic', 'logic'")
        return self


class ReasoningWorkload(Workload):
    """Tasks of the scenario's kinds in equal parts, each in its own session. They are generated, not taken from the
    corpus. There is no system prompt, since R1's authors advise against one.
    """

    name = "reasoning"
    Settings = ReasoningSettings

    def __init__(self, scenario: Scenario, corpus: Corpus, seed: int, salt: str) -> None:
        super().__init__(scenario, corpus, seed, salt)

    def session(self, phase: str, number: int) -> ReasoningSession:
        """Task `number` of a phase."""
        return self.session_at(phase, number, 0.0)

    def session_at(self, phase: str, number: int, at_s: float) -> ReasoningSession:
        """Task `number` of a phase."""
        rng = rng_for(self.seed, phase, number)
        kind = self.settings.tasks[number % len(self.settings.tasks)]
        task = GENERATORS[kind](rng, self.settings.difficulty)
        return ReasoningSession(phase, number, self._preamble(phase, at_s), task)

    def _preamble(self, phase: str, at_s: float) -> str:
        return cache_buster_prefix(self.salt, self.scope(phase, at_s)) + INSTRUCTION


class ReasoningSession(Session):
    """One task, one question."""

    turns = 1

    def __init__(self, phase: str, number: int, preamble: str, task: Task) -> None:
        super().__init__(phase, number)
        self._preamble = preamble
        self.task = task

    def __iter__(self) -> Iterator[Prompt]:
        messages = [{"role": "user", "content": self._preamble + self.task.question}]
        shared = len(self._preamble)
        yield Prompt(messages, self.conversation, 1, shared, self.task.kind, check=answers(self.task.answer))


def answers(expected: str) -> Callable[[str], bool]:
    """A check that the last `Answer:` of a text is followed by `expected`, a whole number or a name.

    Emphasis, LaTeX's box, thousands separators, case and what follows the first word or number do not matter.
    """
    return lambda text: final_answer(text) == expected.lower()


def final_answer(text: str) -> str:
    """What the last `Answer:` of a text gives: a number without separators, or a word in lower case; "" if none."""
    matches = list(_ANSWER.finditer(text))
    if not matches:
        return ""
    begin = present(_DECORATION.match(text, matches[-1].end())).end()
    if number := _NUMBER.match(text, begin):
        return number.group().replace(",", "").split(".")[0]
    word = _WORD.match(text, begin)
    return word.group().lower() if word else ""
