"""Reasoning tokens mean the same on an engine that counts them and on one that does not."""

from __future__ import annotations

import pytest

from tokenswarm.client.answer import Answer
from tokenswarm.client.decode import Decoder
from tokenswarm.client.http import ResponseReader

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def answered(*events: bytes) -> Answer:
    """The answer of a stream whose events arrive one after the other."""
    reader = ResponseReader()
    for index, data in enumerate([HEAD, *(b"data: " + event + b"\n\n" for event in events), b"data: [DONE]\n\n"]):
        reader.feed(index, data)
    reader.eof()
    decoder = Decoder(reader, list(range(len(events) + 2)), streamed=True)
    decoder.advance()
    return decoder.conclude(Answer(), 0, None, len(events) + 1)


def delta(channel: str, text: str) -> bytes:
    return b'{"choices":[{"delta":{"%b":"%b"}}]}' % (channel.encode(), text.encode())


def usage(extra: str = "") -> bytes:
    return b'{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":40%b}}' % extra.encode()


@pytest.mark.parametrize(
    "thoughts",
    [
        [delta("reasoning", "a"), delta("reasoning", "b"), delta("reasoning", "c")],
        [delta("reasoning_content", "a"), delta("reasoning_content", "b"), delta("reasoning_content", "c")],
        [delta("content", "<think>a"), delta("content", "b"), delta("content", "c</think>")],
    ],
)
def test_without_a_count_the_share_of_events_with_reasoning_tells(thoughts):
    found = answered(*thoughts, delta("content", "d"), usage())
    assert (found.chunks, found.reasoning_tokens, found.reasoning_source) == (4, 30, "chunks")


def test_the_engines_own_count_goes_first():
    found = answered(delta("reasoning_content", "a"), delta("content", "b"), usage(',"reasoning_tokens":17'))
    assert (found.reasoning_tokens, found.reasoning_source) == (17, "usage")


def test_an_answer_without_reasoning_has_no_reasoning_tokens_to_estimate():
    found = answered(delta("content", "a"), usage())
    assert (found.reasoning_tokens, found.reasoning_source) == (None, None)
