"""Multi-turn chat: conversations that accumulate history, and one long context asked four unrelated questions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Annotated, Literal

from pydantic import Field

from tokenswarm.scenario.distribution import Distribution, constant
from tokenswarm.scenario.model import Scenario
from tokenswarm.scenario.values import Count
from tokenswarm.workloads.base import (
    Message,
    Prompt,
    Session,
    SystemPromptSettings,
    Workload,
    cache_buster_prefix,
    chars_of,
    require_text,
    rng_for,
)
from tokenswarm.workloads.corpus import Corpus
from tokenswarm.workloads.rag import question_about
from tokenswarm.workloads.token_lengths import TokenLengths

INSTRUCTION = (
    "You are a patient assistant for people who learn to program. Answer precisely, give a short example where it "
    "helps, and ask back when a question is unclear. These notes are what you teach from:\n\n"
)
SHORT_INSTRUCTION = "You are a helpful assistant. Answer in a few sentences."
OPENERS = (
    "Could you explain this to me? ",
    "I came across the following and do not understand it: ",
    "What would change if this did not hold? ",
    "Give me an example for this: ",
    "How does this fit with what you said before? ",
    "My colleague claims the opposite of this. Who is right? ",
    "Please put this more simply: ",
    "Is the following still true? ",
)
SMALL_QUESTIONS = (
    "What is the capital of {}?",
    "Name three things that {} is known for.",
    "In which part of the world does {} lie?",
    "How would you greet someone in {}?",
)
_REMEMBERED = 8
"""Number of system prompts to cache, for sessions that begin now."""
_PLACES = ("Norway", "Peru", "Kenya", "Japan", "Portugal", "Canada", "Vietnam", "Morocco", "Iceland", "Chile")


class ChatSettings(SystemPromptSettings):
    """Conversations that accumulate history, or one long context asked four unrelated questions."""

    style: Literal["conversation", "four_questions"] = Field(
        default="conversation",
        description="conversation: history grows turn by turn; four_questions: context_tokens, asked fresh, cached, "
        "cached, then a small question without the context",
    )
    system_tokens: Count = Field(default=200, description="approximate length of the shared system prompt, tokens")
    turns: Distribution = Field(default=constant(5), description="requests in a conversation, including branches")
    message_tokens: Distribution = Field(
        default=constant(60), description="approximate length of a user's message, tokens"
    )
    answer_tokens: Distribution | None = Field(
        default=None, description="max_tokens of each answer; unset: output.max_tokens"
    )
    branch_probability: Annotated[float, Field(strict=True, ge=0, le=1)] = Field(
        default=0.0, description="probability that a later turn regenerates the last answer or edits an earlier message"
    )
    assistant_turns: Literal["engine", "corpus"] = Field(
        default="engine",
        description="what enters the history: the engine's answer, or scripted text (equal prompts everywhere)",
    )
    history_limit_tokens: Count = Field(
        default=6000, description="a conversation ends before its prompt exceeds about this, tokens"
    )
    context_tokens: Count = Field(
        default=7000, description="approximate length of the context of four_questions, tokens"
    )


@dataclass(frozen=True, slots=True)
class _Material:
    """What all conversations of a workload share."""

    settings: ChatSettings
    corpus: Corpus
    seed: int
    salt: str
    lengths: TokenLengths

    @property
    def chars_per_token(self) -> float:
        return self.lengths.chars_per_token

    def text(self, rng: Random, tokens: float) -> str:
        """An excerpt of the corpus of about that many tokens."""
        return self.lengths.excerpt(self.corpus, rng, tokens)


class ChatWorkload(Workload):
    """Conversations, in the style that the scenario's [chat] names."""

    name = "chat"
    Settings = ChatSettings

    def __init__(self, scenario: Scenario, corpus: Corpus, seed: int, salt: str) -> None:
        super().__init__(scenario, corpus, seed, salt)
        settings = self.settings
        self._material = _Material(settings, corpus, seed, salt, self.lengths)
        self._system = lru_cache(maxsize=_REMEMBERED)(self._system_of)
        if settings.answer_tokens is not None:
            self.answer_tokens = settings.answer_tokens.typical()
        four = settings.style == "four_questions"
        key, tokens = ("context_tokens", settings.context_tokens) if four else ("system_tokens", settings.system_tokens)
        require_text(corpus, tokens * scenario.prompts.factor, f"chat.{key}")

    def session(self, phase: str, number: int) -> Session:
        """Conversation `number` of a phase."""
        return self.session_at(phase, number, 0.0)

    def session_at(self, phase: str, number: int, at_s: float) -> Session:
        """Conversation `number` of a phase."""
        if self._material.settings.style == "four_questions":
            cache_buster = cache_buster_prefix(self.salt, self.scope(phase, at_s))
            return FourQuestions(phase, number, self._material, cache_buster)
        return Conversation(phase, number, self._material, self._system(self.scope(phase, at_s)))

    def _system_of(self, scope: str) -> str:
        """The system prompt of all conversations in a scope."""
        material = self._material
        room = material.settings.system_tokens - len(INSTRUCTION) / material.chars_per_token
        notes = material.text(rng_for(material.seed, scope, "system"), room) if room > 0 else ""
        return cache_buster_prefix(material.salt, scope) + INSTRUCTION + notes


