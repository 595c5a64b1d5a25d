"""Selects what to replay of a trace, and when: a window, a sample of whole sessions, other speeds and lengths. Pure."""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

from tokenswarm.base.presence import present
from tokenswarm.traces.request import TraceRequest, estimated_tokens

TooLong = Literal["leave_out", "cut", "send"]
Entry = tuple[int, TraceRequest]
"""A request and its place in the trace."""
_HASH_RANGE = 1 << 64


@dataclass(frozen=True, slots=True)
class Selection:
    """The selected part of a trace. Seconds are in the trace's time, before `speed`. window_start_s, window_end_s:
    since the trace's first request. sample: share of the sessions, drawn by `seed`. idle_gap_max_s: longer gaps between
    two requests are shortened to this. speed: 2 = twice as fast. rate: mean requests/s, instead of speed. input_scale,
    output_scale: factors for the lengths. context_tokens: limit on prompt plus answer; too_long: what to do with longer
    requests.
    """

    window_start_s: float = 0.0
    window_end_s: float | None = None
    sample: float = 1.0
    seed: int = 1
    idle_gap_max_s: float | None = None
    speed: float = 1.0
    rate: float | None = None
    input_scale: float = 1.0
    output_scale: float = 1.0
    context_tokens: int | None = None
    too_long: TooLong = "leave_out"


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """A request to replay. `at_s`: seconds after the first one, at the replay's speed; None if only `delay_s`, the
    pause after the previous answer of its session, is known. `place`: 0-based position in the trace. `uncut`: the
    original request, if it was cut to fit."""

    request: TraceRequest
    place: int
    at_s: float | None
    delay_s: float | None
    uncut: TraceRequest | None = None


@dataclass(slots=True)
class Leftovers:
    """Numbers of requests that are not sent as they are in the trace."""

    out_of_order: int = 0
    """Requests out of order in the file; they were sorted by time."""
    outside_window: int = 0
    not_sampled: int = 0
    too_long: int = 0
    """Prompt and answer exceed the context: left out, cut, or sent anyway, depending on the settings."""
    estimated: int = 0
    """Those of them whose prompt length was estimated from its bytes."""
    without_lengths: int = 0
    """Requests with neither text nor a length."""


@dataclass(frozen=True, slots=True)
class Recording:
    """Sessions in the order of their start. left_out: requests that belong to the replay but cannot be sent."""

    sessions: tuple[tuple[RecordedRequest, ...], ...]
    leftovers: Leftovers = field(default_factory=Leftovers)
    left_out: tuple[RecordedRequest, ...] = ()

    @property
    def requests(self) -> int:
        """Total number of requests."""
        return sum(map(len, self.sessions))

    @property
    def timed(self) -> bool:
        """Whether every session has a start time."""
        return all(session[0].at_s is not None for session in self.sessions)

    @property
    def span_s(self) -> float:
        """Seconds from the first request to the last one with a known time."""
        return max((each.at_s for session in self.sessions for each in session if each.at_s is not None), default=0.0)

    def starts(self) -> tuple[float, ...]:
        """Start time of each session, in seconds after the first one. Requires `timed`."""
        return tuple(session[0].at_s or 0.0 for session in self.sessions)


class StartedLater(Exception):
    """The trace's first request is not the earliest or has no time, so the window cannot be applied while reading."""


def recorded_while_read(
    requests: Iterable[TraceRequest],
    selection: Selection,
    store: Callable[[Iterable[TraceRequest]], Iterable[TraceRequest]] = iter,
) -> Recording:
    """Like `recorded`, but holds only the window and the sample in memory. `store`: moves the selected requests
    elsewhere, in the same order. Also raises StartedLater."""
    left, places = Leftovers(), deque[int]()

    def taken() -> Iterator[TraceRequest]:
        for place, request in _while_read(requests, selection, left):
            places.append(place)
            yield request

    entries = ((places.popleft(), request) for request in store(taken()))
    return _recorded(entries, replace(selection, window_start_s=0.0, window_end_s=None, sample=1.0), left)


def recorded(requests: Iterable[TraceRequest], selection: Selection) -> Recording:
    """The sessions of a trace to replay. Raises ValueError with a sentence if the trace contradicts itself."""
    return _recorded(enumerate(requests), selection, Leftovers())


def _recorded(taken: Iterable[Entry], selection: Selection, left: Leftovers) -> Recording:
    entries = list(taken)
    _refuse_two_block_sizes(request for _, request in entries)
    entries = _in_order(entries, left)
    entries = _in_window(entries, selection, left)
    entries = _sampled(entries, selection, left)
    fitting, left_out = _of_length(entries, selection, left)
    scale = _TimeScale([each.time_s for _, each, _ in fitting if each.time_s is not None], selection)

    def placed(place: int, request: TraceRequest, uncut: TraceRequest | None = None) -> RecordedRequest:
        delay_s = None if request.delay_s is None else scale.length(request.delay_s)
        return RecordedRequest(
            request, place, None if request.time_s is None else scale.at(request.time_s), delay_s, uncut
        )

    sessions: dict[str, list[RecordedRequest]] = {}
    for place, request, uncut in fitting:
        sessions.setdefault(_key(place, request), []).append(placed(place, request, uncut))
    ordered = sorted(sessions.values(), key=lambda session: -1.0 if session[0].at_s is None else session[0].at_s)
    return Recording(tuple(map(tuple, ordered)), left, tuple(placed(*each) for each in left_out))


