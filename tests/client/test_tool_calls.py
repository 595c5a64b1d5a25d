"""Calls of tools, put together from a stream's pieces or taken from a whole body."""

from __future__ import annotations

import json

import pytest

from tokenswarm.base.tool_call import ToolCall
from tokenswarm.client.stream import StreamDecoder


def decoded(*deltas: dict) -> StreamDecoder:
    stream = StreamDecoder()
    for stamp, delta in enumerate(deltas):
        event = {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        stream.feed(stamp, b"data: " + json.dumps(event).encode() + b"\n\n")
    return stream


def piece(index=None, name=None, arguments=None, call_id=None) -> dict:
    call = {"function": {"name": name, "arguments": arguments}, "index": index, "id": call_id}
    return {key: value for key, value in call.items() if value is not None}


def delta(*pieces: dict) -> dict:
    return {"tool_calls": list(pieces)}


def test_the_pieces_of_a_call_are_one_call_and_each_is_a_token() -> None:
    stream = decoded(
        {"role": "assistant", "content": ""},
        delta(piece(0, "read", "", "c1")),
        *(delta(piece(0, None, text)) for text in ("{a", "bc", "de}")),
    )
    assert stream.calls.whole() == (ToolCall("read", "{abcde}", "c1"),)
    assert stream.token_stamps == [1, 2, 3, 4]
    assert "".join(text for _, text in stream.content) == "read{abcde}"


@pytest.mark.parametrize(
    "deltas",
    [
        (delta(piece(0, "a", "{}")), delta(piece(1, "b", "[")), delta(piece(1, None, "]"))),
        (delta(piece(0, "a", "{}"), piece(1, "b", "[]")),),
        (delta(piece(None, "a", "{}")), delta(piece(None, "b", "[")), delta(piece(None, None, "]"))),
        (delta(piece(1, "b", "[]")), delta(piece(0, "a", "{}"))),
    ],
    ids=["by index", "in one event", "without index", "out of order"],
)
def test_several_calls_are_told_apart(deltas) -> None:
    assert [call[:2] for call in decoded(*deltas).calls.whole()] == [("a", "{}"), ("b", "[]")]


def test_a_name_that_is_repeated_with_each_piece_is_the_name_once() -> None:
    deltas = [delta(piece(0, "read", part)) for part in ("{", '"a"', ":1}")]
    assert decoded(*deltas).calls.whole() == (ToolCall("read", '{"a":1}'),)


def test_an_answer_without_calls_has_none() -> None:
    assert decoded({"content": "words", "tool_calls": None}, {"content": "more", "tool_calls": []}).calls.whole() == ()
