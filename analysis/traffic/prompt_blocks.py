"""The blocks of recorded prompts: all of them or, if they do not fit into memory, a sample."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np
from tokenswarm.analysis.cache.hit_curve import beginnings
from tokenswarm.analysis.cache.sampled_curve import BlockSample, BlockSampler

from tokenswarm.base.presence import present

BYTES_PER_TOKEN = 4
"""For text without token counts: the field's usual estimate for English."""
TEXT_BLOCK = 16
"""Tokens per block of text, if there is too much of it to look at every token."""
MAX_SINGLE_TOKENS = 20_000_000
"""Maximum tokens of text kept one by one, to show what caches with blocks of any size would find."""
MAX_BLOCKS = 30_000_000
"""Maximum blocks kept individually: more than a million requests usually have, and about 1.5 GB during the analysis.

Beyond that a sample is kept.
"""
_AT_ONCE, _REQUESTS_AT_ONCE = 1_000_000, 20_000


@dataclass(frozen=True, slots=True)
class PromptBlocks:
    """Each prompt as a row of block ids, `block_tokens` tokens each: `ids[starts[r] : starts[r + 1]]` belong to request
    r.
    """

    ids: np.ndarray
    starts: np.ndarray
    block_tokens: int


class BlockColumns:
    """The ids of all prompts, concatenated; for text, single tokens until there are too many of them.

    Beyond MAX_BLOCKS, further prompts go only into a sample, which covers all prompts.
    """

    def __init__(self) -> None:
        self._ids, self._starts = array("q"), array("q", [0])
        self._of_text = self._of_ids = False
        self._every = 1
        self._scopes: dict[str, int] = {"": 0}
        self._first: tuple[np.ndarray, np.ndarray] | None = None
        """The prompts kept whole, once there is a sampler."""
        self._sampler: BlockSampler | None = None

    def add_ids(self, ids: list[int], scope: str) -> None:
        """Add a prompt with block ids; equal ids in two scopes are different blocks."""
        self._of_ids = True
        if scope:  # prepending an id would shift the blocks by one, so every id is changed instead
            shift = self._scopes.setdefault(scope, len(self._scopes)) << 40
            ids = [each ^ shift for each in ids]
        self._ids.extend(ids)
        self._ended()

    def add_text(self, text: bytes) -> None:
        """Add a prompt as text; empty if it is unknown."""
        if text:
            self._of_text = True
            whole = len(text) // BYTES_PER_TOKEN * BYTES_PER_TOKEN
            tokens = np.frombuffer(text[:whole], dtype=np.uint32)
            if self._every > 1:
                tokens = beginnings(tokens)[self._every - 1 :: self._every].view(np.int64)
            self._ids.frombytes(tokens.astype(np.int64).tobytes())
        self._ended()

    def _ended(self) -> None:
        self._starts.append(len(self._ids))
        if self._of_text and self._every == 1 and len(self._ids) > MAX_SINGLE_TOKENS:
            self._coarsen()
        if len(self._ids) > (MAX_BLOCKS if self._sampler is None else _AT_ONCE):
            self._draw()

    def finished(self, block_tokens: int | None) -> tuple[PromptBlocks | None, BlockSample | None]:
        """What was collected: the prompts kept whole, and the sample if they are not all.

        None if no prompt is known, or some have ids and others text.
        """
        size = block_tokens if self._of_ids else self._every
        if self._of_text == self._of_ids or not size or not (len(self._ids) or self._sampler):
            return None, None
        if self._sampler is None:
            return PromptBlocks(_array(self._ids), _array(self._starts), size), None
        self._draw()
        ids, starts = present(self._first)
        return PromptBlocks(ids, starts, size), self._sampler.finished(size)

    def _draw(self) -> None:
        ids, starts = _array(self._ids), _array(self._starts)
        if self._sampler is None:
            self._sampler, self._first = BlockSampler(), (ids, starts)
            for begin in range(0, len(starts) - 1, _REQUESTS_AT_ONCE):
                some = starts[begin : begin + _REQUESTS_AT_ONCE + 1]
                self._sampler.add(ids[some[0] : some[-1]], some - some[0])
        else:
            self._sampler.add(ids, starts)
        self._ids, self._starts = array("q"), array("q", [0])

    def _coarsen(self) -> None:
        whole = coarser(PromptBlocks(_array(self._ids), _array(self._starts), 1), TEXT_BLOCK)
        self._every = TEXT_BLOCK
        self._ids, self._starts = array("q", whole.ids.tobytes()), array("q", whole.starts.tobytes())


def _array(column: array[int]) -> np.ndarray:
    return np.frombuffer(column, dtype=np.int64)


def reordered_blocks(blocks: PromptBlocks, order: np.ndarray) -> PromptBlocks:
    """The prompts at these positions, in this order."""
    if len(order) == len(blocks.starts) - 1 and (np.diff(order) == 1).all():
        return blocks
    lengths = np.diff(blocks.starts)[order]
    starts = np.concatenate(([0], np.cumsum(lengths)))
    at = np.arange(starts[-1]) - np.repeat(starts[:-1] - blocks.starts[:-1][order], lengths)
    return PromptBlocks(blocks.ids[at], starts, blocks.block_tokens)


def coarser(blocks: PromptBlocks, block_tokens: int) -> PromptBlocks:
    """The same prompts in larger blocks, a multiple of their size; blocks that are not full are left out."""
    if block_tokens == blocks.block_tokens:
        return blocks
    factor = block_tokens // blocks.block_tokens
    chained = beginnings(blocks.ids, blocks.starts)
    lengths = np.diff(blocks.starts)
    place = np.arange(len(blocks.ids)) - np.repeat(blocks.starts[:-1], lengths)
    starts = np.concatenate(([0], np.cumsum(lengths // factor)))
    return PromptBlocks(chained[place % factor == factor - 1].view(np.int64), starts, block_tokens)