def _while_read(requests: Iterable[TraceRequest], selection: Selection, left: Leftovers) -> Iterator[Entry]:
    first_s: float | None = None
    end_s = math.inf if selection.window_end_s is None else selection.window_end_s
    limit = int(selection.sample * _HASH_RANGE)
    whole = not selection.window_start_s and selection.window_end_s is None
    inside_of: dict[str, bool] = {}
    for place, request in enumerate(requests):
        key, time_s = _key(place, request), request.time_s
        inside = whole
        if time_s is not None:
            first_s = time_s if first_s is None else first_s
            if time_s < first_s and not whole:
                raise StartedLater
            inside = whole or selection.window_start_s <= time_s - first_s < end_s
            if request.session is not None and not whole:
                inside_of[key] = inside
        elif not whole:
            inside = inside_of.get(key, False)
        if not inside:
            left.outside_window += 1
        elif selection.sample < 1 and _draw(selection.seed, key) >= limit:
            left.not_sampled += 1
        else:
            yield place, request
    if first_s is None and not whole:
        raise StartedLater


def _key(place: int, request: TraceRequest) -> str:
    """The session of a request. Sub-agents belong to the session of the agent that started them, at their place in the
    file."""
    session = request.session if request.root is None else request.root
    return f"n/{place}" if session is None else f"s/{session}"


def _refuse_two_block_sizes(requests: Iterable[TraceRequest]) -> None:
    """Raise ValueError for blocks of different sizes: an ID stands for one text of one length, so a file has one block
    size, unless each session has its own IDs."""
    size_of_scope: dict[str, int] = {}
    length_of: dict[tuple[str, int], int] = {}
    for request in requests:
        ids, block = request.hash_ids, request.block_tokens
        if not ids or not block:
            continue
        if size_of_scope.setdefault(request.scope, block) != block:
            raise ValueError(
                f"its blocks have two sizes, {size_of_scope[request.scope]} and {block} tokens: equal ids "
                "cannot be equal text"
            )
        last = block if request.input_tokens is None else min(block, request.input_tokens - (len(ids) - 1) * block)
        for place, identity in enumerate(ids, start=1):
            length = last if place == len(ids) else block
            before = length_of.setdefault((request.scope, identity), length)
            if before != length:
                raise ValueError(
                    f"one id of a block stands for {before} and for {length} tokens: the trace is "
                    "damaged, or its blocks are of another size"
                )


def _in_order(entries: list[Entry], left: Leftovers) -> list[Entry]:
    times = [request.time_s for _, request in entries if request.time_s is not None]
    left.out_of_order = sum(later < earlier for earlier, later in pairwise(times))
    if not left.out_of_order:
        return entries
    # A request without a time comes after the previous one of its session.
    time_of: dict[str, float] = {}
    at: list[float] = []
    for place, request in entries:
        key = _key(place, request)
        if request.time_s is not None:
            time_of[key] = request.time_s
        if key not in time_of:
            raise ValueError("some of its sessions begin without a time, and the times of the others are not in order")
        at.append(time_of[key])
    return [entries[place] for place in sorted(range(len(entries)), key=at.__getitem__)]


def _in_window(entries: list[Entry], selection: Selection, left: Leftovers) -> list[Entry]:
    times = [request.time_s for _, request in entries if request.time_s is not None]
    if not times or (not selection.window_start_s and selection.window_end_s is None):
        return entries
    begin_s = times[0] + selection.window_start_s
    end_s = float("inf") if selection.window_end_s is None else times[0] + selection.window_end_s
    # A request without a time is placed with the previous one of its session.
    inside_of: dict[str, bool] = {}
    inside = []
    for place, request in entries:
        key = _key(place, request)
        if request.time_s is not None:
            inside_of[key] = begin_s <= request.time_s < end_s
        if inside_of.get(key, False):
            inside.append((place, request))
    left.outside_window = len(entries) - len(inside)
    return inside


def _sampled(entries: list[Entry], selection: Selection, left: Leftovers) -> list[Entry]:
    if selection.sample >= 1:
        return entries
    limit = int(selection.sample * _HASH_RANGE)
    kept = [(place, request) for place, request in entries if _draw(selection.seed, _key(place, request)) < limit]
    left.not_sampled = len(entries) - len(kept)
    return kept


def _draw(seed: int, key: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"sample/{seed}/{key}".encode(), digest_size=8).digest(), "big")


