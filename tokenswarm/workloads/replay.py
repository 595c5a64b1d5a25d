"""Recorded traffic again: the requests of a trace, at its times, with its lengths and with what its prompts share.

Where the trace has text, that is sent. Where it has lengths and ids of blocks alone, the prompts are made (see
`made_prompts`). Each process reads the same file and makes the same plan of it; who sends which session is its number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.scenario.arrivals import RECORDED
from tokenswarm.scenario.model import Scenario
from tokenswarm.scenario.values import Count, Positive, PositiveSeconds, Seconds
from tokenswarm.scenario.workload_kinds import WorkloadSettings
from tokenswarm.traces.reader import ReadingNotes, open_trace
from tokenswarm.traces.recording import RecordedRequest, Recording, Selection, ranks_among_siblings, recorded
from tokenswarm.workloads.base import Message, Prompt, RecordedTime, Session, Workload, cache_buster_prefix, chars_of
from tokenswarm.workloads.corpus import Corpus
from tokenswarm.workloads.dataset import common_chars, taken, with_prefix
from tokenswarm.workloads.made_prompts import Part, Ranks, TextMaker, TokenMaker, allowed_ids, common_parts
from tokenswarm.workloads.trace_file import require_same_file, with_file

_PROBE_TOKENS, _PROBED_IDS = 4000, 64
_FIRST_CHARACTER, _SURROGATES = 0x100, (0xD800, 0xE000)


class ReplaySettings(WorkloadSettings):
    """Recorded traffic."""

    file: str = Field(default="", description="the trace, of any format of docs/traffic.md; DATA= sets it")
    sha256: str | None = Field(default=None, description="its digest, which a run fills in")
    format: str | None = Field(default=None, description="its format; unset: recognised by the content")
    bad_rows: Annotated[float, Field(strict=True, ge=0, le=1)] = Field(
        default=0.01, description="share of rows that may be unreadable")
    pacing: Literal["recorded", "load"] = Field(
        default="recorded", description="recorded: at the trace's times; load: by [load], with the trace as a pool of "
        "sessions")
    speed: Positive = Field(default=1.0, description="2 = twice as fast as the trace, also the pauses in sessions")
    rate: Positive | None = Field(default=None, description="mean rate in place of `speed`, requests/s, with the "
                                  "shape kept; RATE= (load.rate) sets it")
    window_start_s: Seconds = Field(default=0.0, description="what is replayed begins so long into the trace")
    window_end_s: PositiveSeconds | None = Field(default=None, description="and ends before this; unset: to its end")
    sample: Annotated[float, Field(strict=True, gt=0, le=1)] = Field(
        default=1.0, description="share of the sessions that are replayed, whole; drawn by prompts.seed")
    idle_gap_max_s: PositiveSeconds | None = Field(
        default=None, description="longer times without any request are shortened to this, in the trace's time")
    input_scale: Positive = Field(default=1.0, description="factor of the prompts' lengths, where they are made")
    output_scale: Positive = Field(default=1.0, description="factor of the answers' lengths")
    too_long: Literal["leave_out", "cut", "send"] = Field(
        default="leave_out", description="requests that do not fit into the context; they are counted in any case")
    context_tokens: Count | None = Field(
        default=None, description="longest prompt and answer together; unset: engine.context_length")
    output: Literal["recorded", "free"] = Field(
        default="recorded", description="recorded: every answer as long as on record (max_tokens and ignore_eos); "
        "free: as long as the model likes, up to output.max_tokens")
    send: Literal["chat", "token_ids"] = Field(
        default="chat", description="chat: messages; token_ids: ids through /v1/completions, for exact lengths and "
        "blocks, where the trace has lengths and no text")
    token_ids: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(le=2 ** 20)]] = Field(
        default=(1000, 30_000), description="the ids that prompts are made of: from the first up to, but without, the "
        "second; a request before the run confirms them")
    token_ids_left_out: tuple[int, ...] = Field(default=(), description="ids among them that mean something special")
    chars_per_token: Positive | None = Field(
        default=None, description="of made text in the engine's tokenizer; a run measures it before it begins; unset: "
        "prompts.chars_per_token")
    template_tokens: Annotated[float, Field(strict=True, ge=-1000, le=100_000)] | None = Field(
        default=None, description="what the chat template puts around a prompt; a run measures it before it begins")
    finish_s: Seconds = Field(
        default=300.0, description="how long after the trace's last request sessions that were slowed down may go on")

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
    def completed(cls, table: dict[str, Any], folders: Sequence[Path]) -> dict[str, Any]:
        """With the file's whole path, and its digest."""
        return with_file(table, folders)

    @classmethod
    def completed_scenario(cls, values: dict[str, Any], table: dict[str, Any],
                           explicit: Collection[str]) -> dict[str, Any]:
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
        trace = _trace(settings, seed if isinstance(seed, int) else 1)
        span_s = trace.recording.span_s
        return {**values, "load": {
            "duration_s": max(1.0, span_s) + settings.finish_s, **load, "arrivals": RECORDED,
            "rate": trace.recording.requests / max(1.0, span_s)}}


