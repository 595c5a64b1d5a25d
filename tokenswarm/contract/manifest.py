"""run.json: what was run, on what, with which settings. Its records, and the only reader and writer.

Any value may be missing, since a file may be old, truncated or foreign: None (or empty) means "not known".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.files import is_read_once, write_whole
from tokenswarm.base.numbers import sane_json
from tokenswarm.contract.levels import LevelRecord, Number
from tokenswarm.contract.tables import FORMAT, MANIFEST_JSON
from tokenswarm.contract.tolerant import tolerant_record

EXTERNAL = "external"
"""Name and runtime of an engine that was not started by tokenswarm, whatever it is."""
VIRTUAL = "virtual"
"""Runtime of a run in virtual time: its latencies were computed, not measured."""


class EngineRecord(msgspec.Struct):
    """The engine. `effective`: its configuration as it reports it, in canonical names. What a container has in
    addition (`image`, `container`, `compose_files`, ...) is kept in run.json only where there is one."""

    name: str | None = None
    title: str | None = None
    version: str | None = None
    base_url: str | None = None
    runtime: str | None = None
    cold_start_s: Number | None = None
    command: list[str] | str | None = None
    image: str | None = None
    image_digest: str | None = None
    container: str | None = None
    effective: dict[str, Any] = {}


class ScenarioRecord(msgspec.Struct):
    """What was asked. `values`: the whole effective scenario, as its TOML has it; `overrides`: what was set by hand."""

    name: str | None = None
    title: str | None = None
    description: str | None = None
    workload: str | None = None
    values: dict[str, object] = {}
    overrides: dict[str, object] = {}

    def table(self, name: str) -> dict[str, Any]:
        """One of the scenario's tables, such as `slo`; empty if there is no such table."""
        values = self.values.get(name)
        return values if isinstance(values, dict) else {}


class LoadRecord(msgspec.Struct):
    """How it was asked. `mode`: closed (users) or open (rate, requests/s). A field is None where it does not apply.
    `prompts`: steady or cold (`prompts.state`); runs from before there was a choice do not tell, and were cold."""

    mode: str | None = None
    users: Number | None = None
    spawn_rate: Number | None = None
    rate: Number | None = None
    rate_end: Number | None = None
    rate_steps: object = None
    users_end: Number | None = None
    users_steps: object = None
    arrivals: str | None = None
    max_in_flight: Number | None = None
    duration_s: Number | None = None
    warmup_s: Number | None = None
    warmup_max_s: Number | None = None
    drain_s: Number | None = None
    workers: int | None = None
    prompts: str | msgspec.UnsetType = msgspec.UNSET


class CorpusRecord(msgspec.Struct):
    """The text that prompts were made of."""

    name: str | None = None
    bytes: int | None = None
    sha256: str | None = None


class HostRecord(msgspec.Struct):
    """The machine that generated the load."""

    hostname: str | None = None
    platform: str | None = None
    cpu: str | None = None
    cores: int | None = None
    memory_gb: Number | None = None


class GitRecord(msgspec.Struct):
    """The checkout that ran."""

    revision: str | None = None
    dirty: bool | None = None


class PhaseRecord(msgspec.Struct):
    """A phase of the run, in unix seconds. `end` of a run that goes on is the planned one, or None."""

    name: str
    start: Number
    end: Number | None = None


NOT_CHECKED = "not checked: "
"""Prefix of the oddity noted when the check of an answer took too long: its validity is unknown."""


class CountsRecord(msgspec.Struct, omit_defaults=True):
    """What the load generator counted, of all phases. `arrivals_queued`: arrivals of an open loop that waited for
    max_in_flight (`found_nobody` in older files); `unsent`: those that were never sent; `odd`: answers by a field that
    was not as the API says and did no harm; `usd`: what the tokens cost at the prices of [endpoint]; `limit_reached`:
    processes that stopped at load.max_requests or load.max_usd; `user_errors`: what tasks of the locustfile raised, by
    error."""

    ok: int | None = None
    failed: int | None = None
    cancelled: int | None = None
    simulated_answers: int | None = None
    unsent: int | None = None
    arrivals_queued: int | None = None
    workers_lost: int | None = None
    rows_lost: int | None = None
    rows: int | None = None
    sent: int | None = None
    usd: float | None = None
    limit_reached: dict[str, int] | None = None
    odd: dict[str, int] | None = None
    user_errors: dict[str, int] | None = None


