"""Retrieval-augmented generation: shared reference documents, and questions about them."""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from random import Random
from typing import Annotated

from pydantic import Field

from tokenswarm.base.assumptions import TOKEN_S
from tokenswarm.scenario.distribution import Distribution, constant
from tokenswarm.scenario.model import Scenario
from tokenswarm.scenario.values import Count, Rate
from tokenswarm.scenario.workload_kinds import WorkloadSettings
from tokenswarm.workloads.ages import CANDIDATES
from tokenswarm.workloads.base import (
    BEFORE,
    STEADY,
    Message,
    Prompt,
    Session,
    Workload,
    cache_buster_prefix,
    chars_of,
    require_text,
    rng_for,
)
from tokenswarm.workloads.corpus import Corpus
from tokenswarm.workloads.turnover import generation, order_of_replacement

INSTRUCTION = (
    "You are an expert on the reference document below. Answer questions from it alone, in a few sentences, and quote "
    "the passage that you rely on. If the document does not answer a question, say so.\n\n"
)
QUESTIONS = (
    "What does the document say about '{}'?",
    "Explain in your own words the passage around '{}'.",
    "What follows from '{}' for someone who has to apply it?",
    "Which exceptions or limits does the document give for '{}'?",
    "Summarise the part of the document that mentions '{}'.",
    "Why does the document say '{}'?",
)
_PHRASE_CHARS = 60
_LETTER = re.compile(r"[^\W_]")
"""A character for which `isalnum` is true."""
_OPENED_FIRST = 100
"""Number of documents that the warm-up opens in turn; further ones are opened by popularity."""


class RagSettings(WorkloadSettings):
    """Readers who ask about shared reference documents."""

    documents: Count = Field(default=24, description="number of shared documents")
    zipf_s: Annotated[float, Field(strict=True, ge=0, le=10)] = Field(
        default=1.0, description="popularity: document k is opened in proportion to 1/k^zipf_s; 0 = all alike"
    )
    new_documents_per_minute: Rate = Field(
        default=0.0, description="documents replaced by new ones per minute, with steady prompts"
    )
    document_tokens: Distribution = Field(
        default=constant(3000), description="approximate length of a document, tokens"
    )
    questions_per_reader: Distribution = Field(
        default=constant(3), description="number of questions that one reader asks"
    )
    history: bool = Field(
        default=False, strict=True, description="true: each question includes the earlier questions and answers"
    )


@dataclass(frozen=True, slots=True)
class Document:
    """A shared document as it is sent: identity, its text, and the system prompt that holds it."""

    identity: str
    text: str
    system: str