@dataclass(frozen=True, slots=True)
class ReplayTrace:
    """A trace as it is replayed. `shared`: ids of blocks, as (scope, id), that several requests have."""

    recording: Recording
    reading: ReadingNotes
    ranks: Ranks
    shared: frozenset[tuple[str, int]]


class ReplayWorkload(Workload):
    """The sessions of a trace."""

    name = "replay"
    Settings = ReplaySettings

    def __init__(self, scenario: Scenario, corpus: Corpus, seed: int, salt: str) -> None:
        super().__init__(scenario, corpus, seed, salt)
        settings: ReplaySettings = self.settings
        if not settings.file:
            raise UserError(Exit.USAGE, "say which trace to replay: DATA=prod.jsonl (--data)")
        self._trace = _trace(settings, scenario.prompts.seed)
        sessions = self._trace.recording.sessions
        self._once = settings.each_once
        self.sessions_in_all = len(sessions) if self._once else None
        self._order = list(range(len(sessions)))
        if not self._once:
            Random(f"{seed}/order").shuffle(self._order)
        self._makers = lru_cache(maxsize=4)(self._maker)
        if settings.send == "token_ids" and any(each.request.messages is not None for each in sessions[0]):
            raise UserError(Exit.USAGE, f'replay.send = "token_ids" makes prompts of recorded lengths, but '
                                        f'{settings.file} has their text: use send = "chat"')

    def recorded_starts(self) -> Sequence[float] | None:
        """When each session begins, where the trace's times are kept."""
        return self._trace.recording.starts() if self._once else None

    def notes(self) -> list[str]:
        """What of the trace is sent, and what is not."""
        return [_note(self._trace, self.settings)]

    def session(self, phase: str, number: int) -> ReplaySession:
        """Session `number` of a phase. The warm-up of recorded times sends single requests, which share nothing with
        what is measured."""
        sessions = self._trace.recording.sessions
        if self._once:
            chosen = sessions[number % len(sessions)]
            if phase != "measure":
                return self._session_of(phase, number, chosen[:1], f"{phase}/{number // len(sessions)}")
            made = self._session_of(phase, number, chosen, phase)
            made.schedule = tuple(RecordedTime(each.at_s, each.delay_s) for each in chosen)
            return made
        place, pass_name = taken(phase, number, len(sessions))
        return self._session_of(phase, number, sessions[self._order[place]], f"{self.scope(phase)}{pass_name}")

    @property
    def probed(self) -> str:
        if self.settings.send == "token_ids":
            return 'prompts of token ids at /v1/completions (replay.send = "token_ids"; "chat" needs none)'
        return "prompts of made text"

    @property
    def _made(self) -> bool:
        return any(each.request.messages is None for session in self._trace.recording.sessions for each in session)

    def probes(self) -> Sequence[Prompt]:
        """Ids from all of the range; or two made texts, of which the longer one shows the text's own share."""
        settings = self.settings
        if settings.send == "token_ids":
            ids = self._probed_ids()
            return [Prompt([{"role": "prompt", "content": as_characters(ids)}], "probe", 1, 0, token_ids=ids)]
        if not self._made or (settings.chars_per_token is not None and settings.template_tokens is not None):
            return []
        prefix = cache_buster_prefix(self.salt, "probe")
        maker = TextMaker(f"{settings.sha256}/{self.seed}", self.chars_per_token, len(prefix) / self.chars_per_token)
        return [Prompt([{"role": "user", "content": prefix + maker.text([Part(f"probe/{size}", 0, 0, size, size)])}],
                       "probe", 1, 0) for size in self._probe_sizes()]

    def _probe_sizes(self) -> tuple[int, int]:
        longest = min(_PROBE_TOKENS, (self.settings.context_tokens or _PROBE_TOKENS) // 2)
        return longest // 10, longest

    def _probed_ids(self) -> list[int]:
        ids = allowed_ids(self.settings.token_ids, self.settings.token_ids_left_out)
        return [*ids[::max(1, len(ids) // _PROBED_IDS)], ids[-1]]

    def measured(self, prompt_tokens: Sequence[int | None]) -> tuple[dict[str, Any], str | None]:
        """How long this text is in the engine's tokens; or that ids are taken as they are."""
        if self.settings.send == "token_ids":
            count = len(self._probed_ids())
            if prompt_tokens[0] not in (None, count):
                raise ValueError(f"counts {prompt_tokens[0]:,} tokens of a prompt of {count:,} token ids: ids in "
                                 "replay.token_ids mean something special to it, or it adds some")
            return {}, None if prompt_tokens[0] else "The engine does not say how long a prompt of token ids is to it."
        few, many = prompt_tokens
        prefix = len(cache_buster_prefix(self.salt, "probe"))
        short, long = (round(size * self.chars_per_token) - prefix for size in self._probe_sizes())
        if few is None or many is None or many <= few:
            return {}, (f"The engine does not count prompt tokens: made text is taken to have {self.chars_per_token:g} "
                        "characters a token.")
        chars_per_token = (long - short) / (many - few)
        around = few - short / chars_per_token - prefix / chars_per_token
        values = {"chars_per_token": round(chars_per_token, 6), "template_tokens": round(around, 3)}
        return {key: value for key, value in values.items() if getattr(self.settings, key) is None}, None

    def _session_of(self, phase: str, number: int, requests: Sequence[RecordedRequest], scope: str) -> ReplaySession:
        return ReplaySession(phase, number, requests, self._makers(scope))

    def _maker(self, scope: str) -> PromptMaker:
        settings, key = self.settings, f"{self.settings.sha256}/{self.seed}"
        prefix = cache_buster_prefix(self.salt, scope)
        if settings.send == "token_ids":
            # The salt is part of the content: in front it would move the borders of all blocks.
            tokens = TokenMaker(f"{key}/{scope}/{prefix}", allowed_ids(settings.token_ids, settings.token_ids_left_out))
            return IdPrompts(self._trace, settings, tokens)
        chars_per_token = settings.chars_per_token or self.chars_per_token
        # Without a salt too, nothing of the warm-up's is found again.
        key = key if scope == "measure" or not self._once else f"{key}/{scope}"
        text = TextMaker(key, chars_per_token, (settings.template_tokens or 0.0) + len(prefix) / chars_per_token)
        return ChatPrompts(self._trace, settings, text, prefix)


class PromptMaker:
    """Makes the prompts of one session after the other; what all of a trace's prompts have in common."""

    def __init__(self, trace: ReplayTrace, settings: ReplaySettings) -> None:
        self._trace, self._settings = trace, settings

    def prompts(self, conversation: str, requests: Sequence[RecordedRequest]) -> Iterator[Prompt]:
        """The prompts of a session, in order."""
        raise NotImplementedError

    def _answer(self, recorded_request: RecordedRequest) -> tuple[int | None, dict[str, Any] | None]:
        """max_tokens and body of a request."""
        request = recorded_request.request
        if self._settings.output == "free" or not request.output_tokens:
            return None, request.body or None
        # A grammar ends the answer itself: to go on behind its end crashes engines (vllm#37506).
        constrained = {"response_format", "tools", "structured_outputs"} & request.body.keys()
        return request.output_tokens, request.body if constrained else {**request.body, "ignore_eos": True}

    def _leading_shared(self, recorded_request: RecordedRequest) -> int:
        """How many blocks at a prompt's beginning other requests have too."""
        request = recorded_request.request
        count = 0
        for identity in request.hash_ids or ():
            if (request.scope, identity) not in self._trace.shared:
                break
            count += 1
        return count


class ChatPrompts(PromptMaker):
    """Prompts as chat messages: recorded ones, or one message of made text."""

    def __init__(self, trace: ReplayTrace, settings: ReplaySettings, text: TextMaker, prefix: str) -> None:
        super().__init__(trace, settings)
        self._text, self._prefix = text, prefix

    def prompts(self, conversation: str, requests: Sequence[RecordedRequest]) -> Iterator[Prompt]:
        before: list[Message] = []
        for turn, each in enumerate(requests, start=1):
            max_tokens, body = self._answer(each)
            if each.request.messages is not None:
                messages = with_prefix(each.request.messages, self._prefix)
                common = common_chars(before, messages) or len(self._prefix)
            else:
                parts = list(self._trace.ranks.parts(each))
                messages = [{"role": "user", "content": self._prefix + self._text.text(parts)}]
                common = len(self._prefix) + self._text.shared_chars(parts[:self._leading_shared(each)])
            yield Prompt(messages, conversation, turn, min(common, chars_of(messages)), max_tokens=max_tokens,
                         body=body, private=each.request.messages is not None)
            before = messages


class IdPrompts(PromptMaker):
    """Prompts as ids of tokens."""

    def __init__(self, trace: ReplayTrace, settings: ReplaySettings, tokens: TokenMaker) -> None:
        super().__init__(trace, settings)
        self._tokens = tokens

    def prompts(self, conversation: str, requests: Sequence[RecordedRequest]) -> Iterator[Prompt]:
        before: list[Part] = []
        for turn, each in enumerate(requests, start=1):
            max_tokens, body = self._answer(each)
            parts = list(self._trace.ranks.parts(each))
            shared = max(self._leading_shared(each), common_parts(before, parts))
            ids = self._tokens.ids(parts)
            yield Prompt([{"role": "prompt", "content": as_characters(ids)}], conversation, turn,
                         sum(part.end - part.begin for part in parts[:shared]), max_tokens=max_tokens, body=body,
                         token_ids=ids)
            before = parts


def as_characters(ids: Sequence[int]) -> str:
    """A text with one character for each id, by which prompts of ids are compared as others are."""
    low, high = _SURROGATES
    return "".join(chr(code if code < low else code + high - low) for code in (i + _FIRST_CHARACTER for i in ids))


class ReplaySession(Session):
    """A session on record."""

    def __init__(self, phase: str, number: int, requests: Sequence[RecordedRequest], maker: PromptMaker) -> None:
        super().__init__(phase, number)
        self.turns = len(requests)
        self._requests, self._maker = requests, maker

    def __iter__(self) -> Iterator[Prompt]:
        return self._maker.prompts(self.conversation, self._requests)


def _trace(settings: ReplaySettings, seed: int) -> ReplayTrace:
    selection = Selection(settings.window_start_s, settings.window_end_s, settings.sample, seed,
                          settings.idle_gap_max_s, settings.speed, settings.rate, settings.input_scale,
                          settings.output_scale, settings.context_tokens, settings.too_long)
    trace = _read(settings.file, settings.format, settings.bad_rows, settings.sha256, selection)
    if settings.pacing == "recorded" and not trace.recording.timed:
        raise UserError(Exit.DATA, f"{settings.file} does not say when its sessions began, so their times cannot be "
                                   'kept: replay it as a pool with SET="replay.pacing=load" and USERS or RATE')
    return trace


@lru_cache(maxsize=2)
def _read(file: str, format_name: str | None, bad_rows: float, sha256: str | None,
          selection: Selection) -> ReplayTrace:
    """Read once in a process. Raises UserError (DATA)."""
    require_same_file(file, sha256)
    trace = open_trace(file, format_name, bad_rows)
    try:
        recording = recorded(trace.requests(), selection)
    except ValueError as error:
        raise UserError(Exit.DATA, f"{file} cannot be replayed: {error}") from None
    if not recording.sessions:
        raise UserError(Exit.DATA, f"nothing of {file} is left to replay: {_left_out(recording) or 'it is empty'}")
    times = Counter((each.request.scope, identity) for session in recording.sessions for each in session
                    for identity in each.request.hash_ids or ())
    return ReplayTrace(recording, trace.notes, Ranks(*ranks_among_siblings(recording.sessions)),
                       frozenset(key for key, count in times.items() if count > 1))


def _note(trace: ReplayTrace, settings: ReplaySettings) -> str:
    recording = trace.recording
    parts = [f"{recording.requests:,} requests in {len(recording.sessions):,} sessions of "
             f"{Path(settings.file).name} are replayed"]
    if trace.reading.bad_rows:
        parts.append(f"{trace.reading.bad_rows:,} of its {trace.reading.rows:,} rows cannot be read")
    more = _left_out(recording, settings.too_long)
    return "; ".join([*parts, more] if more else parts) + "."


_TOO_LONG = {"leave_out": "left out", "cut": "cut", "send": "sent all the same"}


def _left_out(recording: Recording, too_long: str = "leave_out") -> str:
    left = recording.leftovers
    parts = ((left.out_of_order, "stood out of order and were put in order"),
             (left.outside_window, "lie outside of the window"), (left.not_sampled, "are not in the sample"),
             (left.too_long, f"do not fit into the context and were {_TOO_LONG[too_long]}"),
             (left.without_lengths, "have neither text nor length and were left out"))
    return ", ".join(f"{count:,} {what}" for count, what in parts if count)
