"""[replay] of a scenario, and the trace that it names, read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.scenario.arrivals import RECORDED
from tokenswarm.scenario.values import Count, Positive, PositiveSeconds, Seconds
from tokenswarm.traces.reader import ReadingNotes
from tokenswarm.traces.recording import (
    Recording,
    Selection,
    StartedLater,
    ranks_among_siblings,
    recorded,
    recorded_while_read,
)
from tokenswarm.traces.request import BYTES_PER_TOKEN
from tokenswarm.traces.text_store import with_stored_texts
from tokenswarm.workloads.made_prompts import Ranks, allowed_ids
from tokenswarm.workloads.trace_file import TraceFile, TraceFileSettings

LONGEST_REPLAY_S = 366 * 86400.0


class ReplaySettings(TraceFileSettings):
    """Recorded traffic."""

    pacing: Literal["recorded", "load"] = Field(
        default="recorded",
        description="recorded: at the trace's times; load: by [load], with the trace as a pool of sessions",
    )
    speed: Positive = Field(default=1.0, description="2 = twice as fast as the trace, including the pauses in sessions")
    rate: Positive | None = Field(
        default=None,
        description="mean rate instead of `speed`, requests/s, keeping the shape; RATE= (load.rate) sets it",
    )
    window_start_s: Seconds = Field(default=0.0, description="the replay begins at this time in the trace")
    window_end_s: PositiveSeconds | None = Field(
        default=None, description="the replay ends before this time; unset: at the trace's end"
    )
    sample: Annotated[float, Field(strict=True, gt=0, le=1)] = Field(
        default=1.0, description="share of the sessions to replay, always whole ones; drawn by prompts.seed"
    )
    idle_gap_max_s: PositiveSeconds | None = Field(
        default=None, description="longer gaps without any request are shortened to this, in the trace's time"
    )
    input_scale: Positive = Field(default=1.0, description="factor for the prompts' lengths, if prompts are generated")
    output_scale: Positive = Field(default=1.0, description="factor for the answers' lengths")
    too_long: Literal["leave_out", "cut", "send"] = Field(
        default="leave_out",
        description="what to do with requests that do not fit into the context; they are always counted",
    )
    context_tokens: Count | None = Field(
        default=None, description="maximum length of prompt plus answer; unset: engine.context_length"
    )
    output: Literal["recorded", "free"] = Field(
        default="recorded",
        description="recorded: every answer has its recorded length (max_tokens and ignore_eos); free: the model "
        "decides, up to output.max_tokens",
    )
    send: Literal["chat", "token_ids"] = Field(
        default="chat",
        description="chat: messages; token_ids: ids through /v1/completions, for exact lengths and blocks, if the "
        "trace has lengths and no text",
    )
    token_ids: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(le=2**20)]] = Field(
        default=(1000, 30_000),
        description="range of ids that prompts are made of: from the first to just below the second; a request "
        "before the run confirms it",
    )
    token_ids_left_out: tuple[int, ...] = Field(
        default=(), description="ids in that range to leave out because they are special to the model"
    )
    chars_per_token: Positive | None = Field(
        default=None,
        description="characters per token of generated text in the engine's tokenizer; a run measures it before it "
        "begins; unset: prompts.chars_per_token",
    )
    template_tokens: Annotated[float, Field(strict=True, ge=-1000, le=100_000)] | None = Field(
        default=None, description="tokens that the chat template adds to a prompt; a run measures it before it begins"
    )
    finish_s: Seconds = Field(
        default=300.0, description="how long delayed sessions may continue after the trace's last request"
    )

    @model_validator(mode="after")
    def _ids_are_there(self) -> ReplaySettings:
        if len(allowed_ids(self.token_ids, self.token_ids_left_out)) < 2:
            raise ValueError("token_ids should hold at least two ids")
        if self.window_end_s is not None and self.window_end_s <= self.window_start_s:
            raise ValueError("window_end_s should be after window_start_s")
        return self

    @property
    def each_once(self) -> bool:
        return self.pacing == "recorded"

    @classmethod
    def completed_scenario(
        cls, values: dict[str, object], table: dict[str, object], explicit: Collection[str]
    ) -> dict[str, object]:
        """With the trace's rate and length as those of the load."""
        load, engine = values.get("load", {}), values.get("engine", {})
        if not isinstance(load, dict) or not isinstance(engine, dict):
            return values
        if table.get("context_tokens") is None and isinstance(engine.get("context_length"), int):
            table = {**table, "context_tokens": engine["context_length"]}
        if table.get("pacing", "recorded") == "recorded" and load.get("rate") is not None:
            table = {**table, "rate": load["rate"]}
        values = {**values, "replay": table}
        try:
            settings = cls.model_validate(table)
        except ValidationError:
            return values  # refused when the scenario is validated
        if not settings.file or settings.pacing == "load":
            return values
        prompts = values.get("prompts", {})
        seed = prompts.get("seed", 1) if isinstance(prompts, dict) else 1
        if "load.arrivals" in explicit and load.get("arrivals") != RECORDED:
            raise UserError(
                Exit.USAGE,
                "a replay keeps the trace's times, so it has no law of arrivals (load.arrivals) of its own: SET "
                "replay.pacing=load sends the trace's sessions by [load]",
            )
        trace = trace_of(settings, seed if isinstance(seed, int) else 1)
        span_s = trace.recording.span_s
        if span_s > LONGEST_REPLAY_S:
            raise UserError(
                Exit.DATA,
                f"{settings.file} would take {span_s / 86400:,.0f} days to replay: its times are in another unit (say "
                "which: replay.fields.time_ms), or take a part of it (replay.window_end_s), cut its silences "
                "(replay.idle_gap_max_s), or be faster (replay.speed, RATE)",
            )
        return {
            **values,
            "load": {
                "duration_s": max(1.0, span_s) + settings.finish_s,
                **load,
                "arrivals": RECORDED,
                "rate": trace.recording.requests / max(1.0, span_s),
            },
        }


