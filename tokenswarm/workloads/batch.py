"""Batch classification: unique documents under one short instruction, answered with one word."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

from pydantic import Field, field_validator

from tokenswarm.scenario.distribution import Distribution, constant
from tokenswarm.scenario.model import Scenario
from tokenswarm.workloads.base import (
    Prompt,
    Session,
    SystemPromptSettings,
    Workload,
    cache_buster_prefix,
    require_text,
    rng_for,
)
from tokenswarm.workloads.corpus import Corpus

_REMEMBERED = 8
"""Number of system prompts to cache, for sessions that begin now."""


class BatchSettings(SystemPromptSettings):
    """Unique documents, each put into one of a few categories."""

    categories: tuple[str, ...] = Field(
        default=("syntax", "data", "execution", "tools", "other"), description="one-word labels to choose from"
    )
    document_tokens: Distribution = Field(default=constant(250), description="approximate length of a document, tokens")

    @field_validator("categories")
    @classmethod
    def _single_words(cls, categories: tuple[str, ...]) -> tuple[str, ...]:
        if len(categories) < 2 or len({c.lower() for c in categories}) != len(categories):
            raise ValueError("should be at least two different words")
        if not all(c.isalnum() for c in categories):
            raise ValueError("should be single words of letters and digits, since a one-word answer is checked")
        return categories


class BatchWorkload(Workload):
    """Documents to classify, each in a session of its own."""

    name = "batch"
    Settings = BatchSettings

    def __init__(self, scenario: Scenario, corpus: Corpus, seed: int, salt: str) -> None:
        super().__init__(scenario, corpus, seed, salt)
        self._system = lru_cache(maxsize=_REMEMBERED)(self._system_of)
        self._check = one_word_of(self.settings.categories)
        require_text(corpus, self.settings.document_tokens.typical() * self.chars_per_token, "batch.document_tokens")

    def session(self, phase: str, number: int) -> BatchSession:
        """Document `number` of a phase."""
        return self.session_at(phase, number, 0.0)

    def session_at(self, phase: str, number: int, at_s: float) -> BatchSession:
        """Document `number` of a phase."""

        def document() -> str:
            rng = rng_for(self.seed, phase, number)
            text = self.lengths.excerpt(self.corpus, rng, self.settings.document_tokens.sample(rng))
            # The document's name makes it unique from its first words, even if two excerpts begin alike.
            return f"Document {phase}-{number:06d}:\n\n{text}"

        return BatchSession(phase, number, self._system(self.scope(phase, at_s)), document, self._check)

    def _system_of(self, scope: str) -> str:
        return cache_buster_prefix(self.salt, scope) + instruction(self.settings.categories)


class BatchSession(Session):
    """One document, one question."""

    turns = 1

    def __init__(
        self, phase: str, number: int, system: str, document: Callable[[], str], check: Callable[[str], bool]
    ) -> None:
        """`document`: returns the text when it is needed."""
        super().__init__(phase, number)
        self._system = system
        self._document = document
        self._check = check

    def __iter__(self) -> Iterator[Prompt]:
        messages = [{"role": "system", "content": self._system}, {"role": "user", "content": self._document()}]
        yield Prompt(messages, self.conversation, 1, len(self._system), check=self._check)


def instruction(categories: tuple[str, ...]) -> str:
    """The classifier's instruction, with the line `Categories: a, b, c` that lists the labels."""
    return (
        "Classify the document into exactly one category. Answer with that one word and nothing else.\n"
        f"Categories: {', '.join(categories)}"
    )


def one_word_of(categories: tuple[str, ...]) -> Callable[[str], bool]:
    """A check that an answer is exactly one of the categories; case, quotes and closing punctuation do not matter."""
    allowed = frozenset(category.lower() for category in categories)
    return lambda answer: answer.strip().strip("\"'`*.!,:; \n").lower() in allowed
