"""Both prefix caches against brute force, and what they promise when memory is short."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tokenswarm.sim.block_cache import BlockCache
from tokenswarm.sim.radix_cache import RadixCache, common_prefix

QUICK = settings(max_examples=examples(80), deadline=None)
BIG = 10_000

# few different tokens and short texts: prefixes that collide, end within one another, and repeat
sequences = st.lists(st.text("ab", min_size=1, max_size=24), min_size=1, max_size=12)


def tokens(text: str) -> bytes:
    """One token a letter."""
    return b"".join(letter.encode() * 4 for letter in text)


def run_through(cache, text: str) -> int:
    """A sequence comes, is computed whole and goes; tokens that it found in the cache."""
    lease = cache.open(tokens(text), len(text))
    assert cache.grow(lease, len(text))
    cached = lease.cached
    cache.close(lease, len(text))
    return cached


def longest_shared(text: str, earlier: list[str]) -> int:
    """Brute force: leading letters that `text` has in common with any earlier one."""
    longest = 0
    for other in earlier:
        length = 0
        while length < min(len(text), len(other)) and text[length] == other[length]:
            length += 1
        longest = max(longest, length)
    return longest


@QUICK
@given(sequences, st.sampled_from([1, 2, 4]))
def test_block_cache_finds_whole_blocks_of_the_longest_shared_prefix(texts, block_size):
    cache = BlockCache(BIG, block_size)
    for position, text in enumerate(texts):
        # a block is shared if it was complete, and the last token is always computed
        earlier = [other[: len(other) // block_size * block_size] for other in texts[:position]]
        ideal = min(longest_shared(text, earlier), len(text) - 1) // block_size * block_size
        assert run_through(cache, text) == ideal


@QUICK
@given(sequences, st.sampled_from([1, 2, 4]))
def test_radix_cache_finds_the_longest_shared_prefix_to_the_page(texts, page_size):
    cache = RadixCache(BIG, page_size)
    for position, text in enumerate(texts):
        earlier = [other[: len(other) // page_size * page_size] for other in texts[:position]]
        ideal = min(longest_shared(text, earlier), (len(text) - 1)) // page_size * page_size
        assert run_through(cache, text) == ideal


def make(kind: str, capacity: int, enabled: bool = True):
    return BlockCache(capacity, 2, enabled) if kind == "block" else RadixCache(capacity, 1, enabled)


both = pytest.mark.parametrize("kind", ["block", "radix"])


@pytest.mark.parametrize("kind", ["block", "radix"])
@QUICK
@given(data=st.data())
def test_memory_is_never_exceeded_and_never_leaks(kind, data):
    capacity = 40
    cache = make(kind, capacity)
    leases: list[tuple[object, str, int]] = []
    for _ in range(data.draw(st.integers(1, 25))):
        if leases and data.draw(st.booleans()):
            lease, text, room = leases.pop(data.draw(st.integers(0, len(leases) - 1)))
            cache.close(lease, data.draw(st.integers(lease.cached, room)))
        else:
            text = data.draw(st.text("ab", min_size=1, max_size=24))
            lease = cache.open(tokens(text), len(text))
            length = data.draw(st.integers(1, len(text)))
            if cache.grow(lease, length):
                assert lease.room >= length
                room = max(length, lease.cached)
                cache.commit(lease, data.draw(st.integers(lease.cached, room)))
                leases.append((lease, text, room))
            else:
                cache.close(lease, 0)
        assert 0 <= cache.held() <= capacity
        # shared tokens count once, so what is held is at most the sum of what each lease has
        assert cache.held() <= sum(lease.room for lease, _, _ in leases)
        assert cache.held() >= max((lease.room for lease, _, _ in leases), default=0)
    for lease, _, room in leases:
        cache.close(lease, room)
    assert cache.held() == 0
    # all of the memory can be had again
    lease = cache.open(tokens("c" * capacity), capacity)
    assert cache.grow(lease, capacity)


@both
def test_growth_beyond_the_memory_is_refused_and_changes_nothing(kind):
    cache = make(kind, 10)
    lease = cache.open(tokens("a" * 20), 20)
    assert cache.grow(lease, 6)
    other = cache.open(tokens("b" * 20), 20)
    assert not cache.grow(other, 6)
    assert (other.room, cache.held()) == (0, 6)
    assert cache.grow(other, 4)


@both
def test_what_was_used_longest_ago_is_evicted_first(kind):
    cache = make(kind, 12)
    for text in ("aaaa", "bbbb", "cccc"):
        run_through(cache, text)
    lease = cache.open(tokens("aaaa"), 4)  # a is young again
    cache.close(lease, lease.cached)
    run_through(cache, "dddd")
    assert run_through(cache, "cccc") > 0
    assert run_through(cache, "aaaa") > 0
    assert run_through(cache, "bbbb") == 0


@both
def test_the_end_of_a_sequence_is_evicted_before_its_beginning(kind):
    cache = make(kind, 12)
    run_through(cache, "aaaabbbb")
    run_through(cache, "aaaacccc")
    assert run_through(cache, "xxxx") == 0
    lease = cache.open(tokens("aaaa!"), 5)
    assert lease.cached == 4


@both
def test_what_a_running_sequence_holds_is_never_evicted(kind):
    cache = make(kind, 12)
    run_through(cache, "aaaaaa")
    lease = cache.open(tokens("aaaaaab"), 7)
    assert cache.grow(lease, 7)
    other = cache.open(tokens("cccccc"), 6)
    assert not cache.grow(other, 6)
    assert cache.open(tokens("aaaaaab"), 7).cached == 6


@both
def test_a_running_sequence_shares_what_it_has_computed(kind):
    cache = make(kind, 40)
    first = cache.open(tokens("abababab"), 8)
    cache.grow(first, 8)
    cache.commit(first, 4)
    assert cache.open(tokens("abababab"), 8).cached == 4


@both
def test_copies_computed_side_by_side_are_kept_once(kind):
    cache = make(kind, 40)
    first, second = (cache.open(tokens("abababab"), 8) for _ in range(2))
    for lease in (first, second):
        cache.grow(lease, 8)
        cache.commit(lease, 8)
    cache.close(first, 8)
    cache.close(second, 8)
    assert cache.held() == 0
    assert cache.open(tokens("ababababx"), 9).cached == 8


@both
def test_a_cache_that_is_switched_off_finds_nothing(kind):
    cache = make(kind, 40, enabled=False)
    assert [run_through(cache, "abababab") for _ in range(2)] == [0, 0]
    assert cache.held() == 0


@both
def test_flush_forgets_everything(kind):
    cache = make(kind, 40)
    run_through(cache, "abababab")
    cache.flush()
    assert run_through(cache, "abababab") == 0


def test_radix_cache_stays_small_and_right_under_endless_change():
    cache = RadixCache(500)
    for number in range(5000):
        run_through(cache, f"shared prefix {number:06d}" * 2)
    assert len(cache._leaves) <= 2000
    assert run_through(cache, "shared prefix 004999" * 2) == 39


@QUICK
@given(st.binary(max_size=40), st.binary(max_size=40), st.integers(0, 5))
def test_common_prefix_agrees_with_a_loop(label, data, start):
    start = min(start, len(data))
    length = 0
    while length < min(len(label), len(data) - start) and label[length] == data[start + length]:
        length += 1
    assert common_prefix(label, data, start) == length
