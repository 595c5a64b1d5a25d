"""The prefix tree agrees with cases made by hand, and with comparing every pair of prompts."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from tokenswarm.analysis.cache.prefix_tree import build

from tests.analysis.cache.cache_cases import Message, assistant, prompts_of, user
from tests.examples import examples
from tokenswarm.contract.pieces import piece_ends


def segments(requests: list[tuple[list[Message], str]]) -> list[list[tuple[int, int]]]:
    """Of each request: its prompt's segments, as (segment, characters)."""
    tree = build(prompts_of(requests))
    return [[(s, int(tree.chars[s])) for s in tree.path(int(node))] for node in tree.prompt]


def shared_chars(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> int:
    """Characters of the segments that two paths begin with alike."""
    total = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        total += a[1]
    return total


def expected_shared(one: list[Message], other: list[Message]) -> int:
    """The same from the texts: whole messages, then whole pieces of the first that differs."""
    total = 0
    for a, b in zip(one, other, strict=False):
        if a == b:
            total += len(a["content"])
            continue
        if a["role"] == b["role"]:
            x, y = a["content"], b["content"]
            ends = zip(piece_ends(len(x)), piece_ends(len(y)), strict=False)
            total += max((e for e, f in ends if e == f and x[:e] == y[:e]), default=0)
        break
    return total


def test_a_shared_message_is_one_segment() -> None:
    one, two = segments([([user("d" * 3000), user("a?")], ""), ([user("d" * 3000), user("b?")], "")])
    assert [chars for _, chars in one] == [3000, 2]
    assert shared_chars(one, two) == 3000


def test_messages_part_at_a_piece() -> None:
    one, two = segments([([user("d" * 100 + "x" * 50)], ""), ([user("d" * 100 + "y" * 200)], "")])
    assert [chars for _, chars in one] == [64, 86]
    assert shared_chars(one, two) == 64


def test_a_boundary_between_messages_counts() -> None:
    one, two = segments([([user("a" * 40), user("b" * 40)], ""), ([user("a" * 40 + "b" * 40)], "")])
    assert shared_chars(one, two) == 32


def test_a_message_that_ends_where_a_piece_of_another_ends_is_its_beginning() -> None:
    one, two = segments([([user("d" * 64)], ""), ([user("d" * 100)], "")])
    assert shared_chars(one, two) == 64


def test_an_answer_is_the_beginning_of_the_next_turn() -> None:
    tree = build(prompts_of([([user("q")], "a" * 30), ([user("q"), assistant("a" * 30), user("r")], "")]))
    assert tree.path(int(tree.full[0])) == tree.path(int(tree.prompt[1]))[:-1]
    assert tree.path(int(tree.full[0]), down_from=int(tree.prompt[0])) == tree.path(int(tree.full[0]))[1:]


def test_the_end_of_a_message_is_marked() -> None:
    tree = build(prompts_of([([user("d" * 50 + "x" * 50)], ""), ([user("d" * 50 + "y" * 50)], "")]))
    assert [bool(tree.ends[s]) for s in tree.path(int(tree.prompt[0]))] == [False, True]


def test_nothing_sent_is_an_empty_tree() -> None:
    tree = build(prompts_of([]))
    assert len(tree.chars) == 0 and tree.path(0) == []
    assert build(prompts_of([([], "")])).path(0) == []


texts = st.builds(
    lambda stem, tail: "s" * stem + tail, st.sampled_from([0, 10, 16, 40, 300]), st.text("ab", max_size=40)
)
messages = st.builds(lambda role, text: {"role": role, "content": text}, st.sampled_from(["user", "assistant"]), texts)


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.lists(messages, min_size=1, max_size=4), min_size=2, max_size=8))
def test_any_two_requests_share_what_their_texts_share(conversations: list[list[Message]]) -> None:
    paths = segments([(conversation, "") for conversation in conversations])
    for one, path in zip(conversations, paths, strict=True):
        assert sum(chars for _, chars in path) == sum(len(m["content"]) for m in one)
        for other, other_path in zip(conversations, paths, strict=True):
            assert shared_chars(path, other_path) == expected_shared(one, other)
