"""The records of summary.json. What may be absent is UNSET; None stands for "not known".

Figures of metrics are kept by the metric's name, for the registry of metrics is open.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

Number = int | float
"""As it was written: a whole number stays one."""


class Figure(msgspec.Struct):
    """A number with its unit: a value with its 95% interval (an end is None where there is none), or `why` there is no
    value. `n`: observations. `bucket`: ends of the histogram's bucket that the value is in, the upper None if open."""

    value: Number | None
    unit: str
    n: int
    ci95: list[Number | None] | UnsetType | None = UNSET
    why: str | UnsetType = UNSET
    bucket: list[Number | None] | UnsetType = UNSET


class SummaryReason(msgspec.Struct):
    """Why a run is not VALID (a NOTE changes nothing): the rule, the value against its limit, and a sentence."""

    rule: str
    verdict: str
    value: Any
    limit: Any
    unit: str
    sentence: str


class OutcomeRecord(msgspec.Struct):
    """How the run came out, gates included (docs/gates.md): its name, as people read it, the exit code, and why."""

    name: str
    headline: str
    code: int
    sentence: str


class EndedEarly(msgspec.Struct):
    """Why the run ended before its time; empty where it did not."""

    rule: str | UnsetType | None = UNSET
    code: int | UnsetType | None = UNSET
    sentence: str | UnsetType | None = UNSET


class EngineHeader(msgspec.Struct):
    """The engine that was measured."""

    name: str | None
    title: str | None
    version: str | None
    base_url: str | None
    runtime: str | None
    cold_start_s: Number | None
    image_digest: str | None


class ScenarioHeader(msgspec.Struct):
    """The scenario that was run."""

    name: str | None
    title: str | None
    description: str | None
    workload: str | None


class LoadHeader(msgspec.Struct):
    """The load, as run.json has it; empty where nothing is known."""

    mode: str | UnsetType | None = UNSET
    users: Number | UnsetType | None = UNSET
    spawn_rate: Number | UnsetType | None = UNSET
    rate: Number | UnsetType | None = UNSET
    rate_end: Number | UnsetType | None = UNSET
    rate_steps: Any = UNSET
    users_end: Number | UnsetType | None = UNSET
    users_steps: Any = UNSET
    arrivals: str | UnsetType | None = UNSET
    max_in_flight: Number | UnsetType | None = UNSET
    duration_s: Number | UnsetType | None = UNSET
    warmup_s: Number | UnsetType | None = UNSET
    warmup_max_s: Number | UnsetType | None = UNSET
    drain_s: Number | UnsetType | None = UNSET
    workers: int | UnsetType | None = UNSET


class WindowHeader(msgspec.Struct):
    """The measured stretch, in unix seconds, and what it was taken from."""

    start_unix_s: Number | None
    end_unix_s: Number | None
    seconds: Number | None
    source: str | None


class HostHeader(msgspec.Struct):
    """The machine that generated the load; empty where nothing is known."""

    hostname: str | UnsetType | None = UNSET
    platform: str | UnsetType | None = UNSET
    cpu: str | UnsetType | None = UNSET
    cores: int | UnsetType | None = UNSET
    memory_gb: Number | UnsetType | None = UNSET


class GitHeader(msgspec.Struct):
    """The checkout that ran; empty where nothing is known."""

    revision: str | UnsetType | None = UNSET
    dirty: bool | UnsetType | None = UNSET


class Header(msgspec.Struct):
    """What was measured, on what, when, with which load."""

    status: str | None
    going: bool
    ended_early: EndedEarly
    engine: EngineHeader
    effective: dict[str, Any]
    model: str | None
    scenario: ScenarioHeader
    overrides: dict[str, Any]
    load: LoadHeader
    started_at: str | None
    ended_at: str | None
    window: WindowHeader
    seed: int | str | None
    salt: str | None
    host: HostHeader
    gpus: list[str]
    versions: dict[str, str | None]
    git: GitHeader


class Goodput(msgspec.Struct):
    """Requests that kept all the objectives of a request; `bounds` are their limits."""

    goodput_rps: Figure
    attainment: Figure
    met: int | None
    undetermined: int | None
    sent: int | None
    bounds: dict[str, Number]


class SloGate(msgspec.Struct):
    """An objective and whether it was met, missed or is undetermined. `user_class`: where it is of one class alone."""

    key: str
    title: str
    op: str | None
    limit: Any
    state: str
    certain: bool
    margin: Number | None
    figure: Figure
    unit: str | UnsetType = UNSET
    user_class: str | UnsetType = UNSET


class ErrorKind(msgspec.Struct):
    """Failures of one kind, with an example."""

    kind: str
    count: int
    share: Figure
    meaning: str
    http_status: list[int]
    example: str | None
    request_id: str


class Errors(msgspec.Struct):
    """The error rate, and the failures by kind, most frequent first."""

    rate: Figure
    kinds: list[ErrorKind]


class Tokens(msgspec.Struct):
    """Token counts of successful requests by column, and how many requests each source counted."""

    sum: dict[str, int | None]
    mean: dict[str, Number | None]
    source: dict[str, int]


class CacheStep(msgspec.Struct):
    """What one stage takes from the ideal hit rate."""

    taker: str
    title: str
    share: Number | None
    lost: Number | None


