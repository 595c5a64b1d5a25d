"""A workload from figures alone: lengths, turns, and what prompts begin with, each drawn from a distribution.

`tokenswarm profile FILE --scenario` fits these figures to recorded traffic, so that a workload can be shared without
its texts.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from functools import lru_cache
from random import Random
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tokenswarm.scenario.distribution import Distribution, constant
from tokenswarm.scenario.model import Scenario
from tokenswarm.scenario.values import Count
from tokenswarm.scenario.workload_kinds import WorkloadSettings
from tokenswarm.workloads.base import (
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
from tokenswarm.workloads.rag import zipf_cumulative

_REMEMBERED = 256
"""Shared beginnings that are kept at hand."""


class PopularBeginning(BaseModel):
    """A beginning so popular that it is named by itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: Annotated[float, Field(strict=True, gt=0, le=1)]
    tokens: Annotated[float, Field(strict=True, gt=0, le=1e7)]


class SyntheticSettings(WorkloadSettings):
    """Sessions whose lengths, turns and shared beginnings are drawn."""

    popular: tuple[PopularBeginning, ...] = Field(
        default=(),
        description="beginnings that many sessions have, each with its share of all sessions (0 to 1) and "
        "its length: `[{ share = 0.6, tokens = 800 }]`",
    )
    beginnings: Count = Field(default=1, description="number of other shared beginnings (system prompts, documents)")
    zipf_s: Annotated[float, Field(strict=True, ge=0, le=10)] = Field(
        default=1.0, description="their popularity: beginning k is used in proportion to 1/k^zipf_s; 0 = all alike"
    )
    beginning_tokens: Distribution = Field(default=constant(500), description="length of a shared beginning, tokens")
    with_beginning: Annotated[float, Field(strict=True, ge=0, le=1)] = Field(
        default=1.0,
        description="share of the sessions that start with one of these or of `popular`; the others share nothing",
    )
    turns: Distribution = Field(
        default=constant(1), description="requests in a session, each including all earlier ones"
    )
    first_tokens: Distribution = Field(
        default=constant(300), description="text unique to a session in its first request, tokens"
    )
    later_tokens: Distribution = Field(
        default=constant(60), description="new text in each later request, without the answer before it, tokens"
    )
    answer_tokens: Distribution = Field(
        default=constant(150),
        description="length of an answer (max_tokens), and of the scripted answer that enters the history, tokens",
    )

    @model_validator(mode="after")
    def _shares_add_up(self) -> SyntheticSettings:
        if sum(each.share for each in self.popular) > self.with_beginning + 1e-6:
            raise ValueError(f"the shares of `popular` add up to more than with_beginning ({self.with_beginning:g})")
        return self


class SyntheticWorkload(Workload):
    """Sessions that begin with a shared text or none, and grow turn by turn by scripted answers and new text."""

    name = "synthetic"
    Settings = SyntheticSettings

    def __init__(self, scenario: Scenario, corpus: Corpus, seed: int, salt: str) -> None:
        super().__init__(scenario, corpus, seed, salt)
        self._cumulative = zipf_cumulative(self.settings.beginnings, self.settings.zipf_s)
        self._beginning = lru_cache(maxsize=_REMEMBERED)(self._text_of)
        self.answer_tokens = self.settings.answer_tokens.typical()
        for name in ("beginning_tokens", "first_tokens"):
            require_text(corpus, getattr(self.settings, name).typical() * self.chars_per_token, f"synthetic.{name}")

    def session(self, phase: str, number: int) -> SyntheticSession:
        """Session `number` of a phase."""
        rng, scope = rng_for(self.seed, phase, number), self.scope(phase)
        turns = self.settings.turns.sample_int(rng)
        rank = self._rank(rng)
        begin = self._beginning(scope, rank) if rank else cache_buster_prefix(self.salt, f"{scope}-{number:06d}")
        return SyntheticSession(self, (phase, number, turns), begin, f"beginning-{rank:05d}" if rank else "", rng)

    def _rank(self, rng: Random) -> int | None:
        """The beginning of a session: the popular ones are 1, 2, ..., then the others; None: it shares nothing."""
        place, below = rng.random(), 0.0
        of_others = rng.random() * self._cumulative[-1]
        for number, each in enumerate(self.settings.popular, start=1):
            below += each.share
            if place < below:
                return number
        if place >= self.settings.with_beginning:
            return None
        return len(self.settings.popular) + 1 + bisect_left(self._cumulative, of_others)

    def _text_of(self, scope: str, rank: int) -> str:
        rng = rng_for(self.seed, scope, "beginning", rank)
        # Its name comes first: two excerpts that happen to begin alike must not share a cache entry.
        name = f"{cache_buster_prefix(self.salt, scope)}Beginning {rank:05d}.\n"
        popular = self.settings.popular
        tokens = popular[rank - 1].tokens if rank <= len(popular) else self.settings.beginning_tokens.sample(rng)
        return name + self.text(rng, tokens - len(name) / self.chars_per_token)

    def text(self, rng: Random, tokens: float) -> str:
        """A piece of the corpus of about that many tokens, of at least one character."""
        return self.lengths.excerpt(self.corpus, rng, max(0.0, tokens))


class SyntheticSession(Session):
    """One session; its first words after the shared beginning are its own."""

    def __init__(
        self, workload: SyntheticWorkload, identity: tuple[str, int, int], begin: str, document: str, rng: Random
    ) -> None:
        """`identity`: phase, number and turns."""
        phase, number, self._turns = identity
        super().__init__(phase, number)
        self.turns = self._turns
        self._workload, self._begin, self._document, self._rng = workload, begin, document, rng.getrandbits(64)

    def __iter__(self) -> Iterator[Prompt]:
        workload, rng = self._workload, Random(self._rng)
        settings, own = workload.settings, f"{self.conversation}: "
        messages: list[Message] = [{"role": "system", "content": self._begin}]
        shared = len(self._begin) if self._document else 0
        for turn in range(1, self._turns + 1):
            lengths = settings.first_tokens if turn == 1 else settings.later_tokens
            tokens = lengths.sample(rng) - (len(own) / workload.chars_per_token if turn == 1 else 0)
            messages = [*messages, {"role": "user", "content": (own if turn == 1 else "") + workload.text(rng, tokens)}]
            answer = settings.answer_tokens.sample_int(rng)
            yield Prompt(messages, self.conversation, turn, shared, self._document, max_tokens=answer)
            self._take_answer()
            shared = chars_of(messages)
            messages = [*messages, {"role": "assistant", "content": workload.text(rng, answer)}]