class Conversation(Session):
    """A conversation whose history grows turn by turn and sometimes branches."""

    def __init__(self, phase: str, number: int, material: _Material, system: str) -> None:
        super().__init__(phase, number)
        self._material = material
        self._system: Message = {"role": "system", "content": system}
        self._source = (material.seed, phase, number)
        self.turns = material.settings.turns.sample_int(rng_for(*self._source))  # the first that is drawn, as below

    def __iter__(self) -> Iterator[Prompt]:
        settings = self._material.settings
        rng = rng_for(*self._source)
        # Scripted answers have their own random source, so that the user's messages are the same with either kind of
        # answer.
        script = rng_for(*self._source, "answers") if settings.assistant_turns == "corpus" else None
        limit_chars = settings.history_limit_tokens * self._material.chars_per_token
        sent: list[Message] = [self._system]  # the last request's messages
        answer: Message | None = None
        for turn in range(1, settings.turns.sample_int(rng) + 1):
            messages, shared = self._next(rng, sent, answer)
            if turn > 1 and chars_of(messages) > limit_chars:
                return
            tokens = settings.answer_tokens.sample_int(rng) if settings.answer_tokens else None
            yield Prompt(messages, self.conversation, turn, shared, max_tokens=tokens)
            text = self._take_answer()
            if script is not None:
                text = self._material.text(script, tokens or settings.message_tokens.typical())
            if text.strip():
                sent, answer = messages, {"role": "assistant", "content": text}
            else:  # servers reject an empty turn and two questions in a row: drop the question
                sent, answer = messages[:-1], None

    def _next(self, rng: Random, sent: list[Message], answer: Message | None) -> tuple[list[Message], int]:
        """The next request's messages, and how many leading characters an earlier request had as well."""
        if answer is None:
            return [*sent, self._message(rng)], chars_of(sent)
        if rng.random() >= self._material.settings.branch_probability:
            return [*sent, answer, self._message(rng)], chars_of(sent)
        if rng.random() < 0.5:  # regenerate: the same prompt again
            return list(sent), chars_of(sent)
        # Edit: the user rewrites an earlier message, and everything after it is dropped.
        edited = rng.choice([i for i, message in enumerate(sent) if message["role"] == "user"])
        return [*sent[:edited], self._message(rng)], chars_of(sent[:edited])

    def _message(self, rng: Random) -> Message:
        opener = rng.choice(OPENERS)
        tokens = self._material.settings.message_tokens.sample(rng) - len(opener) / self._material.chars_per_token
        return {"role": "user", "content": opener + self._material.text(rng, max(2.0, tokens))}


class FourQuestions(Session):
    """One long context: asked once fresh, twice more (by then cached), and last a small question without it.

    `document` says which is which: `fresh`, `cached`, `small`.
    """

    turns = 4

    def __init__(self, phase: str, number: int, material: _Material, cache_buster: str) -> None:
        super().__init__(phase, number)
        self._material = material
        self._cache_buster = cache_buster
        self._source = (material.seed, phase, number)

    def __iter__(self) -> Iterator[Prompt]:
        material = self._material
        rng = rng_for(*self._source)
        # The salt keeps contexts of different runs apart; the name keeps those of different sessions apart.
        system = {"role": "system", "content": self._cache_buster + SHORT_INSTRUCTION}
        text = material.text(rng, material.settings.context_tokens)
        context = f"Notes {self.conversation}:\n\n{text}\n\nQuestion: "
        alone = len(system["content"])
        for turn, kind in enumerate(("fresh", "cached", "cached"), start=1):
            messages = [system, {"role": "user", "content": context + question_about(text, rng)}]
            shared = alone if kind == "fresh" else alone + len(context)
            yield Prompt(messages, self.conversation, turn, shared, kind, max_tokens=self._tokens(rng))
        small = rng.choice(SMALL_QUESTIONS).format(rng.choice(_PLACES))
        yield Prompt(
            [system, {"role": "user", "content": small}], self.conversation, 4, alone, "small", None, self._tokens(rng)
        )

    def _tokens(self, rng: Random) -> int | None:
        lengths = self._material.settings.answer_tokens
        return lengths.sample_int(rng) if lengths else None