class PreflightRecord(msgspec.Struct):
    """What the endpoint could do before any load: `usage` and `notes` are of the load's own first request; `stream`,
    `plain` and `sdk_...` are what the official openai SDK made of it, for information. `chars_per_token` and
    `template_tokens`: a text of the corpus, alone in one message, has characters / chars_per_token + template_tokens
    prompt tokens by the engine's own count; None where that was not measured."""

    models: list[str] = []
    model: str | None = None
    stream: bool | None = None
    plain: bool | None = None
    usage: bool | None = None
    sdk_compatible: bool | None = None
    sdk_notes: list[str] = []
    seconds: Number | None = None
    chars_per_token: Number | None = None
    template_tokens: Number | None = None
    notes: list[str] = []
    enforced: bool | None = None
    """Whether the engine enforces the constraint of the requests; None without a constraint, or if not known."""
    enforced_words: str = ""
    """Its answer, if it did not enforce the constraint."""
    first_answer_s: Number | None = None
    """Duration of the whole answer to the first request."""


class Reason(msgspec.Struct):
    """Why a run is not VALID (a NOTE changes nothing): the rule that it broke, the value against its limit, and a
    sentence."""

    rule: str = ""
    verdict: str = ""
    value: Number | str | None = None
    limit: Number | str | None = None
    unit: str = ""
    sentence: str = ""


class ValidityRecord(msgspec.Struct):
    """The verdict on the run: VALID, INVALID or INCOMPLETE."""

    verdict: str | None = None
    reasons: list[Reason] = []


class EndedEarlyRecord(msgspec.Struct):
    """Why a run ended before its time, with the exit code that the command had."""

    rule: str | None = None
    code: int | None = None
    sentence: str | None = None


class CacheResetRecord(msgspec.Struct):
    """Whether the prefix cache was emptied before the load; `detail` says why not."""

    done: bool | None = None
    detail: str | None = None
    seconds: Number | None = None


class CostRecord(msgspec.Struct):
    """The price of a GPU and hour in $, and for how many it was paid."""

    gpu_hour_usd: Number | None = None
    gpus: Number | None = None


class ImportedRecord(msgspec.Struct):
    """Where the rows come from, of a run that another tool measured. `unknown`: what its file does not tell.
    `start_times`: whether it tells when each request was sent; else `sent_at` keeps their order alone."""

    tool: str | None = None
    version: str | None = None
    file: str | None = None
    sha256: str | None = None
    unknown: list[str] = []
    start_times: bool = True


class CpusRecord(msgspec.Struct):
    """The CPUs that each side was kept to, where both computed on one machine."""

    engine: list[int] = []
    load_generator: list[int] = []


class SeriesRecord(msgspec.Struct):
    """Whether a series of the warm-up was steady (see `generator.stationarity`): change of its mean, Kendall's S."""

    steady: bool | None = None
    change: Number | None = None
    trend: int | None = None


class WarmupRecord(msgspec.Struct):
    """How the warm-up ended (see `generator.warmup`). `steady` None: it could not be told. `series`: of each series
    that was judged, by name. `answer_s`: about how long an answer took, by which sessions are planned
    (`load.answer_s`)."""

    mode: str | None = None
    seconds: Number | None = None
    limit_s: Number | None = None
    steady: bool | None = None
    answers: int | None = None
    change: Number | None = None
    z: Number | None = None
    looked_at_s: Number | None = None
    answer_s: Number | msgspec.UnsetType = msgspec.UNSET
    series: dict[str, SeriesRecord] | msgspec.UnsetType = msgspec.UNSET
    sentence: str | None = None


