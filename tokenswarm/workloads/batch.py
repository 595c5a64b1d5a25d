"""Batch classification: unique documents under one short instruction, answered with one word."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tokenswarm.scenario.model import Scenario
from tokenswarm.workloads.base import Prompt, Session, cache_buster_prefix, require_text, rng_for
from tokenswarm.workloads.corpus import Corpus


class BatchWorkload:
    """Documents to classify, each in a session of its own."""

    def __init__(self, scenario: Scenario, corpus: Corpus, seed: int, salt: str) -> None:
        self._settings = scenario.batch
        self._chars_per_token = scenario.prompts.chars_per_token
        self._corpus = corpus
        self._seed = seed
        self._salt = salt
        self._systems: dict[str, str] = {}
        self._check = one_word_of(self._settings.categories)
        require_text(corpus, self._settings.document_tokens.typical() * self._chars_per_token, "batch.document_tokens")

    def session(self, phase: str, number: int) -> BatchSession:
        """Document `number` of a phase."""
        rng = rng_for(self._seed, phase, number)
        chars = round(self._settings.document_tokens.sample(rng) * self._chars_per_token)
        # The document's name makes it unique from its first words on, even where two excerpts begin alike.
        document = f"Document {phase}-{number:06d}:\n\n{self._corpus.take(rng, max(1, chars))}"
        return BatchSession(phase, number, self._system(phase), document, self._check)

    def _system(self, phase: str) -> str:
        if phase not in self._systems:
            self._systems[phase] = cache_buster_prefix(self._salt, phase) + instruction(self._settings.categories)
        return self._systems[phase]


class BatchSession(Session):
    """One document, one question."""

    def __init__(self, phase: str, number: int, system: str, document: str, check: Callable[[str], bool]) -> None:
        super().__init__(phase, number)
        self._system = system
        self._document = document
        self._check = check

    def __iter__(self) -> Iterator[Prompt]:
        messages = [{"role": "system", "content": self._system}, {"role": "user", "content": self._document}]
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
