"""A sample of the blocks gives the exact hit curve of the same prompts, within the stated error."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from tokenswarm.analysis.cache.hit_curve import HitCurve, hit_curve, uses_of_blocks
from tokenswarm.analysis.cache.sampled_curve import BlockSampler, SampledCurve, sampled_curve

BLOCK, SIZES = 16, (8_000, 20_000, 60_000, 200_000, 2_000_000)


def workload(seed: int, requests: int = 3000) -> tuple[list[list[int]], np.ndarray]:
    """Sessions that grow, behind a few beginnings of which some are used all the time."""
    rng = Random(seed)
    heads = [[1000 * head + block for block in range(rng.randrange(2, 30))] for head in range(20)]
    sessions: list[list[int]] = []
    prompts, fresh = [], 10**6
    for _ in range(requests):
        if sessions and rng.random() < 0.6:
            place = rng.randrange(max(0, len(sessions) - 60), len(sessions))
        else:
            sessions.append(list(heads[min(19, int(rng.expovariate(0.4)))]))
            place = len(sessions) - 1
        grown = rng.randrange(1, 25)
        sessions[place] = [*sessions[place], *range(fresh, fresh + grown)]
        fresh += grown
        prompts.append(sessions[place])
    lengths = np.array([len(prompt) * BLOCK - rng.randrange(BLOCK) for prompt in prompts])
    return prompts, lengths


def rows(prompts: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    return (
        np.array([block for prompt in prompts for block in prompt], dtype=np.int64),
        np.cumsum([0, *map(len, prompts)]),
    )


def both(seed: int, most: int) -> tuple[HitCurve, SampledCurve]:
    prompts, lengths = workload(seed)
    exact = hit_curve(uses_of_blocks(*rows(prompts), lengths, BLOCK), BLOCK)
    sampler = BlockSampler(most)
    for begin in range(0, len(prompts), 700):
        sampler.add(*rows(prompts[begin : begin + 700]))
    return exact, sampled_curve(sampler.finished(BLOCK), lengths, np.arange(len(prompts)))


def test_a_sample_of_all_blocks_is_the_exact_curve() -> None:
    exact, sampled = both(1, 10**9)
    for size in SIZES:
        assert sampled.curve.rate(size) == pytest.approx(exact.rate(size))
    assert sampled.curve.unbounded == pytest.approx(exact.unbounded)


def test_a_small_sample_is_near_the_exact_curve_and_says_how_near() -> None:
    """12 workloads of about 90,000 uses of blocks, of which at most 12,000 are kept."""
    inside, apart = [], []
    for seed in range(12):
        exact, sampled = both(seed, 12_000)
        for size in SIZES:
            off = abs(sampled.curve.rate(size) - exact.rate(size))
            apart.append(off)
            inside.append(off <= sampled.error(size) + 1e-12)
        assert sampled.curve.unbounded == pytest.approx(exact.unbounded, abs=0.02)
    assert np.mean(apart) < 0.015 and max(apart) < 0.06
    assert np.mean(inside) >= 0.9


def test_larger_blocks_are_made_of_the_same_sample() -> None:
    prompts, lengths = workload(3)
    ids, starts = rows(prompts)
    sampler = BlockSampler(10**9)
    sampler.add(ids, starts)
    sampled = sampled_curve(sampler.finished(BLOCK), lengths, np.arange(len(prompts)), 4)
    coarse = [[tuple(prompt[: end + 4]) for end in range(0, len(prompt) // 4 * 4, 4)] for prompt in prompts]
    names = {key: number for number, key in enumerate({key for prompt in coarse for key in prompt})}
    exact = hit_curve(
        uses_of_blocks(*rows([[names[key] for key in prompt] for prompt in coarse]), lengths, 4 * BLOCK), 4 * BLOCK
    )
    assert sampled.curve.unbounded == pytest.approx(exact.unbounded)
    for size in SIZES:
        assert sampled.curve.rate(size) == pytest.approx(exact.rate(size))


def test_no_more_is_kept_than_asked_for() -> None:
    prompts, _ = workload(5)
    sampler = BlockSampler(5_000)
    sampler.add(*rows(prompts))
    sample = sampler.finished(BLOCK)
    assert 1_000 < len(sample.node) <= 5_000 and sample.share < 0.2
    assert sample.counts.sum() == sum(map(len, prompts))
