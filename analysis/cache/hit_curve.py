"""Hits against cache size: the share of the prompt tokens that an LRU prefix cache of each size would find. Pure.

Uses stack distances (Mattson and others, "Evaluation techniques for storage hierarchies", IBM Systems Journal 9, 1970):
a cache of C blocks holds a block exactly if fewer than C other blocks were used since the block's last use, so one pass
over the requests answers for every size. Prefix semantics: a block counts only if all blocks before it in the prompt
are found.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_AT_ONCE = 2**20
"""Blocks mixed at once, because mixing takes several temporary columns of that length."""
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Uses:
    """Uses of runs of blocks, in request order, and within a request from its beginning.

    A run is a sequence of blocks that always occur together. Arrays, one entry per use: `request` (from 0), `run` (its
    identity, from 0), `blocks` in the run, `tokens` of this request's prompt in it. `prompt_tokens` is the total of all
    requests, including tokens outside any block.
    """

    request: np.ndarray
    run: np.ndarray
    blocks: np.ndarray
    tokens: np.ndarray
    prompt_tokens: float


@dataclass(frozen=True, slots=True)
class HitCurve:
    """`sizes`: cache sizes in blocks, ascending. `found`: tokens found at each size, out of `prompt_tokens`.

    Between two sizes, `found` is that of the smaller size, or interpolated linearly if `ramps`.
    """

    sizes: np.ndarray
    hit_tokens: np.ndarray
    prompt_tokens: float
    block_tokens: int
    ramps: bool = False

    @property
    def unbounded(self) -> float:
        """Share of the prompt tokens that an unlimited cache finds, 0..1."""
        return self._share(self.hit_tokens[-1]) if len(self.hit_tokens) else 0.0

    def rate(self, cache_tokens: float) -> float:
        """Share of the prompt tokens, 0..1, that a cache of this many tokens finds."""
        blocks = cache_tokens // self.block_tokens
        if not len(self.sizes) or blocks < self.sizes[0]:
            return 0.0
        if self.ramps:
            return self._share(np.interp(blocks, self.sizes, self.hit_tokens))
        return self._share(self.hit_tokens[np.searchsorted(self.sizes, blocks, side="right") - 1])

    def size_for(self, share: float) -> int | None:
        """Size in tokens of a cache that finds `share` (0..1) of what an unlimited one finds; None if that finds
        nothing.
        """
        if not self.unbounded:
            return None
        at = int(np.searchsorted(self.hit_tokens, share * self.hit_tokens[-1], side="left"))
        return int(self.sizes[min(at, len(self.sizes) - 1)]) * self.block_tokens

    def _share(self, tokens: float) -> float:
        return float(tokens / self.prompt_tokens) if self.prompt_tokens else 0.0


def uses_of_blocks(ids: np.ndarray, starts: np.ndarray, prompt_tokens: np.ndarray, block_tokens: int) -> Uses:
    """The uses of requests whose prompts are rows of block ids, in the order sent.

    `ids[starts[r] : starts[r + 1]]` belong to request r. Each id stands for `block_tokens` tokens, the last id of a
    prompt for the remainder. Equal ids at the same position after equal prefixes are the same block, whether or not an
    id itself identifies its whole prefix.
    """
    node = beginnings(ids, starts)
    # A block is used at most as often as the one before it; equally often only if they always occur together.
    times = _times(node)
    begins = np.ones(len(ids), dtype=bool)
    begins[1:] = times[1:] != times[:-1]
    del times
    begins[starts[:-1][starts[:-1] < starts[1:]]] = True
    at = np.flatnonzero(begins)
    blocks = np.diff(np.append(at, len(ids)))
    of = np.searchsorted(starts, at, side="right") - 1
    whole = np.asarray(prompt_tokens, dtype=np.int64)
    begin = (at - starts[of]) * block_tokens
    tokens = np.minimum(begin + blocks * block_tokens, whole[of]) - np.minimum(begin, whole[of])
    run, _ = pd.factorize(node[at])
    return Uses(of.astype(np.int32), run, blocks, tokens, float(whole.sum()))


def hit_curve(uses: Uses, block_tokens: int, *, leaf_first: bool = False) -> HitCurve:
    """The curve of an LRU cache.

    Among blocks last used by the same request, plain LRU evicts the first of the prompt first, which makes the rest
    useless. With `leaf_first` the last one is evicted first, as vLLM and SGLang do.
    """
    order = _leaf_first(uses.request) if leaf_first else slice(None)
    request, run, blocks, tokens = (column[order] for column in (uses.request, uses.run, uses.blocks, uses.tokens))
    previous = _previous(run)
    again = np.flatnonzero(previous >= 0)
    others = _weight_since(previous, blocks, again, np.searchsorted(request, request[again]))
    if leaf_first:
        sizes, hit_tokens = _ramps(others, blocks[again], tokens[again])
    else:
        sizes, hit_tokens = _whole_runs(others + blocks[again], tokens[again], request[again])
    return HitCurve(sizes, hit_tokens, uses.prompt_tokens, block_tokens, leaf_first)


def beginnings(ids: np.ndarray, starts: np.ndarray | None = None) -> np.ndarray:
    """A number (uint64) for the prefix of a prompt up to and including each block: a sum of mixed (id, position) pairs,
    modulo 2^64.

    `ids[starts[r] : starts[r + 1]]` are the blocks of prompt r; without `starts`, all ids are one prompt.
    """
    starts = np.array([0, len(ids)]) if starts is None else starts
    if len(ids) <= _AT_ONCE:
        return _beginnings(ids, starts)
    total = np.empty(len(ids), dtype=np.uint64)
    bounds = np.unique(np.append(np.searchsorted(starts, np.arange(0, len(ids), _AT_ONCE)), len(starts) - 1))
    for first, last in pairwise(bounds.tolist()):
        begin, end = starts[first], starts[last]
        total[begin:end] = _beginnings(ids[begin:end], starts[first : last + 1] - begin)
    return total


def _beginnings(ids: np.ndarray, starts: np.ndarray) -> np.ndarray:
    lengths = np.diff(starts)
    place = np.arange(len(ids), dtype=np.uint64) - np.repeat(starts[:-1].astype(np.uint64), lengths)
    with np.errstate(over="ignore"):
        total = mixed(ids.astype(np.uint64))
        total += place * _GOLDEN
        total = np.cumsum(mixed(total), dtype=np.uint64)
        before = np.concatenate((np.zeros(1, dtype=np.uint64), total))[starts[:-1]]
        total -= np.repeat(before, lengths)
        return total


def mixed(values: np.ndarray) -> np.ndarray:
    """SplitMix64's finalizer (Steele, Lea, Flood 2014): flipping one input bit flips half of the output bits on
    average.
    """
    values = values + _GOLDEN
    for shift, factor in ((np.uint64(30), _MIX[0]), (np.uint64(27), _MIX[1])):
        values ^= values >> shift
        values *= factor
    values ^= values >> np.uint64(31)
    return values


def _times(node: np.ndarray) -> np.ndarray:
    """How often the value at each position occurs overall."""
    times = np.empty(len(node), dtype=np.int32)
    if not len(node):
        return times
    order = np.argsort(node)
    ordered = node[order]
    new = np.ones(len(node) + 1, dtype=bool)
    new[1:-1] = ordered[1:] != ordered[:-1]
    del ordered  # for a million requests each of these columns takes 200 MB
    edges = np.flatnonzero(new).astype(np.int32)
    counts = edges[1:] - edges[:-1]
    times[order] = np.repeat(counts, counts)
    return times


def _leaf_first(request: np.ndarray) -> np.ndarray:
    """The order in which each request's last use comes first."""
    return np.lexsort((-np.arange(len(request)), request))


