"""oneshot.json: one prompt asked of each engine, again and again. Its records, its reader and its writer."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import field

from tokenswarm.contract.ends import Ends
from tokenswarm.contract.series_file import read_record, write_record
from tokenswarm.contract.summary.figure import Figure

ONE_SHOT_JSON = "oneshot.json"
ONE_SHOT_FORMAT = 1


class ShotEngine(msgspec.Struct):
    """An engine that was asked. `label`: its name in the table; `on_cpu`: it computed on this machine's CPU."""

    label: str = ""
    name: str = ""
    title: str = ""
    version: str | None = None
    model: str = ""
    base_url: str = ""
    runtime: str = ""
    simulated: bool = False
    on_cpu: bool = False
    cold_start_s: float | None = None
    notes: list[str] = field(default_factory=list)


class Shot(msgspec.Struct):
    """One request, in the order in which they were sent (`number`, from 1). Durations in ms from the moment of sending;
    None: not measured. `case`: see `ShotRow`; `repeat`: from 1."""

    engine: str = ""
    case: str = ""
    repeat: int = 0
    number: int = 0
    sent_at: float = 0.0
    status: str = ""
    error: str | None = None
    detail: str = ""
    e2e_ms: float | None = None
    ttft_ms: float | None = None
    ttft_uncertainty_ms: float | None = None
    connect_ms: float | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    token_source: str | None = None
    finish_reason: str | None = None


class ShotRow(msgspec.Struct):
    """An engine in one case: geometric means over the repeats with 95% intervals; counts are plain means.

    `case`: cold (first time) | cached (the same again), or with a context fresh | cached | cached_again | small (the
    prompt without the context). `tokens_s`: tokens over the whole duration, as people post it.
    """

    engine: str = ""
    case: str = ""
    asked: int = 0
    failed: int = 0
    duration_s: Figure = field(default_factory=Figure)
    tokens: Figure = field(default_factory=Figure)
    tokens_s: Figure = field(default_factory=Figure)
    ttft_ms: Figure = field(default_factory=Figure)
    prompt_tokens: Figure = field(default_factory=Figure)
    cached_tokens: Figure = field(default_factory=Figure)


class ShotContrast(msgspec.Struct):
    """`what` of (engine_b, case_b) over that of (engine_a, case_a): of two engines in a case, or one engine's cases.

    `state`: different | equal (within the margin) | undecided | unknown, and `why`. `paired`: by repeat.
    """

    what: str = ""
    engine_a: str = ""
    case_a: str = ""
    engine_b: str = ""
    case_b: str = ""
    state: str = ""
    ratio: float | None = None
    ci95: Ends | None = None
    p: float | None = None
    paired: bool = False
    repeats_needed: int | None = None
    why: str = ""
    sentence: str = ""


class ContextFile(msgspec.Struct):
    """The file that stood before the prompt; its text is not kept."""

    name: str = ""
    chars: int = 0
    sha256: str = ""


class OneShot(msgspec.Struct):
    """The whole of oneshot.json. `interleaved`: the engines were asked in turn within each repeat; else one after
    the other. `margin`: share of a ratio within which two are equal. `reason`: why it ended before its time, if it
    did: the word interrupted, or a sentence."""

    format: int = ONE_SHOT_FORMAT
    started_at: str = ""
    sentence: str = ""
    engine: str = ""
    model: str = ""
    simulated: bool = False
    prompt: str = ""
    context: ContextFile | None = None
    max_tokens: int = 0
    repeats: int = 0
    warmups: int = 0
    interleaved: bool = True
    margin: float = 0.05
    reason: str = ""
    engines: list[ShotEngine] = field(default_factory=list)
    rows: list[ShotRow] = field(default_factory=list)
    contrasts: list[ShotContrast] = field(default_factory=list)
    shots: list[Shot] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_one_shot(folder: Path) -> OneShot:
    """The oneshot.json of a folder. Raises UserError (RUN_FOLDER) if it is not there or of a newer format."""
    return read_record(folder / ONE_SHOT_JSON, OneShot, ONE_SHOT_FORMAT)


def write_one_shot(folder: Path, record: OneShot) -> None:
    """Replace oneshot.json as a whole. Raises UserError (RESULTS)."""
    write_record(folder / ONE_SHOT_JSON, record)