class RagWorkload(Workload):
    """Readers who open documents by popularity (Zipf) and ask a few questions about them."""

    name = "rag"
    Settings = RagSettings

    def __init__(self, scenario: Scenario, corpus: Corpus, seed: int, salt: str) -> None:
        super().__init__(scenario, corpus, seed, salt)
        self._places = order_of_replacement(seed, self.settings.documents)
        self._cumulative = zipf_cumulative(self.settings.documents, self.settings.zipf_s)
        self._seen = self._seen_in_service(scenario)
        require_text(corpus, self.settings.document_tokens.typical() * self.chars_per_token, "rag.document_tokens")
        # A document is built when it is first opened, and kept: rebuilding it for each reader would cost time on the
        # event loop.
        self.document = lru_cache(maxsize=2 * self.settings.documents)(self._document)

    def session(self, phase: str, number: int) -> RagSession:
        """Reader `number` of a phase, who opens one document and asks questions about it."""
        return self.session_at(phase, number, 0.0)

    def session_at(self, phase: str, number: int, at_s: float) -> RagSession:
        """The same, with one of the documents that exist `at_s` seconds after the run's start."""
        rng = rng_for(self.seed, phase, number)
        rank = 1 + bisect_left(self._cumulative, rng.random() * self._cumulative[-1])
        rank = self._opened_first(phase, number) or rank
        questions = self.settings.questions_per_reader.sample_int(rng)
        document = self.document(self.scope(phase), rank, self._generation(rank, at_s))
        return RagSession(phase, number, document, questions, self.settings.history, rng.getrandbits(64))

    def _generation(self, rank: int, at_s: float) -> int:
        """How often the document of that rank has been replaced by `at_s`."""
        if self.state == "cold":
            return 0
        settings = self.settings
        return generation(self._places[rank - 1], settings.documents, settings.new_documents_per_minute, at_s)

    def _opened_first(self, phase: str, number: int) -> int | None:
        """The rank that one of the first readers of the warm-up opens if prompts are steady. These readers open each
        document once, the most popular first: by chance it would take minutes until a rare one is in the cache, as it
        would be in production. The measured phase opens documents by popularity only. Documents so new or so rare that
        nobody would have opened them yet in production are skipped (`_seen_in_service`): with all of them in the cache,
        the measured phase would begin with fewer misses than later.
        """
        if self.state == "cold" or phase not in ("warmup", BEFORE):
            return None
        first = number // CANDIDATES if phase == BEFORE else number
        return first + 1 if first < min(self.settings.documents, _OPENED_FIRST) and self._seen[first] else None

    def _seen_in_service(self, scenario: Scenario) -> list[bool]:
        """For each rank: whether its document would have been opened by the run's start in a long-running service. It
        has existed since its last replacement, and is opened at a rate of readers_s × popularity; so it is unopened
        with probability exp(-readers_s × popularity × age).
        """
        settings, load = self.settings, scenario.load
        count, per_minute = settings.documents, settings.new_documents_per_minute
        if per_minute <= 0:
            return [True] * count
        questions = settings.questions_per_reader.typical()
        asked_s = (
            load.rate
            if load.rate is not None
            else load.users / (scenario.user.think_time_s.typical() + TOKEN_S * scenario.output.max_tokens)
        )
        readers_s, rng = asked_s / max(1.0, questions), Random(f"seen/{self.seed}")
        seen = []
        for rank, (place, share) in enumerate(zip(self._places, self._cumulative, strict=True)):
            popularity = (share - (self._cumulative[rank - 1] if rank else 0.0)) / self._cumulative[-1]
            age_s = (count - 1 - place) * 60.0 / per_minute
            seen.append(rng.random() >= math.exp(-readers_s * popularity * age_s))
        return seen

    def _document(self, scope: str, rank: int, generation: int = 0) -> Document:
        """The document of popularity rank 1, 2, ...; it differs by scope and after each replacement."""
        renewed = f".{generation}" if generation else ""
        rng = rng_for(self.seed, scope, "document", f"{rank}{renewed}")
        tokens = self.settings.document_tokens.sample(rng)
        text = self.lengths.excerpt(self.corpus, rng, tokens, least_chars=_PHRASE_CHARS)
        # The document's name comes first, so that two excerpts that begin alike do not share a cache entry.
        identity = f"doc-{rank:03d}{renewed}" if scope == STEADY else f"{scope}-doc-{rank:03d}"
        system = f"{cache_buster_prefix(self.salt, scope)}{INSTRUCTION}Reference document {identity}:\n\n{text}"
        return Document(identity, text, system)


class RagSession(Session):
    """One reader's questions about one document."""

    def __init__(self, phase: str, number: int, document: Document, questions: int, history: bool, seed: int) -> None:
        super().__init__(phase, number)
        self._document = document
        self._questions = self.turns = questions
        self._history = history
        self._seed = seed

    def __iter__(self) -> Iterator[Prompt]:
        rng = Random(self._seed)
        # The system prompt is a message of its own: other readers of the document share it to its last character.
        past: list[Message] = [{"role": "system", "content": self._document.system}]
        shared = len(self._document.system)
        for turn in range(1, self._questions + 1):
            messages = [*past, {"role": "user", "content": question_about(self._document.text, rng)}]
            yield Prompt(messages, self.conversation, turn, shared, self._document.identity)
            answer = self._take_answer()
            if self._history and answer.strip():
                shared = chars_of(messages)
                past = [*messages, {"role": "assistant", "content": answer}]


def question_about(text: str, rng: Random) -> str:
    """A question that quotes a phrase of the text, so that questions differ and can be answered from it."""
    begin = rng.randrange(max(1, len(text) - _PHRASE_CHARS))
    words = [word for word in text[begin : begin + 2 * _PHRASE_CHARS].split() if _LETTER.search(word)]
    # The first and last words are usually cut off.
    phrase = " ".join(words[1:-1] or words)[:_PHRASE_CHARS].rsplit(" ", 1)[0] or "this"
    return rng.choice(QUESTIONS).format(phrase)


def zipf_cumulative(documents: int, s: float) -> list[float]:
    """Cumulative weights of ranks 1..documents, rank k weighing 1/k^s (Zipf's law; not normalised)."""
    return list(accumulate(rank**-s for rank in range(1, documents + 1)))