class TelemetryRecord(msgspec.Struct):
    """How often the engine's metrics were read, how often that failed, what CPU time it took."""

    scrapes: int | None = None
    failed: int | None = None
    cpu_s: Number | None = None


class HistogramRecord(msgspec.Struct):
    """Observations in seconds: upper ends of buckets, rising; counts in each, with one more beyond the last."""

    bounds_s: list[Number] = []
    counts: list[Number] = []
    sum_s: Number | None = None
    count: Number | None = None


class ServerLatencyRecord(msgspec.Struct):
    """The engine's own latencies between two moments (unix seconds); `why` says what is missing."""

    start_at: Number | None = None
    end_at: Number | None = None
    histograms: dict[str, HistogramRecord] = {}
    why: str | None = None


class WorkerRecord(msgspec.Struct):
    """A load-generating process of a distributed run, its rows and its clock."""

    id: str | None = None
    rows: int | None = None
    lost: bool | None = None
    clock_offset_ms: Number | None = None
    round_trip_ms: Number | None = None


class LoadEnd(msgspec.Struct):
    """What the load generator says when the load has ended; it becomes part of run.json. `workers`: of a distributed
    run."""

    counts: CountsRecord
    phases: list[PhaseRecord]
    levels: list[LevelRecord] = []
    warmup: WarmupRecord | None = None
    workers: list[WorkerRecord] | None = None


class Manifest(msgspec.Struct):
    """run.json. The last fields are there once they are known."""

    format: int | None = None
    run_id: str | None = None
    status: str | None = None
    """running | complete | interrupted | aborted | failed."""
    started_at: str | None = None
    ended_at: str | None = None
    simulated: bool | None = None
    engine: EngineRecord = msgspec.field(default_factory=EngineRecord)
    model: str | None = None
    scenario: ScenarioRecord = msgspec.field(default_factory=ScenarioRecord)
    """The leading scenario: its [load] directs the run, and its [engine] gave the engine's settings."""
    classes: dict[str, ScenarioRecord] = {}
    """The scenarios of user classes that have their own, by class: they use its prompts, output, limits and SLOs. All
    other classes use `scenario`."""
    load: LoadRecord = msgspec.field(default_factory=LoadRecord)
    corpus: CorpusRecord | None = None
    seed: int | str | None = None
    salt: str | None = None
    argv: list[str] = []
    host: HostRecord | None = None
    gpus: list[str] = []
    versions: dict[str, str | None] = {}
    git: GitRecord | None = None
    phases: list[PhaseRecord] = []
    levels: list[LevelRecord] = []
    """Load levels of the measured phase, in order, including planned ones while the run is in progress."""
    counts: CountsRecord | None = None
    preflight: PreflightRecord | None = None
    validity: ValidityRecord | None = None
    notes: list[str] = []
    cost: CostRecord | None = None
    cache_reset: CacheResetRecord | None = None
    cpus: CpusRecord | None = None
    ended_early: EndedEarlyRecord | None = None
    warmup: WarmupRecord | None = None
    workers: list[WorkerRecord] | None = None
    telemetry: TelemetryRecord | None = None
    server_latency: ServerLatencyRecord | None = None
    label: str | None = None
    """The name that the user gave the run."""
    imported: ImportedRecord | None = None

    def end(self, end: LoadEnd) -> None:
        """Copy what the load generator reported at its end."""
        self.counts, self.phases, self.warmup = end.counts, end.phases, end.warmup
        self.levels, self.workers = end.levels, end.workers
        self.simulated = bool(self.simulated or self.counts.simulated_answers)
        self.notes += [
            f"odd, but no failure, in {count} answers: {what}"
            for what, count in sorted((self.counts.odd or {}).items())
        ]
        self.notes += [
            f"A task of the locustfile raised {what} ({count} times; locust.log has the traceback): what "
            "it would have asked was not asked."
            for what, count in (self.counts.user_errors or {}).items()
        ]