@dataclass(frozen=True, slots=True)
class ReplayTrace:
    """A trace as it is replayed. `shared`: ids of blocks, as (scope, id), that several requests have; `title`: of its
    format."""

    recording: Recording
    reading: ReadingNotes
    ranks: Ranks
    shared: frozenset[tuple[str, int]]
    title: str = ""


def trace_of(settings: ReplaySettings, seed: int) -> ReplayTrace:
    selection = Selection(
        settings.window_start_s,
        settings.window_end_s,
        settings.sample,
        seed,
        settings.idle_gap_max_s,
        settings.speed,
        settings.rate,
        settings.input_scale,
        settings.output_scale,
        settings.context_tokens,
        settings.too_long,
    )
    trace = _read(settings.source, selection)
    if settings.pacing == "recorded" and not trace.recording.timed:
        raise UserError(
            Exit.DATA,
            f"{settings.file} does not say when its sessions began, so their times cannot be "
            'kept: replay it as a pool with SET="replay.pacing=load" and USERS or RATE',
        )
    return trace


@lru_cache(maxsize=2)
def _read(source: TraceFile, selection: Selection) -> ReplayTrace:
    """Read once in a process. Raises UserError (DATA)."""
    file, trace = source.path, source.open()
    try:
        try:
            recording = recorded_while_read(trace.requests(), selection, with_stored_texts)
        except StartedLater:
            recording = recorded(with_stored_texts(trace.requests()), selection)
    except ValueError as error:
        raise UserError(Exit.DATA, f"{file} cannot be replayed: {error}") from None
    if not recording.sessions:
        raise UserError(Exit.DATA, f"nothing of {file} is left to replay: {_left_out(recording) or 'it is empty'}")
    times = Counter(
        (each.request.scope, identity)
        for session in recording.sessions
        for each in session
        for identity in each.request.hash_ids or ()
    )
    return ReplayTrace(
        recording,
        trace.notes,
        Ranks(*ranks_among_siblings(recording.sessions)),
        frozenset(key for key, count in times.items() if count > 1),
        trace.format.title,
    )


def note_of(trace: ReplayTrace, settings: ReplaySettings) -> str:
    recording = trace.recording
    parts = [
        f"{recording.requests:,} requests in {len(recording.sessions):,} sessions of "
        f"{Path(settings.file).name}, read as {trace.title}, are replayed"
    ]
    if bad := trace.reading.bad_rows_of(Path(settings.file).name):
        parts.append(bad)
    more = _left_out(recording, settings.too_long)
    return "; ".join([*parts, more] if more else parts) + "."


def _estimated(count: int) -> str:
    return f" ({count:,} of them by an estimate: {BYTES_PER_TOKEN} bytes of text a token)" if count else ""


_TOO_LONG = {"leave_out": "left out", "cut": "cut", "send": "sent all the same"}


def _left_out(recording: Recording, too_long: str = "leave_out") -> str:
    left = recording.leftovers
    parts = (
        (left.out_of_order, "came out of order (sorted)"),
        (left.outside_window, "lie outside of the window"),
        (left.not_sampled, "are not in the sample"),
        (left.too_long, f"do not fit into the context and were {_TOO_LONG[too_long]}{_estimated(left.estimated)}"),
        (left.without_lengths, "have neither text nor length and were left out"),
    )
    return ", ".join(f"{count:,} {what}" for count, what in parts if count)
