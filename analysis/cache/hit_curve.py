"""Hits against cache size: which share of the prompt tokens an LRU prefix cache of each size would have found. Pure.

Stack distances (Mattson and others, "Evaluation techniques for storage hierarchies", IBM Systems Journal 9, 1970): a
block is found in a cache of C blocks exactly if fewer than C others were used since its last use, so one pass over the
requests answers for every size. Prefix semantics: a block counts only if all before it in the prompt are found too.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_AT_ONCE = 2**20
"""Blocks that are mixed at once, which takes several columns as long as theirs."""
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Uses:
    """Uses of runs of blocks, in the order of the requests, and within a request from its beginning on.

    A run is a row of blocks that always go together. Arrays by use: `request`, counted from 0; `run`, its identity,
    0..; `blocks` of the run; `tokens` of this request's prompt in it. `prompt_tokens`: of all requests together, those
    outside of any block too.
    """

    request: np.ndarray
    run: np.ndarray
    blocks: np.ndarray
    tokens: np.ndarray
    prompt_tokens: float


@dataclass(frozen=True, slots=True)
class HitCurve:
    """`sizes`: cache sizes in blocks, ascending; `found`: prompt tokens that are found at each of them, of
    `prompt_tokens`. Between two sizes the tokens found are those of the smaller, or, where `ramps`, grow evenly."""

    sizes: np.ndarray
    hit_tokens: np.ndarray
    prompt_tokens: float
    block_tokens: int
    ramps: bool = False

    @property
    def unbounded(self) -> float:
        """Share of the prompt tokens that a cache without limits finds, 0..1."""
        return self._share(self.hit_tokens[-1]) if len(self.hit_tokens) else 0.0

    def rate(self, cache_tokens: float) -> float:
        """Share of the prompt tokens, 0..1, that a cache of so many tokens finds."""
        blocks = cache_tokens // self.block_tokens
        if not len(self.sizes) or blocks < self.sizes[0]:
            return 0.0
        if self.ramps:
            return self._share(np.interp(blocks, self.sizes, self.hit_tokens))
        return self._share(self.hit_tokens[np.searchsorted(self.sizes, blocks, side="right") - 1])

    def size_for(self, share: float) -> int | None:
        """Tokens of a cache that finds `share` (0..1) of what one without limits finds; None if that finds nothing."""
        if not self.unbounded:
            return None
        at = int(np.searchsorted(self.hit_tokens, share * self.hit_tokens[-1], side="left"))
        return int(self.sizes[min(at, len(self.sizes) - 1)]) * self.block_tokens

    def _share(self, tokens: float) -> float:
        return float(tokens / self.prompt_tokens) if self.prompt_tokens else 0.0


def uses_of_blocks(ids: np.ndarray, starts: np.ndarray, prompt_tokens: np.ndarray, block_tokens: int) -> Uses:
    """Requests whose prompts are rows of block ids: `ids[starts[r] : starts[r + 1]]` is request r's, in order sent.

    Each id stands for `block_tokens` tokens, the last one of a prompt for what is left of them. Equal ids at equal
    places behind equal beginnings are one block, whether or not the ids themselves stand for the whole beginning.
    """
    node = beginnings(ids, starts)
    # A block is used at most as often as the one before it, and equally often only if always together with it.
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

    Of blocks that were used by the same request, plain LRU forgets the first of the prompt first, and what follows it
    is of no use then; with `leaf_first` the last one is forgotten first, which is what vLLM and SGLang do.
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
    """A number (uint64) for each prompt's beginning up to each block: a sum of mixed (id, place) pairs, modulo 2^64.

    ids[starts[r] : starts[r + 1]] are the blocks of prompt r; without `starts` all of them are one prompt's.
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
    """SplitMix64's finishing step (Steele, Lea, Flood 2014): every bit of the input moves half of the output's."""
    values = values + _GOLDEN
    for shift, factor in ((np.uint64(30), _MIX[0]), (np.uint64(27), _MIX[1])):
        values ^= values >> shift
        values *= factor
    values ^= values >> np.uint64(31)
    return values


def _times(node: np.ndarray) -> np.ndarray:
    """How often the value of each place occurs in all."""
    times = np.empty(len(node), dtype=np.int32)
    if not len(node):
        return times
    order = np.argsort(node)
    ordered = node[order]
    new = np.ones(len(node) + 1, dtype=bool)
    new[1:-1] = ordered[1:] != ordered[:-1]
    del ordered  # of a million requests each of these columns takes 200 MB
    edges = np.flatnonzero(new).astype(np.int32)
    counts = edges[1:] - edges[:-1]
    times[order] = np.repeat(counts, counts)
    return times


def _leaf_first(request: np.ndarray) -> np.ndarray:
    """The order in which each request's last use comes first."""
    return np.lexsort((-np.arange(len(request)), request))


def _previous(run: np.ndarray) -> np.ndarray:
    """Of each use, the place of the same run's use before it; -1 if it is the first."""
    by_run = np.argsort(run, kind="stable")
    previous = np.full(len(run), -1, dtype=np.int64)
    same = run[by_run][1:] == run[by_run][:-1]
    previous[by_run[1:][same]] = by_run[:-1][same]
    return previous


def _weight_since(previous: np.ndarray, weight: np.ndarray, which: np.ndarray, until: np.ndarray) -> np.ndarray:
    """Of each use in `which`: the weight of the distinct others used after its last use and before place `until`.

    Counted at their first use after it: of the uses m in (previous, until) those with previous[m] <= previous.
    """
    last = previous[which]
    total = np.concatenate(([0], np.cumsum(weight)))
    return _dominated(previous + 1, weight, until, last + 2) - total[last + 1]


def _dominated(values: np.ndarray, weight: np.ndarray, until: np.ndarray, below: np.ndarray) -> np.ndarray:
    """For each query: the sum of weight[m] over m < until with values[m] < below. Values are at least 0.

    A wavelet matrix (Claude, Navarro 2012), gone through level by level for all queries at once: O(n log n) time.
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
    """Sizes and cumulated tokens, where a run is found whole, and only if all runs before it in its prompt are."""
    needed = pd.Series(sizes).groupby(request, sort=False).cummax().to_numpy()
    return _cumulated(needed, tokens)


def _ramps(others: np.ndarray, blocks: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sizes and cumulated tokens, where a run of blocks is found one block after the other, from its beginning on.

    Each run is a ramp from `others` to `others + blocks`; between the sizes the sum of all ramps is a straight line.
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
