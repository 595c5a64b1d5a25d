"""What a prefix cache could have found, by three models over the requests in the order sent. Pure.

- *Ideal*: an unlimited cache that knows every prefix to the token.
- *Blocks*: the same, but it finds only whole blocks.
- *Capacity*: blocks in a cache of limited size, with LRU eviction.

A prompt counts as cached from when it was sent, an answer from when it ended. So each model is an upper bound for its
kind of cache: an engine cannot share what it is still computing. In all models the last token of a prompt is computed.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

_ROUNDING = 1e-6
"""Tokens within this distance of an integer count as that integer."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request: the segments of its prompt and answer as a path of a PrefixTree, and when it was sent, got its first
    token and ended (unix seconds).

    more_tokens: generated tokens beyond the segments of `answer`.
    """

    prompt: Sequence[int]
    answer: Sequence[int]
    sent: float
    first_token: float
    ended: float
    more_tokens: float = 0.0


@dataclass(frozen=True, slots=True)
class Shared:
    """Leading tokens of each request's prompt that were cached when it was sent, unrounded; arrays by request.

    Where a prompt diverges from all earlier ones is known only to the piece: at_least excludes that piece, at_most
    includes it, and the others count half of it.

    - ideal: in an unlimited cache
    - computed: in prompts that had already produced a first token, so they were computed, not only sent
    - prompts: in other prompts, ignoring answers
    - capacity: in the limited cache
    """

    at_least: np.ndarray
    ideal: np.ndarray
    at_most: np.ndarray
    computed: np.ndarray
    prompts: np.ndarray
    capacity: np.ndarray


@dataclass(slots=True)
class LimitedCache:
    """A cache of whole blocks. Among blocks that no running request holds, it evicts the end of the least recently used
    one.

    `size` None: unlimited. If running requests alone need more than there is, they get it; an engine would make them
    wait.
    """

    size: int | None
    used: int = 0
    overflowed: bool = False
    """Whether the cache was ever full."""
    _resident: dict[int, int] = field(default_factory=dict)
    _holders: dict[int, int] = field(default_factory=dict)
    _free: OrderedDict[int, None] = field(default_factory=OrderedDict)

    def blocks_of(self, segment: int) -> int:
        """Number of cached blocks of a segment."""
        return self._resident.get(segment, 0)

    def hold(self, segment: int, blocks: int) -> None:
        """A running request uses the segment of this many blocks; from now on all of them are cached."""
        self.used += blocks - self._resident.get(segment, 0)
        self._resident[segment] = blocks
        self._holders[segment] = self._holders.get(segment, 0) + 1
        self._free.pop(segment, None)

    def release(self, segment: int) -> None:
        """The request has ended. Release the end of a request before its beginning."""
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
        """Blocks that will never be shared: the part of an answer that no later prompt continues."""
        self.used += blocks
        self._resident[segment] = blocks
        self._free[segment] = None

    def evict(self) -> None:
        """Evict until the cache fits or nothing evictable is left."""
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

    tokens: of each segment. step_tokens: of each segment's first piece. capacity_tokens None: unlimited.
    """

    def __init__(
        self, tokens: np.ndarray, step_tokens: np.ndarray, block_size: int = 1, capacity_tokens: int | None = None
    ) -> None:
        self._tokens, self._step = tokens.tolist(), step_tokens.tolist()
        self._block = block_size
        # For each segment sent: where it ends, in tokens from the prompt's beginning, the blocks that end
        # within it, and when it was first computed. For others: -1.
        self._end = [-1.0] * len(self._tokens)
        self._blocks = [-1] * len(self._tokens)
        self._computed_at = [np.inf] * len(self._tokens)
        self._asked = [False] * len(self._tokens)  # whether it occurred in a prompt, not only in an answer
        self._any = False
        self._running = 0
        self._cache = LimitedCache(None if capacity_tokens is None else capacity_tokens // block_size)

    @property
    def all_kept_tokens(self) -> int | None:
        """Tokens in the limited cache at the end if nothing was ever evicted; else None."""
        # Each running request has one partly filled block.
        return None if self._cache.overflowed else (self._cache.used - self._running) * self._block

    def run(self, requests: Sequence[Request]) -> Shared:
        """Process `requests`, in the order sent."""
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
    """Prompt tokens found in the cache: the shared ones, in whole blocks, but never the last token of the prompt."""
    tokens = np.minimum(np.maximum(shared, 0.0) + _ROUNDING, np.maximum(prompt_tokens - 1, 0))
    return tokens // block_size * block_size


def block_hits(
    shared: np.ndarray, error: np.ndarray, prompt_tokens: np.ndarray, block_size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(expected, least, most) tokens found in whole blocks if `shared` is known only to within `error` tokens.

    A shared prefix that ends near the end of a block may or may not fill it. `expected` is the mean over `shared` and
    both of its bounds, and never exceeds `shared`.
    """
    error = np.minimum(error, shared)
    least, middle, most = (hits(shared + shift, prompt_tokens, block_size) for shift in (-error, 0.0, error))
    return (least + middle + most) / 3, least, most
