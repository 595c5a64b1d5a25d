"""What the engine models have in common: the job they work on, and the questions one may ask them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from tokenswarm.sim.hardware import SpeculationModel

TOKEN_BYTES = 4
"""A token is four bytes of text, so that a sequence of tokens is a `bytes` and a shared prefix is a memcmp."""


@dataclass(slots=True, eq=False)
class Job:
    """One request as the engine model sees it. Times are model seconds.

    `sequence` holds the prompt and the whole answer that will come, TOKEN_BYTES each token: what a prefix
    cache compares. A job asks for `output_tokens` >= 1 tokens, then it is finished.
    """

    request_id: str
    sequence: bytes
    prompt_tokens: int
    output_tokens: int
    reply: Any = None
    arrival_s: float = 0.0
    compile_s: float = 0.0
    """How long it waits for its constraint to be compiled, or its adapter to be loaded, before it may enter a step."""
    ready_s: float = 0.0
    admitted_s: float | None = None
    cached_tokens: int = 0
    computed: int = 0
    generated: int = 0
    held: int = 0
    """Tokens generated that have not left yet."""
    luck: Random | None = None
    """Random source of which drafted tokens are accepted: the job's own, so that it is the same in each run."""
    finished: bool = False
    cancelled: bool = False
    lease: Any = None
    times: list[float] | None = None
    """When its events left, if somebody wants to know: see EngineModel.compute."""
    counts: list[int] = field(default_factory=list)
    """Tokens in each of them; empty where each holds one."""


Emission = tuple[float, Job, int]
"""(model time, job, tokens): so many tokens of a job leave in one event."""


@dataclass(slots=True)
class Counters:
    """Totals since start, as an engine's /metrics counts them (tokens unless named otherwise)."""

    prompt_tokens: int = 0
    generation_tokens: int = 0
    prefix_query_tokens: int = 0
    prefix_hit_tokens: int = 0
    preemptions: int = 0
    drafts: int = 0
    draft_tokens: int = 0
    accepted_tokens: int = 0
    accepted_at: list[int] = field(default_factory=list)
    """Drafts whose first, second, ... token was accepted."""
    steps: int = 0


class EngineModel(Protocol):
    """An engine in model time. Calls must come with times that never decrease."""

    counters: Counters

    def submit(self, job: Job, at_s: float) -> None:
        """The job arrives."""

    def cancel(self, job: Job) -> None:
        """Its client is gone: no more tokens, its memory is free. A finished job is left as it is."""

    def next_s(self) -> float | None:
        """When `advance` will next have something to do; None while idle."""

    def advance(self, now_s: float, limit: int) -> list[Emission]:
        """What leaves by now_s in order of time, about `limit` emissions at most."""

    def next_step_s(self) -> float | None:
        """When `compute` will next have something to do; None while idle."""

    def compute(self, until_s: float) -> list[Job]:
        """For a caller that keeps the time itself: go on to until_s, but not beyond a step in which jobs finish;
        returns those. What leaves, then or shortly after, is noted in `Job.times`, which the caller has set."""

    def flush(self) -> bool:
        """Empties the prefix cache; False, and nothing is done, while jobs are in the engine."""

    def running(self) -> int:
        """Jobs in the batch."""

    def waiting(self) -> int:
        """Jobs in the queue."""

    def kv_usage(self) -> float:
        """Share of the KV cache that jobs hold, 0..1."""


@dataclass(slots=True)
class EngineLimits:
    """What an operator sets on an engine: the flags that both engine models understand (tokens, sequences)."""

    kv_tokens: int
    block_size: int = 16
    max_num_seqs: int = 256
    max_batched_tokens: int = 8192
    prefix_cache: bool = True
    chunked_prefill: bool = True
    speculation: SpeculationModel | None = None
    stream_interval: int = 1
    """Tokens that leave in one event, at most; the first one leaves alone."""
