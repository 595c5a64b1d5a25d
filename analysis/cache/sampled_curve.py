"""Hits against cache size from a sample of the blocks, for workloads whose blocks do not all fit into memory. Pure.

SHARDS (Waldspurger and others, "Efficient MRC construction with SHARDS", FAST 2015): a block is in the sample if its
hash is below a threshold, so the sample has all of its uses or none. Stack distances in the sample are the true ones
times the sampling rate. Misses are counted in the sample, and hits are all uses minus the misses (the paper's
SHARDS-adj): a few blocks are used all the time, so counting hits directly would depend on whether one of these was
drawn.

The error comes from parts of the sample, each of which gives its own curve.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from tokenswarm.analysis.cache.hit_curve import HitCurve, Uses, beginnings, hit_curve, mixed

MAX_SAMPLED = 4_000_000
"""Maximum number of block uses kept; beyond it, half of the blocks are dropped."""
_ALL = 1 << 64
LEAST_SAMPLED = 60
"""Sampled blocks that a cache should hold: a smaller cache has no reliable figure and no reliable error."""
PARTS = 8
_T_95 = 2.3646
"""Student's t for 95% with PARTS - 1 degrees of freedom."""


@dataclass(frozen=True, slots=True)
class BlockSample:
    """Uses of the sampled blocks in file order: the request, the block's position in its prompt, and the number of the
    prefix up to it.

    share: sampling rate (0..1). counts: blocks of each request, sampled or not.
    """

    request: np.ndarray
    place: np.ndarray
    node: np.ndarray
    share: float
    counts: np.ndarray
    block_tokens: int


@dataclass(frozen=True, slots=True)
class SampledCurve:
    """A hit curve, and the curves of parts of the sample, which give its error. least_tokens: the smallest cache size
    for which the curve is reliable.
    """

    curve: HitCurve
    parts: tuple[HitCurve, ...]
    least_tokens: int

    def error(self, cache_tokens: float) -> float:
        """Half the width of the hit rate's 95% interval (share of the prompt tokens) in a cache of this size."""
        return _half_width([part.rate(cache_tokens) for part in self.parts])

    @property
    def unbounded_error(self) -> float:
        """The same for an unlimited cache."""
        return _half_width([part.unbounded for part in self.parts])


def _half_width(rates: Sequence[float]) -> float:
    return float(_T_95 * np.std(rates, ddof=1) / np.sqrt(len(rates)))


class BlockSampler:
    """Samples blocks from prompts that are added in any number of batches."""

    def __init__(self, most: int = MAX_SAMPLED) -> None:
        self._most, self._limit = most, _ALL
        self._columns: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._counts: list[np.ndarray] = []
        self._requests = self._uses = 0

    def add(self, ids: np.ndarray, starts: np.ndarray) -> None:
        """Add prompts: `ids[starts[r] : starts[r + 1]]` are the blocks of the r-th new one."""
        lengths = np.diff(starts)
        request = np.repeat(np.arange(self._requests, self._requests + len(lengths), dtype=np.int32), lengths)
        place = (np.arange(len(ids)) - np.repeat(starts[:-1], lengths)).astype(np.int32)
        self._requests += len(lengths)
        self._counts.append(lengths.astype(np.int32))
        self._keep(request, place, beginnings(ids, starts))
        while self._uses > self._most:
            self._limit //= 2
            kept, self._columns, self._uses = self._columns, [], 0
            for columns in kept:
                self._keep(*columns)

    def _keep(self, request: np.ndarray, place: np.ndarray, node: np.ndarray) -> None:
        drawn = mixed(node) <= np.uint64(self._limit - 1)
        self._columns.append((request[drawn], place[drawn], node[drawn]))
        self._uses += int(drawn.sum())

    def finished(self, block_tokens: int) -> BlockSample:
        """The sample of all prompts."""
        request, place, node = (np.concatenate(column) for column in zip(*self._columns, strict=True))
        return BlockSample(request, place, node, self._limit / _ALL, np.concatenate(self._counts), block_tokens)


def sampled_curve(sample: BlockSample, prompt_tokens: np.ndarray, order: np.ndarray, factor: int = 1) -> SampledCurve:
    """The curve of an LRU cache with blocks of `factor` times the sample's size.

    prompt_tokens: of each request, in file order. order: the requests in the order sent.
    """
    size = sample.block_tokens * factor
    whole = prompt_tokens.astype(np.int64)
    in_blocks = int(np.minimum(sample.counts.astype(np.int64) // factor * size, whole).sum())
    last = sample.place % factor == factor - 1
    request, place, node = sample.request[last], sample.place[last] // factor, sample.node[last]
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    sent = np.lexsort((place, rank[request]))
    request, place, node = request[sent], place[sent].astype(np.int64), node[sent]
    tokens = np.clip(whole[request] - place * size, 0, size)
    run, _ = pd.factorize(node)
    uses = Uses(rank[request].astype(np.int32), run, np.ones(len(run), dtype=np.int64), tokens, float(whole.sum()))
    part_of = (mixed(mixed(node)) % np.uint64(PARTS)).astype(np.int64)
    parts = (_estimate(_only(uses, part_of == part), size, sample.share / PARTS, in_blocks) for part in range(PARTS))
    return SampledCurve(
        _estimate(uses, size, sample.share, in_blocks), tuple(parts), int(LEAST_SAMPLED / sample.share) * size
    )


def _only(uses: Uses, which: np.ndarray) -> Uses:
    return replace(
        uses,
        request=uses.request[which],
        run=pd.factorize(uses.run[which])[0],
        blocks=uses.blocks[which],
        tokens=uses.tokens[which],
    )


def _estimate(uses: Uses, block_tokens: int, share: float, in_blocks: int) -> HitCurve:
    """The curve of all blocks, from that of a share of them."""
    drawn = hit_curve(uses, block_tokens)
    if not len(drawn.sizes):
        return drawn
    misses = (uses.tokens.sum() - drawn.hit_tokens) / share
    hits = np.maximum.accumulate(np.clip(in_blocks - misses, 0.0, in_blocks))
    # The block itself counts once, however many blocks the sample represents.
    sizes = np.maximum.accumulate(np.round((drawn.sizes - 1) / share).astype(np.int64) + 1)
    return HitCurve(sizes, hits, uses.prompt_tokens, block_tokens)
