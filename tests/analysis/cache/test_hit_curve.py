"""The curve of hits by cache size equals the hits of a simulated LRU cache of each size."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenswarm.analysis.cache.hit_curve import hit_curve, uses_of_blocks

from tests.examples import examples

BLOCK = 8


def _curve(prompts: list[list[int]], lengths: list[int], leaf_first: bool):
    starts = np.cumsum([0, *map(len, prompts)])
    ids = np.array([block for prompt in prompts for block in prompt], dtype=np.int64)
    return hit_curve(uses_of_blocks(ids, starts, np.array(lengths), BLOCK), BLOCK, leaf_first=leaf_first)


def _really(prompts: list[list[int]], lengths: list[int], leaf_first: bool, blocks: int) -> float:
    """The share that an LRU cache of so many blocks finds."""
    cache: OrderedDict[tuple[int, ...], None] = OrderedDict()
    found = 0
    for prompt, length in zip(prompts, lengths, strict=True):
        beginnings = [tuple(prompt[: end + 1]) for end in range(len(prompt))]
        count = next((at for at, key in enumerate(beginnings) if key not in cache), len(beginnings))
        found += min(count * BLOCK, length)
        for key in reversed(beginnings) if leaf_first else beginnings:
            cache.pop(key, None)
            cache[key] = None
        while len(cache) > blocks:
            cache.popitem(last=False)
    return found / sum(lengths)


@st.composite
def _workloads(draw):
    """Prompts over few ids, so that they share beginnings, with a last block that may be partial."""
    prompts = draw(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=25))
    lengths = [len(prompt) * BLOCK - draw(st.integers(0, BLOCK - 1)) for prompt in prompts]
    return prompts, lengths


@pytest.mark.parametrize("leaf_first", [False, True])
@given(workload=_workloads())
@settings(max_examples=examples(60), deadline=None)
def test_the_curve_is_what_a_cache_of_each_size_finds(leaf_first, workload):
    prompts, lengths = workload
    if leaf_first:  # a run of blocks is taken to be of equal tokens there
        lengths = [len(prompt) * BLOCK for prompt in prompts]
    curve = _curve(prompts, lengths, leaf_first)
    for blocks in (*range(1, 20), 1000):
        assert curve.rate(blocks * BLOCK) == pytest.approx(_really(prompts, lengths, leaf_first, blocks))
    assert curve.unbounded == pytest.approx(_really(prompts, lengths, leaf_first, 10**6))


def test_an_id_behind_another_beginning_is_another_block():
    curve = _curve([[1, 7], [2, 7], [1, 7]], [16, 16, 16], leaf_first=False)
    assert curve.unbounded == pytest.approx(16 / 48)


def test_a_cache_smaller_than_a_block_finds_nothing():
    assert _curve([[1], [1]], [8, 8], leaf_first=False).rate(BLOCK - 1) == 0


def test_half_of_what_there_is_to_find_takes_less_than_all_of_it():
    prompts = [[1, 2], [3, 4], [3, 4], [5, 6], [1, 2]]
    curve = _curve(prompts, [16] * 5, leaf_first=False)
    assert curve.size_for(0.5) == 2 * BLOCK
    assert curve.size_for(1.0) == 6 * BLOCK


def test_requests_that_share_nothing_have_no_curve():
    curve = _curve([[1], [2]], [8, 8], leaf_first=False)
    assert (curve.unbounded, curve.rate(1e9), curve.size_for(0.5)) == (0, 0, None)


def test_ids_of_64_bits_stay_apart():
    assert _curve([[2**40], [2**40 + 2**33]], [8, 8], leaf_first=False).unbounded == 0
