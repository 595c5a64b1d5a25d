"""Prompts of your own: single ones and conversations from a file, of any format that `tokenswarm.traces` reads.

The file is a pool from which sessions are taken, without times. Prompts share in the run exactly what they share in the
file: a session that is sent again starts with a different salt.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Literal

from pydantic import Field, field_validator

from tokenswarm.base.bounded_patterns import NoPattern, bounded
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.presence import present
from tokenswarm.scenario.model import Scenario
from tokenswarm.scenario.values import Count
from tokenswarm.traces.reader import ReadingNotes
from tokenswarm.traces.request import TraceRequest, estimated_tokens
from tokenswarm.traces.text_store import with_stored_texts
from tokenswarm.workloads.base import (
    Message,
    Prompt,
    Session,
    Workload,
    cache_buster_prefix,
    content_text,
    rng_for,
    with_prefix,
)
from tokenswarm.workloads.corpus import Corpus
from tokenswarm.workloads.trace_file import TraceFile, TraceFileSettings

_WARM_UP = ("warmup", "before")
LONGEST_PASS_S = 7 * 86400.0
"""Time limit of a single pass through the file; it ends with the file."""


class DatasetSettings(TraceFileSettings):
    """Prompts from a file."""

    order: Literal["once", "shuffle", "weighted"] = Field(
        default="shuffle",
        description="once: every session once, in the file's order, then the run ends; shuffle: every session once "
        "before any is repeated; weighted: drawn by the rows' `weight`, so sessions may repeat",
    )
    check: Literal["contains", "equals", "regex", "none"] = Field(
        default="contains",
        description="how an answer is compared with the expected one (valid_output); case and white space at its "
        "ends are ignored",
    )
    max_sessions: Count = Field(
        default=100_000, description="maximum number of sessions kept in memory: the first ones in the file"
    )

    @field_validator("check", mode="before")
    @classmethod
    def _none_is_a_word(cls, value: object) -> object:
        """SET reads `none` as no value."""
        return "none" if value is None else value

    @classmethod
    def completed_scenario(
        cls, values: dict[str, object], table: dict[str, object], explicit: Collection[str]
    ) -> dict[str, object]:
        """Allow time for the whole file if it is sent once; a duration given by hand is a limit."""
        load = values.get("load", {})
        if table.get("order") != "once" or "load.duration_s" in explicit or not isinstance(load, dict):
            return values
        return {**values, "load": {**load, "duration_s": LONGEST_PASS_S}}

    @property
    def each_once(self) -> bool:
        return self.order == "once"


@dataclass(frozen=True, slots=True)
class Pool:
    """The sessions of a file, each with the requests of its turns. shared: digests of first messages that several
    sessions have. weights: cumulative, one per session. further: requests of sessions beyond the limit. title: the file
    format.
    """

    sessions: tuple[tuple[TraceRequest, ...], ...]
    shared: frozenset[bytes]
    weights: tuple[float, ...]
    further: int = 0
    reading: ReadingNotes = field(default_factory=ReadingNotes)
    title: str = ""


class DatasetWorkload(Workload):
    """Sessions from a file."""

    name = "dataset"
    Settings = DatasetSettings

    def __init__(self, scenario: Scenario, corpus: Corpus, seed: int, salt: str) -> None:
        super().__init__(scenario, corpus, seed, salt)
        settings = self.settings
        if not settings.file:
            raise UserError(Exit.USAGE, "say which file the prompts are in: DATA=prompts.jsonl (--data)")
        self._pool = _pool(settings.source, settings.max_sessions)
        self._context_tokens = scenario.engine.context_length or 0
        if settings.check == "regex":
            self._refuse_broken_patterns()
        self._order = list(range(len(self._pool.sessions)))
        if settings.each_once:
            self.sessions_in_all = len(self._order)
        else:
            Random(f"{seed}/order").shuffle(self._order)

    def notes(self) -> list[str]:
        """Notes on the detected format, what is not sent, and what is likely not to fit."""
        reading, file = self._pool.reading, Path(self.settings.file).name
        prompts = [request for requests in self._pool.sessions for request in requests]
        expected = sum(request.expected is not None for request in prompts) if self.settings.check != "none" else 0
        lengths = [request.input_tokens or estimated_tokens(present(request.messages)) for request in prompts]
        too_long = sum(length > self._context_tokens for length in lengths) if self._context_tokens else 0
        what = (
            f"The {len(prompts):,} prompts of {file}, read as {self._pool.title}, are asked in "
            f"{len(self._pool.sessions):,} sessions"
        )
        parts = (
            (expected, f"of the answers are compared with expected ones ({self.settings.check})"),
            (self._pool.further, f"of its requests are of sessions beyond the first {len(self._pool.sessions):,}"),
            (too_long, f"of its prompts seem longer than the context of {self._context_tokens:,} tokens"),
        )
        counted = [f"{count:,} {what}" for count, what in parts if count]
        bad = reading.bad_rows_of(file)
        return [f"{'; '.join([what, *([bad] if bad else []), *counted])}."]

    def session(self, phase: str, number: int) -> DatasetSession:
        """Session `number` of a phase."""
        if self.settings.each_once and phase in _WARM_UP:  # of the same file, but no later hits
            turn, place = divmod(number, len(self._order))
            at, scope = len(self._order) - 1 - place, f"{self.scope(phase)}/{phase}-{turn}"
        elif self.settings.order == "weighted":
            weights = self._pool.weights
            drawn = rng_for(self.seed, phase, number).random() * weights[-1]
            at, scope = min(bisect_left(weights, drawn), len(weights) - 1), self.scope(phase)
        else:
            place, pass_name = taken(phase, number, len(self._order))
            at, scope = self._order[place], f"{self.scope(phase)}{pass_name}"
        prefix = cache_buster_prefix(self.salt, scope)
        return DatasetSession(phase, number, self._pool.sessions[at], prefix, self._pool.shared, self.settings.check)

    def _refuse_broken_patterns(self) -> None:
        requests_of_all = (request for requests in self._pool.sessions for request in requests)
        for number, request in enumerate(requests_of_all, start=1):
            try:
                bounded(request.expected or "")
            except (NoPattern, RecursionError, OverflowError) as error:
                raise UserError(
                    Exit.DATA,
                    f"the expected answer of request {number:,} of {self.settings.file} is not a regular expression "
                    f'({error}), which dataset.check = "regex" takes it for',
                ) from None


def taken(phase: str, number: int, sessions: int) -> tuple[int, str]:
    """(place in the order of sessions, name of the pass) of session `number`. No place occurs twice in a pass. The
    measured phase goes through the order from the beginning, the warm-up from the end. Both share the first pass while
    they are in different halves of it, so that common beginnings are warm. Everything else is in separate passes.
    """
    half = sessions // 2
    turn, place = divmod(number, sessions)
    if phase in _WARM_UP:
        return sessions - 1 - place, "" if turn == 0 and place < half else f"/{phase}-{turn}"
    return place, "" if turn == 0 and place < sessions - half else f"/{turn}"


class DatasetSession(Session):
    """A recorded session. Its history has the recorded answers, so every engine gets the same prompts."""

    def __init__(
        self,
        phase: str,
        number: int,
        requests: Sequence[TraceRequest],
        prefix: str,
        shared: frozenset[bytes],
        check: str,
    ) -> None:
        super().__init__(phase, number)
        self.turns = len(requests)
        self._requests, self._prefix, self._shared, self._check = requests, prefix, shared, check

    def __iter__(self) -> Iterator[Prompt]:
        before: list[Message] = []
        for turn, request in enumerate(self._requests, start=1):
            messages = with_prefix(present(request.messages), self._prefix)
            if turn == 1:
                first = content_text(present(request.messages)[0])
                common = len(self._prefix) + (len(first) if _digest(first) in self._shared else 0)
            else:
                common = common_chars(before, messages)
            yield Prompt(
                messages,
                self.conversation,
                turn,
                common,
                check=check_for(request, self._check),
                max_tokens=request.max_tokens,
                body=request.body or None,
                private=True,
            )
            before = messages


def check_for(request: TraceRequest, check: str) -> Callable[[str], bool] | None:
    """The check of an answer against the expected one; None if nothing is expected."""
    if request.expected is None or check == "none":
        return None
    return partial(_CHECKS[check], request.expected.strip().casefold() if check != "regex" else request.expected)


_CHECKS: dict[str, Callable[[str, str], bool]] = {
    "contains": lambda expected, answer: expected in answer.casefold(),
    "equals": lambda expected, answer: expected == answer.strip().casefold(),
    "regex": lambda expected, answer: bounded(expected).is_in(answer),
}


def common_chars(before: Sequence[Message], messages: Sequence[Message]) -> int:
    """Characters of the leading messages that are equal."""
    common = 0
    for old, new in zip(before, messages, strict=False):
        if old != new:
            break
        common += len(content_text(new))
    return common


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


@lru_cache(maxsize=2)
def _pool(source: TraceFile, max_sessions: int) -> Pool:
    """The file's sessions, read once in a process. Raises UserError (DATA) if it is not the file of that digest."""
    file = source.path
    sessions: dict[str, list[TraceRequest]] = {}
    trace, further = source.open(), 0
    for number, request in enumerate(with_stored_texts(trace.requests())):
        if request.messages is None:
            raise UserError(
                Exit.DATA, f"{file} holds no text: a workload of its lengths and times is a replay, not a data set"
            )
        key = f"s/{request.session}" if request.session is not None else f"n/{number}"
        if key not in sessions and len(sessions) >= max_sessions:
            further += 1
            continue
        sessions.setdefault(key, []).append(request)
    if not sessions:
        raise UserError(Exit.DATA, f"{file} has no prompt in it")
    firsts = Counter(_digest(content_text(present(requests[0].messages)[0])) for requests in sessions.values())
    weights = [
        next((request.weight for request in requests if request.weight is not None), 1.0)
        for requests in sessions.values()
    ]
    if not sum(weights):
        raise UserError(Exit.DATA, f"all sessions of {file} have the weight 0")
    return Pool(
        tuple(map(tuple, sessions.values())),
        frozenset(first for first, times in firsts.items() if times > 1),
        tuple(accumulate(weights)),
        further,
        trace.notes,
        trace.format.title,
    )
