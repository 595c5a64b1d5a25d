"""Reasoning from a parser's channel and between raw tags, however these are cut: the same figures for the same text."""

from __future__ import annotations

import msgspec
import pytest

from tokenswarm.client.answer import Answer
from tokenswarm.client.decode import Decoder
from tokenswarm.client.http import ResponseReader
from tokenswarm.client.stream import unclosed_as_reasoning

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
OPEN, CLOSE = "<think>", "</think>"
FINISH = {"choices": [{"delta": {}, "finish_reason": "stop"}]}
USAGE = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 40}}


def decoded(events: list[tuple[int, dict]], last: int) -> Answer:
    """The answer of events that each arrive at their time."""
    reader = ResponseReader()
    reader.feed(0, HEAD)
    stamps = [0]
    for at, event in [*events, (last, FINISH), (last, USAGE)]:
        reader.feed(len(stamps), b"data: " + msgspec.json.encode(event) + b"\n\n")
        stamps.append(at * 1_000_000)
    reader.feed(len(stamps), b"data: [DONE]\n\n")
    stamps.append(last * 1_000_000)
    reader.eof()
    decoder = Decoder(reader, stamps, streamed=True)
    decoder.advance()
    return decoder.conclude(Answer(), 0, None, last * 1_000_000)


def both_forms(thought: str, answer: str, size: int, *, opened: bool = True) -> tuple[Answer, Answer]:
    """(by a parser, raw): the model's text in pieces of that many characters, the n-th at n ms."""
    text = (OPEN if opened else "") + thought + CLOSE + answer
    begin = len(OPEN) if opened else 0
    channels = [None] * begin + ["reasoning"] * len(thought) + [None] * len(CLOSE) + ["content"] * len(answer)
    parser, raw = [], []
    for at, start in enumerate(range(0, len(text), size), 1):
        piece = text[start : start + size]
        delta: dict[str, str] = {}
        for letter, channel in zip(piece, channels[start : start + size], strict=True):
            if channel is not None:
                delta[channel] = delta.get(channel, "") + letter
        if delta:
            parser.append((at, {"choices": [{"delta": delta}]}))
        raw.append((at, {"choices": [{"delta": {"content": piece}}]}))
    last = len(raw) + 1
    return decoded(parser, last), decoded(raw, last)


def figures(answer: Answer) -> dict[str, object]:
    return {
        "text": answer.text,
        "reasoning": answer.reasoning,
        "ttft": answer.ttft_ms,
        "ttfo": answer.ttfo_ms,
        "last": answer.last_token_ms,
        "e2e": answer.e2e_ms,
        "gaps": answer.token_gaps_ms,
        "chunks": answer.chunks,
        "tokens": answer.completion_tokens,
    }


@pytest.mark.parametrize("opened", [True, False], ids=["tag in the answer", "tag in the prompt"])
@pytest.mark.parametrize("size", range(1, 24))
def test_both_forms_have_the_same_figures_however_tags_are_cut(size: int, opened: bool) -> None:
    parser, raw = both_forms("Six times seven, so.", "It is 42.", size, opened=opened)
    assert parser.reasoning == "Six times seven, so." and parser.text == "It is 42."
    assert figures(raw) == figures(parser)
    if size < 8:  # a larger piece holds the end of one and the beginning of the other: an event of both
        assert raw.reasoning_tokens == parser.reasoning_tokens


def test_an_event_that_is_nothing_but_a_tag_is_no_first_token() -> None:
    _, raw = both_forms("why", "42", 7)
    assert raw.ttft_ms == 2 and raw.chunks == 2


def test_a_text_without_tags_keeps_every_event() -> None:
    events = [(at, {"choices": [{"delta": {"content": piece}}]}) for at, piece in enumerate(["a <", "think", "> b"], 1)]
    found = decoded(events, 4)
    assert (found.text, found.chunks, found.ttft_ms) == ("a <think> b", 3, 1)


def test_reasoning_that_was_cut_before_its_end_is_none_of_the_answer_where_the_model_is_known_to_reason() -> None:
    events = [(at, {"choices": [{"delta": {"content": piece}}]}) for at, piece in enumerate(["why", " and", " so"], 1)]
    found = decoded(events, 4)
    unclosed_as_reasoning(found)
    assert (found.text, found.reasoning, found.ttfo_ms) == ("", "why and so", None)
    assert found.reasoning_tokens == found.completion_tokens == 40 and found.ttft_ms == 1


def test_an_answer_behind_a_closing_tag_stays_one() -> None:
    _, raw = both_forms("why", "42", 3)
    unclosed_as_reasoning(raw)
    assert (raw.text, raw.reasoning) == ("42", "why")