class Yardstick(msgspec.Struct):
    """What a prefix cache could have found. Where `recorded` is false there is `why`, and nothing else."""

    recorded: bool
    why: str | UnsetType = UNSET
    requests: int | UnsetType = UNSET
    requests_known: int | UnsetType = UNSET
    requests_lost: int | UnsetType = UNSET
    damaged_lines: int | UnsetType = UNSET
    limited: str | UnsetType | None = UNSET
    block_size: int | UnsetType | None = UNSET
    kv_capacity_tokens: int | UnsetType | None = UNSET
    ideal: Figure | UnsetType = UNSET
    ideal_range: list[Number] | UnsetType = UNSET
    ideal_computed: Figure | UnsetType = UNSET
    ideal_prompts: Figure | UnsetType = UNSET
    blocks: Figure | UnsetType = UNSET
    blocks_range: list[Number] | UnsetType | None = UNSET
    capacity: Figure | UnsetType = UNSET
    engine: Figure | UnsetType = UNSET
    engine_source: str | UnsetType | None = UNSET
    token_error: Figure | UnsetType = UNSET
    steps: list[CacheStep] | UnsetType = UNSET
    blame: str | UnsetType | None = UNSET
    sentence: str | UnsetType | None = UNSET
    reason: str | UnsetType | None = UNSET


class Cache(msgspec.Struct):
    """The engine's prefix cache beside the yardstick."""

    hit_rate: Figure
    source: str | None
    usage_hit_rate: Number | None
    counters_hit_rate: Number | None
    efficiency: Figure
    yardstick: Yardstick


class ServerFigures(msgspec.Struct):
    """One of the engine's own latencies, and the same seen by the client, by p50, p95, p99 and mean."""

    p50: Figure
    p95: Figure
    p99: Figure
    mean: Figure
    client: dict[str, Figure] | None


class ServerTtft(ServerFigures, kw_only=True):
    """The engine's own TTFT between two moments in unix seconds."""

    start_unix_s: Number | None
    end_unix_s: Number | None


class DriftStep(msgspec.Struct):
    """A sudden change of a series."""

    at_s: Number | None
    before: Number | None
    after: Number | None


class DriftSeries(msgspec.Struct):
    """How a series went over the run: steady, drifting, stepped or too short to tell."""

    title: str
    unit: str
    state: str
    level: Number | None
    per_hour: Number | None
    per_hour_ci95: list[Number | None] | None
    per_hour_share: Number | None
    step: DriftStep | None


class Gate(msgspec.Struct):
    """A gate of the baseline or of drift: met, missed or undetermined, and a sentence."""

    key: str
    title: str
    state: str
    sentence: str


class Outage(msgspec.Struct):
    """A stretch in which the engine was away; `at_s` counts from the start of measuring."""

    start_unix_s: Number
    at_s: Number
    seconds: Number
    recovered: bool
    failed: int
    kinds: dict[str, int]


class Outages(msgspec.Struct):
    """The outages of the measure phase; `periods` (`list` in JSON): the longest."""

    count: int
    longest: Figure
    total: Figure
    failed: int
    periods: list[Outage] = msgspec.field(name="list")


class Cost(msgspec.Struct):
    """The price in $ of a GPU and hour, and what the run's tokens and requests cost at it."""

    gpu_hour_usd: Number
    gpus: int
    per_million_output_tokens: Figure
    per_million_input_tokens: Figure
    per_million_tokens: Figure
    per_million_requests: Figure


class Outcomes(msgspec.Struct):
    """Requests by outcome."""

    sent: int
    ok: int
    failed: int
    cancelled: int


class Counts(msgspec.Struct):
    """Requests of the measure phase by outcome, and of the whole file."""

    measured: Outcomes
    all_phases: Outcomes
    rows_in_file: int
    sent_by_generator: int | None
    damaged_lines: int


class Check(msgspec.Struct):
    """What a rule of validity came to."""

    rule: str
    title: str
    verdict: str
    value: Any
    limit: Any
    unit: str
    broken: bool


class Generator(msgspec.Struct):
    """The load generator's own health inside the window."""

    workers: int | None
    cpu_share_max: Figure
    cpu_us_per_token: Figure
    timing_error_bound_ms: Figure
    loop_lag_max_ms: Figure
    read_lag_p99_max_ms: Figure
    lateness_p99_ms: Figure
    rss_max_mb: Figure
    in_flight_max: Figure
    checks: list[Check]


class ClassFigures(msgspec.Struct):
    """The main figures of one user class."""

    counts: Outcomes
    latency: dict[str, dict[str, Figure]]
    error_rate: Figure
    goodput_rps: Figure
    attainment: Figure
    valid_output: Figure


class Baseline(msgspec.Struct):
    """Regressions against an earlier run."""

    run_id: str
    tolerance: Number
    notes: list[str]
    gates: list[Gate]


class Summary(msgspec.Struct):
    """summary.json. `baseline` and `drift_gates` are there where they were asked for."""

    format: int
    run_id: str
    verdict: str
    reasons: list[SummaryReason]
    simulated: bool | None
    notes: list[str]
    run: Header
    latency: dict[str, dict[str, Figure]]
    gaps: dict[str, Figure]
    rates: dict[str, Figure]
    per_user_tok_s: dict[str, Figure]
    goodput: Goodput
    slo: list[SloGate]
    errors: Errors
    valid_output: Figure
    tokens: Tokens
    cache: Cache
    server: dict[str, Figure]
    server_ttft: ServerTtft
    server_latency: dict[str, ServerFigures]
    drift: dict[str, DriftSeries]
    outages: Outages
    cost: Cost | None
    counts: Counts
    generator: Generator
    user_classes: dict[str, ClassFigures]
    outcome: OutcomeRecord
    baseline: Baseline | UnsetType = UNSET
    drift_gates: list[Gate] | UnsetType = UNSET
