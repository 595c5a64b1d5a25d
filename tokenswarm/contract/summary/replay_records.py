"""Fidelity of a replay: what the trace asked for, next to what was sent."""

from __future__ import annotations

from msgspec import field

from tokenswarm.contract.summary.figure import Figure, Number, Record


class Limit(Record):
    """A figure that must stay within a limit for the run to be a replay of its trace. `kept` is None where it is not
    known."""

    name: str = ""
    figure: Figure = field(default_factory=Figure)
    limit: Number = 0
    kept: bool | None = None


class Fidelity(Record):
    """A replay beside its trace. Lengths are in tokens; errors are shares of what was asked; times in ms.

    requests, sent: requests that the trace has in this replay, and how many were sent. asked, made: percentiles of
    the prompts' lengths. prompt_error, output_error: percentiles of the difference, either way. prompt_total_error,
    output_total_error: of all prompts, and of all answers, together. slip: by how much requests were scheduled
    after their recorded time, since their session was slower than the trace's; lateness: by how much they were sent
    after they were due. rate_asked, rate_made: requests/s from the first to the last. implied: hit rate that the
    trace's ids of blocks give, in blocks of `block_size` tokens, in a cache without limits and in the engine's own
    (`implied_capacity`); sent_allow: what the prompts that were sent allow in the same blocks, as far as
    prompts.csv tells (`sent_allow_range`); engine: what it found.
    """

    requests: int = 0
    sent: int = 0
    asked_p50: Figure = field(default_factory=Figure)
    asked_p99: Figure = field(default_factory=Figure)
    made_p50: Figure = field(default_factory=Figure)
    made_p99: Figure = field(default_factory=Figure)
    prompt_error_p50: Figure = field(default_factory=Figure)
    prompt_error_p99: Figure = field(default_factory=Figure)
    prompt_total_error: Figure = field(default_factory=Figure)
    output_error_p99: Figure = field(default_factory=Figure)
    output_total_error: Figure = field(default_factory=Figure)
    slip_p50_ms: Figure = field(default_factory=Figure)
    slip_p99_ms: Figure = field(default_factory=Figure)
    lateness_p99_ms: Figure = field(default_factory=Figure)
    rate_asked: Figure = field(default_factory=Figure)
    rate_made: Figure = field(default_factory=Figure)
    block_size: int | None = None
    implied: Figure = field(default_factory=Figure)
    implied_capacity: Figure = field(default_factory=Figure)
    sent_allow: Figure = field(default_factory=Figure)
    sent_allow_range: list[Number] | None = None
    engine: Figure = field(default_factory=Figure)
    limits: list[Limit] = field(default_factory=list)
    faithful: bool = False
    sentence: str = ""