def _previous(run: np.ndarray) -> np.ndarray:
    """For each use, the position of the previous use of the same run; -1 if there is none."""
    by_run = np.argsort(run, kind="stable")
    previous = np.full(len(run), -1, dtype=np.int64)
    same = run[by_run][1:] == run[by_run][:-1]
    previous[by_run[1:][same]] = by_run[:-1][same]
    return previous


def _weight_since(previous: np.ndarray, weight: np.ndarray, which: np.ndarray, until: np.ndarray) -> np.ndarray:
    """For each use in `which`: the total weight of the distinct other runs used after its last use and before `until`.

    Each run is counted at its first use in that span: the uses m in (previous, until) with previous[m] <= previous.
    """
    last = previous[which]
    total = np.concatenate(([0], np.cumsum(weight)))
    return _dominated(previous + 1, weight, until, last + 2) - total[last + 1]


def _dominated(values: np.ndarray, weight: np.ndarray, until: np.ndarray, below: np.ndarray) -> np.ndarray:
    """For each query: the sum of weight[m] over m < until with values[m] < below. Values are at least 0.

    A wavelet matrix (Claude, Navarro 2012), traversed level by level for all queries at once: O(n log n) time.
    """
    result = np.zeros(len(until), dtype=np.int64)
    low, high = np.zeros(len(until), dtype=np.int64), until.astype(np.int64)
    for bit in range(int(max(values.max(initial=0), below.max(initial=0))).bit_length() - 1, -1, -1):
        ones = (values >> bit & 1).astype(bool)
        zeros_before = np.concatenate(([0], np.cumsum(~ones)))
        weight_before = np.concatenate(([0], np.cumsum(np.where(ones, 0, weight))))
        up = (below >> bit & 1).astype(bool)
        result[up] += weight_before[high[up]] - weight_before[low[up]]
        zeros = zeros_before[-1]
        low = np.where(up, zeros + low - zeros_before[low], zeros_before[low])
        high = np.where(up, zeros + high - zeros_before[high], zeros_before[high])
        order = np.concatenate((np.flatnonzero(~ones), np.flatnonzero(ones)))
        values, weight = values[order], weight[order]
    return result


def _whole_runs(sizes: np.ndarray, tokens: np.ndarray, request: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sizes and cumulative tokens if a run is found only as a whole, and only if all runs before it in its prompt are
    found.
    """
    needed = pd.Series(sizes).groupby(request, sort=False).cummax().to_numpy()
    return _cumulated(needed, tokens)


def _ramps(others: np.ndarray, blocks: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sizes and cumulative tokens if the blocks of a run are found one by one, from its beginning.

    Each run is a ramp from `others` to `others + blocks`; between two sizes the sum of all ramps is a straight line.
    """
    sizes, at = np.unique(np.concatenate((others, others + blocks)), return_inverse=True)
    slope = tokens / blocks
    change = np.bincount(at, weights=np.concatenate((slope, -slope)), minlength=len(sizes))
    steps = np.cumsum(change)[:-1] * np.diff(sizes)
    return sizes, np.concatenate((np.zeros(min(1, len(sizes))), np.cumsum(steps)))


def _cumulated(sizes: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(sizes, kind="stable")
    sizes, hit_tokens = sizes[order], np.cumsum(tokens[order])
    last = np.append(sizes[1:] != sizes[:-1], True) if len(sizes) else np.zeros(0, dtype=bool)
    return sizes[last], hit_tokens[last]
