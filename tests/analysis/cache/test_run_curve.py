"""A run's hit curve equals that of single blocks; answers and the warm-up fill the cache."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from tokenswarm.analysis.cache.hit_curve import hit_curve, uses_of_blocks
from tokenswarm.analysis.cache.models import Request
from tokenswarm.analysis.cache.run_curve import curve_points, run_curve, uses_of_requests

BLOCK = 16


def workload(rng: Random, requests: int) -> tuple[list[Request], np.ndarray]:
    """Prompts as paths of a tree of three levels, whose segments have any number of tokens."""
    tokens = np.array([rng.randint(1, 90) for _ in range(60)], dtype=float)
    made = []
    for number in range(requests):
        top = rng.randrange(4)
        middle = 4 + top * 3 + rng.randrange(3)
        made.append(Request([top, middle, 16 + (middle * 3 + rng.randrange(3)) % 44], [], number, number, number))
    return made, tokens


def by_single_blocks(requests: list[Request], tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same as rows of ids of whole blocks: a block's id is all that stands before its end."""
    ids: list[int] = []
    starts, known = [0], {}
    for request in requests:
        spelled = [(segment, place) for segment in request.prompt for place in range(int(tokens[segment]))]
        ids += [known.setdefault(tuple(spelled[:end]), len(known)) for end in range(BLOCK, len(spelled) + 1, BLOCK)]
        starts.append(len(ids))
    return np.array(ids), np.array(starts), np.diff(starts) * BLOCK


@pytest.mark.parametrize("seed", range(4))
def test_paths_give_the_very_curve_of_their_single_blocks(seed: int) -> None:
    requests, tokens = workload(Random(seed), 120)
    total = np.array([tokens[request.prompt].sum() for request in requests])
    curve = run_curve(uses_of_requests(requests, tokens, total, np.ones(120, dtype=bool), BLOCK), BLOCK)
    ids, starts, whole = by_single_blocks(requests, tokens)
    exact = hit_curve(uses_of_blocks(ids, starts, whole, BLOCK), BLOCK, leaf_first=True)
    for size in range(0, 4000, 37):
        assert curve.rate(size) * total.sum() == pytest.approx(exact.rate(size) * whole.sum()), size
    assert curve.unbounded > 0.3


def test_a_warm_up_fills_the_cache_and_is_not_counted() -> None:
    tokens = np.array([160.0])
    requests = [Request([0], [], 0.0, 0.5, 1.0), Request([0], [], 2.0, 2.5, 3.0)]
    uses = uses_of_requests(requests, tokens, np.array([160.0, 160.0]), np.array([False, True]), BLOCK)
    curve = run_curve(uses, BLOCK)
    assert curve.unbounded == 1.0


def test_an_answer_is_found_from_when_it_has_ended() -> None:
    tokens = np.array([160.0, 32.0, 16.0])
    counted, total = np.array([True, True]), np.array([160.0, 208.0])
    after = [Request([0], [1], 0.0, 0.5, 1.0), Request([0, 1, 2], [], 2.0, 2.5, 3.0)]
    before = [Request([0], [1], 0.0, 0.5, 9.0), Request([0, 1, 2], [], 2.0, 2.5, 3.0)]
    assert run_curve(uses_of_requests(after, tokens, total, counted, BLOCK), BLOCK).unbounded == 192 / 368
    assert run_curve(uses_of_requests(before, tokens, total, counted, BLOCK), BLOCK).unbounded == 160 / 368


def test_the_points_of_a_chart_go_from_the_first_hits_to_all_of_them() -> None:
    requests, tokens = workload(Random(1), 200)
    total = np.array([tokens[request.prompt].sum() for request in requests])
    curve = run_curve(uses_of_requests(requests, tokens, total, np.ones(200, dtype=bool), BLOCK), BLOCK)
    points = curve_points(curve)
    rates = [rate for _, rate in points]
    assert rates == sorted(rates) and rates[-1] == curve.unbounded and rates[0] < 0.1 * curve.unbounded
    nothing = uses_of_requests(requests[:1], tokens, total[:1], np.ones(1, dtype=bool), BLOCK)
    assert curve_points(run_curve(nothing, BLOCK)) == []
