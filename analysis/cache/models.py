"""What a prefix cache could have found, by three models over the requests in the order in which they were sent. Pure.

*Ideal*: a cache without limits that knows every prefix to the token. *Blocks*: the same, but only whole blocks are
found. *Capacity*: blocks, in a cache of limited size that forgets what was used longest ago. A prompt counts as cached
from when it was sent on, an answer from when it had ended, so each is an upper bound for its kind of cache: an engine
cannot share what it is still computing. In each of them the last token of a prompt is always computed.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

_ROUNDING = 1e-6
"""Tokens that are whole up to the rounding of floating point count as whole."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request: the segments of its prompt, and of its answer, as a path of a PrefixTree; when it was sent, had its
    first token and ended (unix seconds). more_tokens: what it generated beyond the segments of `answer`."""

    prompt: Sequence[int]
    answer: Sequence[int]
    sent: float
    first_token: float
    ended: float
    more_tokens: float = 0.0


@dataclass(frozen=True, slots=True)
class Shared:
    """Leading tokens of each request's prompt that were cached when it was sent, unrounded; arrays by request.

    Where it parts from all before it is known to the piece only: at_least leaves that piece out, at_most has it
    whole, and the others have half of it. ideal: in a cache without limits. computed: what was not only sent but had
    brought a first token, so that its prompt had been computed. prompts: what other prompts had, leaving answers
    out. capacity: in the limited cache.
    """

    at_least: np.ndarray
    ideal: np.ndarray
    at_most: np.ndarray
    computed: np.ndarray
    prompts: np.ndarray
    capacity: np.ndarray


@dataclass(slots=True)
class LimitedCache:
    """A cache of whole blocks that evicts, of what no running request holds, the end of what was used longest ago.

    `size` None: without limit. Where running requests alone need more than there is, they have it: an engine would make
    them wait.
    """

    size: int | None
    used: int = 0
    overflowed: bool = False
    """Whether there was ever more than fits."""
    _resident: dict[int, int] = field(default_factory=dict)
    _holders: dict[int, int] = field(default_factory=dict)
    _free: OrderedDict[int, None] = field(default_factory=OrderedDict)

    def blocks_of(self, segment: int) -> int:
        """Blocks of a segment that are cached."""
        return self._resident.get(segment, 0)

    def hold(self, segment: int, blocks: int) -> None:
        """A running request uses the segment, which has so many blocks: all of them are there now."""
        self.used += blocks - self._resident.get(segment, 0)
        self._resident[segment] = blocks
        self._holders[segment] = self._holders.get(segment, 0) + 1
        self._free.pop(segment, None)

    def release(self, segment: int) -> None:
        """The request has ended. Of one request the end must be released before the beginning."""
        holders = self._holders[segment] - 1
        if holders:
            self._holders[segment] = holders
            return
        del self._holders[segment]
        if self._resident[segment]:
            self._free[segment] = None
        else:
            del self._resident[segment]

    def leave(self, segment: int, blocks: int) -> None:
        """Blocks that will never be shared: what an answer leaves that no prompt goes on from."""
        self.used += blocks
        self._resident[segment] = blocks
        self._free[segment] = None

    def evict(self) -> None:
        """Forget until it fits, or nothing is left that may be forgotten."""
        if self.size is None:
            return
        self.overflowed = self.overflowed or self.used > self.size
        while self.used > self.size and self._free:
            segment = next(iter(self._free))
            lost = min(self._resident[segment], self.used - self.size)
            self.used -= lost
            self._resident[segment] -= lost
            if not self._resident[segment]:
                del self._free[segment], self._resident[segment]


class Replay:
    """Goes through the requests once and fills a `Shared`.

    tokens: of each segment. step_tokens: of its first piece. capacity_tokens None: no limit.
    """

    def __init__(
        self, tokens: np.ndarray, step_tokens: np.ndarray, block_size: int = 1, capacity_tokens: int | None = None
    ) -> None:
        self._tokens, self._step = tokens.tolist(), step_tokens.tolist()
        self._block = block_size
        # Of each segment that was sent: where it ends, in tokens from the prompt's beginning, the blocks that end
        # within it, and when it was first computed. Of others: -1.
        self._end = [-1.0] * len(self._tokens)
        self._blocks = [-1] * len(self._tokens)
        self._computed_at = [np.inf] * len(self._tokens)
        self._asked = [False] * len(self._tokens)  # whether a prompt had it, and not only an answer
        self._any = False
        self._running = 0
        self._cache = LimitedCache(None if capacity_tokens is None else capacity_tokens // block_size)

    @property
    def all_kept_tokens(self) -> int | None:
        """What the limited cache holds at the end, in tokens, if nothing was ever forgotten; else None."""
        # Each request that still runs has a block that is being filled.
        return None if self._cache.overflowed else (self._cache.used - self._running) * self._block

    def run(self, requests: Sequence[Request]) -> Shared:
        """`requests` in the order sent."""
        out = np.zeros((6, len(requests)))
        running: list[tuple[float, int]] = []
        for number, request in enumerate(requests):
            while running and running[0][0] <= request.sent:
                ended = heapq.heappop(running)[1]
                self._ended(ended, requests[ended])
            out[:, number] = self._parts_known(request)
            self._sent(request)
            heapq.heappush(running, (request.ended, number))
        self._running = len(running)
        return Shared(*out)

    def _parts_known(self, request: Request) -> tuple[float, float, float, float, float, float]:
        """at_least, ideal, at_most, computed, prompts, capacity of this request."""
        known = computed = in_prompts = resident = 0.0
        is_computed = is_asked = is_resident = True
        piece = 0.0
        for segment in request.prompt:
            end = self._end[segment]
            if end < 0:
                piece = self._step[segment] if self._any else 0.0
                break
            if is_computed and self._computed_at[segment] <= request.sent:
                computed = end
            else:
                is_computed = False
            if is_asked and self._asked[segment]:
                in_prompts = end
            else:
                is_asked = False
            if is_resident:
                resident, is_resident = self._resident(segment, known, end)
            known = end
        half = piece / 2
        return (
            known,
            known + half,
            known + piece,
            computed + half * is_computed,
            in_prompts + half * is_asked,
            resident + half * is_resident,
        )

    def _resident(self, segment: int, begin: float, end: float) -> tuple[float, bool]:
        """Where the cached part of this segment ends, and whether that is all of it."""
        there = self._cache.blocks_of(segment)
        if there >= self._blocks[segment]:
            return end, True
        return (max(begin, float((self._whole(begin) + there) * self._block)) if there else begin), False

    def _whole(self, tokens: float) -> int:
        return int((tokens + _ROUNDING) // self._block)

    def _hold(self, segments: Iterable[int], begin: float, computed_at: float) -> float:
        for segment in segments:
            if self._end[segment] < 0:
                self._end[segment] = end = begin + self._tokens[segment]
                self._blocks[segment] = self._whole(end) - self._whole(begin)
            if computed_at < self._computed_at[segment]:
                self._computed_at[segment] = computed_at
            self._cache.hold(segment, self._blocks[segment])
            begin = self._end[segment]
        return begin

    def _sent(self, request: Request) -> None:
        self._any = True
        self._hold(request.prompt, 0.0, request.first_token)
        for segment in request.prompt:
            self._asked[segment] = True
        self._cache.used += 1  # the block that is being filled
        self._cache.evict()

    def _ended(self, number: int, request: Request) -> None:
        cache = self._cache
        end = self._hold(request.answer, self._end[request.prompt[-1]] if request.prompt else 0.0, request.ended)
        cache.used -= 1
        rest = self._whole(end + request.more_tokens) - self._whole(end)
        if rest:
            cache.leave(-1 - number, rest)
        for segments in (request.answer, request.prompt):
            for segment in reversed(segments):
                cache.release(segment)
        cache.evict()


def hits(shared: np.ndarray, prompt_tokens: np.ndarray, block_size: int = 1) -> np.ndarray:
    """Prompt tokens found in the cache: the shared ones, but never the last of the prompt, in whole blocks."""
    tokens = np.minimum(np.maximum(shared, 0.0) + _ROUNDING, np.maximum(prompt_tokens - 1, 0))
    return tokens // block_size * block_size


def block_hits(
    shared: np.ndarray, error: np.ndarray, prompt_tokens: np.ndarray, block_size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(expected, least, most) tokens found in whole blocks, where `shared` is known up to `error` tokens only.

    A shared beginning that ends near the end of a block may or may not fill it: expected is the mean of what `shared`
    and both its ends give, which is never above `shared`.
    """
    error = np.minimum(error, shared)
    least, middle, most = (hits(shared + shift, prompt_tokens, block_size) for shift in (-error, 0.0, error))
    return (least + middle + most) / 3, least, most
