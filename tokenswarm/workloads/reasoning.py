"""Reasoning: generated tasks with a known answer, in the manner in which DeepSeek-R1 is asked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from tokenswarm.scenario.model import Scenario
from tokenswarm.workloads.base import Prompt, Session, cache_buster_prefix, rng_for
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


class ReasoningWorkload:
    """Tasks of the scenario's kinds in equal parts, each in a session of its own.

    The tasks are generated, not cut from the corpus. There is no system prompt: R1's authors advise against one.
    """

    def __init__(self, scenario: Scenario, corpus: Corpus, seed: int, salt: str) -> None:
        self._settings = scenario.reasoning
        self._seed = seed
        self._salt = salt

    def session(self, phase: str, number: int) -> ReasoningSession:
        """Task `number` of a phase."""
        rng = rng_for(self._seed, phase, number)
        kind = self._settings.tasks[number % len(self._settings.tasks)]
        task = GENERATORS[kind](rng, self._settings.difficulty)
        return ReasoningSession(phase, number, cache_buster_prefix(self._salt, phase) + INSTRUCTION, task)


class ReasoningSession(Session):
    """One task, one question."""

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
    found = list(_ANSWER.finditer(text))
    if not found:
        return ""
    begin = _DECORATION.match(text, found[-1].end()).end()
    if number := _NUMBER.match(text, begin):
        return number.group().replace(",", "").split(".")[0]
    word = _WORD.match(text, begin)
    return word.group().lower() if word else ""