_OF_CONTAINERS = ("image", "container")
_ONCE_KNOWN = (
    "cache_reset",
    "cpus",
    "ended_early",
    "warmup",
    "workers",
    "telemetry",
    "server_latency",
    "label",
    "imported",
)
_WHERE_ANY = ("classes", "levels")
_OF_PREFLIGHT = ("sdk_notes", "chars_per_token", "template_tokens", "enforced", "enforced_words", "first_answer_s")
"""Preflight fields that run.json holds only if they have a value."""
_OLD_COUNTS = {"found_nobody": "arrivals_queued"}


def manifest_of(content: Mapping[str, object]) -> Manifest:
    """The manifest from decoded JSON of any origin. Values of a wrong type count as missing; unknown keys are ignored.
    Never raises."""
    counts = content.get("counts")
    if isinstance(counts, dict) and counts.keys() & _OLD_COUNTS.keys():
        renamed = {_OLD_COUNTS[key]: value for key, value in counts.items() if key in _OLD_COUNTS}
        content = {**content, "counts": renamed | counts}
    return tolerant_record(content, Manifest)


def manifest_json(manifest: Manifest) -> dict[str, object]:
    """The content of run.json."""
    content = {**msgspec.to_builtins(manifest), "engine": engine_json(manifest.engine)}
    missing = {key for key in _ONCE_KNOWN if content[key] is None}
    if manifest.preflight is not None:
        content["preflight"] = {
            key: value
            for key, value in content["preflight"].items()
            if key not in _OF_PREFLIGHT or value not in (None, "", [])
        }
    missing |= {key for key in _WHERE_ANY if not content[key]}
    if manifest.telemetry is not None:
        missing.discard("server_latency")  # null: monitored, but it has no histograms
    return {key: value for key, value in content.items() if key not in missing}


def engine_json(engine: EngineRecord) -> dict[str, object]:
    """The engine's entry in run.json."""
    content = msgspec.to_builtins(engine)
    return {key: value for key, value in content.items() if value is not None or key not in _OF_CONTAINERS}


def read_manifest(folder: Path) -> Manifest:
    """The run.json of a folder. Raises UserError (RUN_FOLDER) if it cannot be read, is not a JSON object, or has a
    newer format than this version supports."""
    manifest = manifest_of(read_object(folder / MANIFEST_JSON))
    if (sentence := too_new(MANIFEST_JSON, manifest.format, FORMAT)) is not None:
        raise UserError(Exit.RUN_FOLDER, f"{folder}: {sentence}")
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the whole run.json. Raises UserError (RESULTS)."""
    write_whole(folder / MANIFEST_JSON, json.dumps(manifest_json(manifest), indent=2, ensure_ascii=False) + "\n")


def note_verdict(folder: Path, verdict: str, reasons: Iterable[Reason]) -> None:
    """Write the run's verdict and its reasons into its run.json. Raises UserError."""
    manifest = read_manifest(folder)
    manifest.validity = ValidityRecord(verdict, list(reasons))
    write_manifest(folder, manifest)


def read_object(path: Path) -> dict[str, object]:
    """The JSON object in a file of a run folder. Raises UserError (RUN_FOLDER) if it cannot be read or is not an
    object."""
    try:
        if is_read_once(path):
            raise ValueError("it is a pipe or a device")
        content = sane_json(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(Exit.RUN_FOLDER, f"{path} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise UserError(Exit.RUN_FOLDER, f"{path} cannot be read: it is not a JSON object")
    return content


def too_new(name: str, version: int | None, known: int) -> str | None:
    """A sentence if a file of a run folder has a newer format than this version supports, else None."""
    if version is None or version <= known:
        return None
    return (
        f"{name} has format {version}, and this version of tokenswarm knows formats up to {known}: "
        "use a newer one (pip install --upgrade tokenswarm)."
    )