def _of_length(
    entries: list[Entry], selection: Selection, left: Leftovers
) -> tuple[list[tuple[int, TraceRequest, TraceRequest | None]], list[Entry]]:
    """(requests to send, each with its uncut original; requests that cannot be sent)."""
    fitting: list[tuple[int, TraceRequest, TraceRequest | None]] = []
    left_out = []
    for place, request in entries:
        if request.messages is None and not request.input_tokens:
            left.without_lengths += 1
            left_out.append((place, request))
            continue
        scaled, uncut = _scaled(request, selection), None
        limit, length, answer = selection.context_tokens, scaled.input_tokens, max(1, scaled.output_tokens or 1)
        if length is None:
            length = estimated_tokens(present(scaled.messages))
        if limit is not None and length + answer > limit:
            left.too_long += 1
            left.estimated += scaled.input_tokens is None
            if selection.too_long == "leave_out":
                left_out.append((place, scaled))
                continue
            if selection.too_long == "cut":
                if scaled.messages is not None:
                    raise ValueError(
                        'replay.too_long = "cut" cuts prompts that are made from lengths, but this file '
                        'has their text: use "leave_out" or "send"'
                    )
                scaled, uncut = _cut(scaled, limit), scaled
        fitting.append((place, scaled, uncut))
    return fitting, left_out


def _scaled(request: TraceRequest, selection: Selection) -> TraceRequest:
    output = request.output_tokens
    if output is not None and selection.output_scale != 1:
        output = max(1, round(output * selection.output_scale))
    if selection.input_scale == 1 or request.input_tokens is None:
        return replace(request, output_tokens=output)
    if request.messages is not None:
        raise ValueError("replay.input_scale scales prompts that are made from lengths, but this file has their text")
    length, block = request.input_tokens, request.block_tokens
    if not block:
        return replace(request, output_tokens=output, input_tokens=max(1, round(length * selection.input_scale)))
    # By whole blocks, so that equal IDs remain equal text.
    size = max(1, round(block * selection.input_scale))
    whole, rest = divmod(length, block)
    scaled = whole * size + (min(size, max(1, round(rest * selection.input_scale))) if rest else 0)
    return replace(request, output_tokens=output, input_tokens=scaled, block_tokens=size)


def _cut(request: TraceRequest, limit: int) -> TraceRequest:
    """The request with its answer cut to half the context at most, and its prompt to what remains."""
    output = min(max(1, request.output_tokens or 1), max(1, limit // 2))
    length = max(1, min(request.input_tokens or 1, limit - output))
    ids = request.hash_ids
    if ids is not None and request.block_tokens:
        ids = ids[: -(-length // request.block_tokens)]
    return replace(request, input_tokens=length, output_tokens=output, hash_ids=ids)


class _TimeScale:
    """Maps the trace's time to the replay's: shortens gaps, then scales."""

    def __init__(self, times: Sequence[float], selection: Selection) -> None:
        """`times`: ascending."""
        self._cap_s = selection.idle_gap_max_s
        self._begin_s = times[0] if times else 0.0
        self._times = times
        self._cuts = [0.0]
        """By how much each time is moved forward."""
        cut = 0.0
        for earlier, later in pairwise(times):
            if self._cap_s is not None:
                cut += max(0.0, later - earlier - self._cap_s)
            self._cuts.append(cut)
        span_s = times[-1] - self._begin_s - cut if times else 0.0
        self._factor = 1 / selection.speed
        if selection.rate is not None and span_s > 0:
            self._factor = len(times) / selection.rate / span_s

    def at(self, time_s: float) -> float:
        """The replay time of a trace time; between the given times, the distance to the previous one is kept."""
        before = bisect_right(self._times, time_s) - 1
        return max(0.0, time_s - self._begin_s - self._cuts[max(0, before)]) * self._factor

    def length(self, seconds: float) -> float:
        return (seconds if self._cap_s is None else min(seconds, self._cap_s)) * self._factor


def ranks_among_siblings(
    sessions: Iterable[Sequence[RecordedRequest]],
) -> tuple[dict[tuple[str, int], int], dict[int, int]]:
    """(rank of each id of a block, by scope and id; rank of each end without an id, by the request's place).

    What begins at the same point of the same prompts has different ranks, counted from 0 in the order of the sessions:
    by these a text can be made to differ from its first token on.
    """
    children: Counter[tuple[str, int] | None] = Counter()
    ranks: dict[tuple[str, int], int] = {}
    tails: dict[int, int] = {}
    for session in sessions:
        for each in session:
            request, parent = each.request, None
            for identity in request.hash_ids or ():
                key = (request.scope, identity)
                if key not in ranks:
                    ranks[key] = children[parent]
                    children[parent] += 1
                parent = key
            covered = len(request.hash_ids or ()) * (request.block_tokens or 0)
            if request.messages is None and (request.input_tokens or 0) > covered:
                tails[each.place] = children[parent]
                children[parent] += 1
    return ranks, tails
