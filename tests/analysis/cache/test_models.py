"""The three cache models agree with cases worked out by hand, with properties, and with the simulator's caches."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenswarm.analysis.cache.models import Replay, Request, Shared, block_hits, hits

from tests.examples import examples
from tokenswarm.sim.block_cache import BlockCache
from tokenswarm.sim.radix_cache import RadixCache

TOKENS = np.array([100.0, 60.0, 60.0, 30.0, 200.0])
"""Segment 0 is a shared beginning; 1 and 2 follow it, 3 is an answer to 1, 4 stands alone."""


def ask(
    prompt: list[int], sent: float, answer: list[int] | None = None, took: float = 0.5, more: float = 0.0
) -> Request:
    return Request(prompt, answer or [], sent, sent + took / 2, sent + took, more)


def replay(requests: list[Request], block: int = 1, capacity: int | None = None, step: float = 0.0) -> Shared:
    return Replay(TOKENS, np.full(len(TOKENS), step), block, capacity).run(requests)


def test_the_first_request_finds_nothing_and_the_next_what_they_share() -> None:
    assert replay([ask([0, 1], 0), ask([0, 2], 1), ask([0, 1], 2)]).ideal.tolist() == [0, 100, 160]


@pytest.mark.parametrize(("capacity", "kept"), [(1000, 222), (230, 222), (210, None)])
def test_what_was_sent_is_all_kept_or_something_was_forgotten(capacity: int, kept: int | None) -> None:
    found = Replay(TOKENS, np.zeros(len(TOKENS)), 1, capacity)
    found.run([ask([0, 1], 0, more=2.0), ask([0, 2], 10)])
    assert found.all_kept_tokens == kept


def test_an_answer_is_found_only_after_it_ended() -> None:
    requests = [ask([0, 1], 0, [3], took=5), ask([0, 1, 3], 1), ask([0, 1, 3], 6)]
    assert replay(requests).ideal.tolist() == [0, 160, 190]


def test_what_came_back_from_answers_is_told_apart() -> None:
    requests = [ask([0, 1], 0, [3]), ask([0, 1, 3], 1), ask([0, 1, 3], 2)]
    assert replay(requests).prompts.tolist() == [0, 160, 190]


def test_what_is_still_being_computed_is_told_apart() -> None:
    assert replay([ask([0, 1], 0, took=4), ask([0, 2], 1), ask([0, 2], 3)]).computed.tolist() == [0, 0, 160]


def test_half_of_the_piece_in_which_prompts_part_counts() -> None:
    found = replay([ask([0, 1], 0), ask([0, 2], 1)], step=8.0)
    assert (found.at_least[1], found.ideal[1], found.at_most[1]) == (100, 104, 108)
    assert found.ideal[0] == 0


def test_a_small_cache_forgets_what_was_used_longest_ago() -> None:
    requests = [ask([0, 1], 0), ask([4], 1), ask([0, 1], 2)]
    assert replay(requests, capacity=400).capacity.tolist() == [0, 0, 160]
    # 160 + 200 tokens, and the running request's own: the end of the older one must go.
    assert replay(requests, capacity=300).capacity.tolist() == [0, 0, 99]


def test_a_running_request_keeps_what_it_holds() -> None:
    requests = [ask([0, 1], 0, took=10), ask([4], 1), ask([0, 1], 2)]
    assert replay(requests, capacity=210).capacity.tolist() == [0, 0, 160]


def test_answers_take_room() -> None:
    requests = [ask([0, 1], 0), ask([2], 1, more=500.0), ask([0, 1], 2)]
    assert replay(requests, capacity=700).capacity[2] < 160
    assert replay([ask([0, 1], 0), ask([2], 1), ask([0, 1], 2)], capacity=700).capacity[2] == 160


def test_whole_blocks_are_forgotten() -> None:
    requests = [ask([0, 1], 0), ask([4], 1), ask([0, 1], 2)]
    found = replay(requests, block=16, capacity=304).capacity
    assert hits(found, np.array([160.0, 200.0, 160.0]), 16).tolist() == [0, 0, 96]


def test_the_last_token_is_always_computed() -> None:
    assert hits(np.array([160.0]), np.array([160.0])).tolist() == [159]
    assert hits(np.array([160.0]), np.array([160.0]), 16).tolist() == [144]
    assert hits(np.array([0.0]), np.array([0.0])).tolist() == [0]


def test_near_a_blocks_end_blocks_are_between_two() -> None:
    expected, least, most = block_hits(np.array([126.0]), np.array([4.0]), np.array([500.0]), 128)
    assert (least[0], most[0]) == (0, 128)
    assert 0 < expected[0] < 126


# ---- properties, on random traffic over a random tree of documents, questions and turns


@st.composite
def traffic(draw: st.DrawFn) -> tuple[np.ndarray, list[Request]]:
    """Segment tokens and requests: 0-3 documents, 4-11 one question each, chats that grow."""
    tokens = np.array(draw(st.lists(st.integers(1, 90), min_size=12, max_size=12)), dtype=float)
    requests, now = [], 0.0
    for _ in range(draw(st.integers(1, 25))):
        now += draw(st.floats(0.01, 2.0))
        document = draw(st.integers(0, 3))
        below = [4 + document * 2, 5 + document * 2]
        prompt = [document, below[0]] if draw(st.booleans()) else [document, below[0], below[1]]
        answer = [below[1]] if len(prompt) == 2 and draw(st.booleans()) else []
        took = draw(st.floats(0.01, 5.0))
        requests.append(Request(prompt, answer, now, now + took / 2, now + took, draw(st.sampled_from([0.0, 50.0]))))
    return tokens, requests


@settings(max_examples=examples(80), deadline=None)
@given(traffic(), st.sampled_from([1, 7, 16]), st.integers(1, 600))
def test_an_unlimited_cache_finds_no_less_than_blocks_and_these_no_less_than_a_limited_one(
    drawn: tuple[np.ndarray, list[Request]], block: int, capacity: int
) -> None:
    tokens, requests = drawn
    steps = np.minimum(tokens, 4.0)
    total = np.array([sum(tokens[s] for s in request.prompt) for request in requests])
    limited = Replay(tokens, steps, block, capacity).run(requests)
    unlimited = Replay(tokens, steps, block).run(requests)
    ideal, blocks = hits(limited.ideal, total), hits(limited.ideal, total, block)
    assert (ideal >= blocks).all()
    assert (blocks >= hits(limited.capacity, total, block)).all()
    assert (hits(unlimited.capacity, total, block) == blocks).all()
    for part in (limited.computed, limited.prompts, limited.at_least):
        assert (limited.ideal >= part).all()
    expected, least, most = block_hits(limited.ideal, np.full(len(total), 3.0), total, block)
    assert (least <= expected).all() and (expected <= most).all() and (expected <= limited.ideal + 1e-6).all()


@settings(max_examples=examples(60), deadline=None)
@given(traffic())
def test_the_ideal_is_the_longest_beginning_of_anything_before(drawn: tuple[np.ndarray, list[Request]]) -> None:
    tokens, requests = drawn
    found = Replay(tokens, np.zeros(len(tokens)), 1).run(requests).ideal
    for number, request in enumerate(requests):
        known = [list(r.prompt) for r in requests[:number]]
        known += [[*r.prompt, *r.answer] for r in requests[:number] if r.ended <= request.sent]
        best = max((sum(tokens[s] for s in common(request.prompt, path)) for path in known), default=0.0)
        assert math.isclose(found[number], best)


def common(one: list[int], other: list[int]) -> list[int]:
    length = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return list(one[:length])


# ---- beside the simulator's caches, which are other code


def engine_hits(cache: BlockCache | RadixCache, tokens: np.ndarray, requests: list[Request]) -> list[int]:
    """Cached tokens of each request, one after the other, as the simulated engine finds them."""
    found = []
    for number, request in enumerate(requests):
        prompt = b"".join(segment.to_bytes(2, "big") * 2 * int(tokens[segment]) for segment in request.prompt)
        generated = (1000 + number).to_bytes(2, "big") * 2 * int(request.more_tokens)
        generated += b"".join(s.to_bytes(2, "big") * 2 * int(tokens[s]) for s in request.answer)
        known = len(prompt) // 4
        lease = cache.open(prompt + generated, known)
        found.append(lease.cached)
        whole = len(prompt + generated) // 4
        assert cache.grow(lease, whole)
        cache.close(lease, whole)
    return found


def one_after_the_other(requests: list[Request]) -> list[Request]:
    return [
        Request(r.prompt, r.answer, float(i), i + 0.25, i + 0.5, 0.0 if r.answer else r.more_tokens)
        for i, r in enumerate(requests)
    ]


@settings(max_examples=examples(60), deadline=None)
@given(traffic(), st.sampled_from([1, 16]))
def test_an_engine_with_room_for_all_finds_exactly_what_blocks_allow(
    drawn: tuple[np.ndarray, list[Request]], block: int
) -> None:
    tokens, requests = drawn[0], one_after_the_other(drawn[1])
    total = np.array([sum(tokens[s] for s in request.prompt) for request in requests])
    allowed = hits(Replay(tokens, np.zeros(len(tokens)), block).run(requests).ideal, total, block)
    kind = RadixCache if block == 1 else BlockCache
    assert engine_hits(kind(100_000, block), tokens, requests) == allowed.astype(int).tolist()


@settings(max_examples=examples(60), deadline=None)
@given(traffic(), st.integers(400, 900))
def test_an_engine_with_little_room_finds_about_what_its_capacity_allows(
    drawn: tuple[np.ndarray, list[Request]], capacity: int
) -> None:
    tokens, requests = drawn[0], one_after_the_other(drawn[1])
    total = np.array([sum(tokens[s] for s in request.prompt) for request in requests])
    found = Replay(tokens, np.zeros(len(tokens)), 16, capacity).run(requests)
    limited, allowed = hits(found.capacity, total, 16).sum(), hits(found.ideal, total, 16).sum()
    got = sum(engine_hits(BlockCache(capacity, 16), tokens, requests))
    assert got <= allowed
    # Which block goes first differs in detail: by a few blocks a request at most.
    assert abs(got - limited) <= 0.15 * total.sum() + 64
