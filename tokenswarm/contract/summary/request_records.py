"""Outcomes of requests: failures, tokens and goodput, for the run and for each user class."""

from __future__ import annotations

from typing import ClassVar

from msgspec import field

from tokenswarm.contract.summary.figure import Figure, Number, Record


class Outcomes(Record):
    """Requests by outcome; the last three add up to `sent`."""

    sent: int = 0
    ok: int = 0
    failed: int = 0
    cancelled: int = 0


class Counts(Record):
    """Requests of the measure phase by outcome, and of the whole file."""

    measured: Outcomes = field(default_factory=Outcomes)
    all_phases: Outcomes = field(default_factory=Outcomes)
    rows_in_file: int = 0
    sent_by_generator: int | None = None
    damaged_lines: int = 0


class ErrorKind(Record):
    """Failures of one kind, with an example."""

    kind: str = ""
    count: int = 0
    share: Figure = field(default_factory=Figure)
    meaning: str = ""
    http_status: list[int] = field(default_factory=list)
    example: str | None = None
    request_id: str = ""


class Errors(Record):
    """The error rate, and the failures by kind, most frequent first."""

    rate: Figure = field(default_factory=Figure)
    kinds: list[ErrorKind] = field(default_factory=list)


class FinishReason(Record):
    """Successful requests of one finish_reason: how many, their share, how many were checked and found valid."""

    reason: str = ""
    count: int = 0
    share: Figure = field(default_factory=Figure)
    checked: int = 0
    valid: int = 0


class ControlArm(Record):
    """Mean TPOT of requests under a constraint on their answers, of those without one, and the difference."""

    tpot_constrained_ms: Figure = field(default_factory=Figure)
    tpot_control_ms: Figure = field(default_factory=Figure)
    difference_ms: Figure = field(default_factory=Figure)


class ConstraintUse(Record):
    """One constraint on answers: the requests of the measure phase under it, the share of the answers that fit it and
    were not cut by length, how many were cut, and how many were `refused` (in all phases), with the engine's words.
    first_ttft_ms: median TTFT of its first use in the run; later_ttft_ms: of the measured requests after it."""

    name: str = ""
    requests: int = 0
    valid: Figure = field(default_factory=Figure)
    cut: int = 0
    refused: int = 0
    refusal: str | None = None
    first_ttft_ms: Figure = field(default_factory=Figure)
    later_ttft_ms: Figure = field(default_factory=Figure)


class Tokens(Record):
    """Token counts of successful requests by column, and how many requests each source counted."""

    sum: dict[str, int | None] = field(default_factory=dict)
    mean: dict[str, Number | None] = field(default_factory=dict)
    source: dict[str, int] = field(default_factory=dict)


class Goodput(Record):
    """Requests that kept all the objectives of a request; `bounds` are their limits by latency, in ms; by
    `<class>.<latency>` where user classes have objectives of their own that differ."""

    goodput_rps: Figure = field(default_factory=Figure)
    attainment: Figure = field(default_factory=Figure)
    met: int | None = None
    undetermined: int | None = None
    sent: int | None = None
    bounds: dict[str, Number] = field(default_factory=dict)


class MixShare(Record):
    """Of a mix: the share that a class was to have, `of` users, sessions or requests, from 0 to 1; and its share of the
    requests sent in the measure phase, and of the sessions that began in it."""

    of: str = ""
    asked: Number = 0
    requests: Figure = field(default_factory=Figure)
    sessions: Figure = field(default_factory=Figure)


class ClassFigures(Record):
    """The main figures of one user class. `rates` as the summary has them, by name."""

    may_be_left_out: ClassVar[frozenset[str]] = frozenset({"bounds", "share"})

    counts: Outcomes = field(default_factory=Outcomes)
    latency: dict[str, dict[str, Figure]] = field(default_factory=dict)
    error_rate: Figure = field(default_factory=Figure)
    goodput_rps: Figure = field(default_factory=Figure)
    attainment: Figure = field(default_factory=Figure)
    valid_output: Figure = field(default_factory=Figure)
    rates: dict[str, Figure] = field(default_factory=dict)
    bounds: dict[str, Number] | None = None
    """Limits of a request by latency, in ms; missing in older files."""
    share: MixShare | None = None
    """In a mix."""


class Cost(Record):
    """The price in $ of a GPU and hour, and what the run's tokens and requests cost at it."""

    gpu_hour_usd: Number = 0
    gpus: int = 0
    per_million_output_tokens: Figure = field(default_factory=Figure)
    per_million_input_tokens: Figure = field(default_factory=Figure)
    per_million_tokens: Figure = field(default_factory=Figure)
    per_million_requests: Figure = field(default_factory=Figure)
