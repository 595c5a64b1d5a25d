"""The Responses API, read as chat completions are; refusals by limits are kinds of their own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tokenswarm.client.events import read_event
from tokenswarm.client.refusals import error_kind
from tokenswarm.client.responses import as_chat_body, as_chat_event
from tokenswarm.client.stream import StreamDecoder


def stream(*events: dict[str, Any]) -> StreamDecoder:
    decoder = StreamDecoder()
    for number, event in enumerate(events):
        decoder.feed(number, f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
    decoder.finish(len(events))
    return decoder


def test_a_stream_of_responses_has_text_reasoning_usage_and_an_end() -> None:
    decoder = stream(
        {"type": "response.created", "response": {"id": "r", "status": "in_progress", "output": []}},
        {"type": "response.reasoning_summary_text.delta", "delta": "hm"},
        {"type": "response.output_text.delta", "delta": "Hel", "item_id": "m"},
        {"type": "response.output_text.delta", "delta": "lo", "item_id": "m"},
        {"type": "response.output_text.done", "text": "Hello"},
        {
            "type": "response.completed",
            "response": {
                "status": "completed",
                "usage": {
                    "input_tokens": 30,
                    "input_tokens_details": {"cached_tokens": 20},
                    "output_tokens": 3,
                    "output_tokens_details": {"reasoning_tokens": 1},
                },
            },
        },
    )
    assert [text for _, text in decoder.content] == ["Hel", "lo"] and decoder.reasoning == [(1, "hm")]
    assert decoder.token_stamps == [1, 2, 3] and decoder.finish_reason == "stop" and decoder.error is None
    usage = decoder.usage
    assert usage and (usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens, usage.reasoning_tokens) == (
        30,
        20,
        3,
        1,
    )


def test_a_response_that_failed_or_was_cut_says_so() -> None:
    failed = stream({"type": "response.failed", "response": {"error": {"code": "server_error", "message": "boom"}}})
    assert failed.error == ("engine_error", "boom")
    cut = stream({"type": "response.output_text.delta", "delta": "x"}, {"type": "response.incomplete", "response": {}})
    assert cut.finish_reason == "length"


def test_a_whole_response_is_read_too() -> None:
    body = json.dumps(
        {
            "object": "response",
            "status": "completed",
            "output": [
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
                {"type": "message", "content": [{"type": "output_text", "text": "Hello"}]},
            ],
            "usage": {"input_tokens": 3, "output_tokens": 2},
        }
    ).encode()
    event, _ = read_event(as_chat_body(body) or b"")
    assert event.choices and event.choices[0].message and event.choices[0].message.content == "Hello"
    assert event.choices[0].message.thought == "hm" and event.choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b'{"type": "response.x"',
        b'{"choices": []}',
        b'["response."]',
        b'{"type": 3, "x": "response."}',
        b'{"output": 3}',
        b'{"output": [1, {"content": 2}]}',
    ],
)
def test_what_is_none_is_left_as_it_is_and_nothing_is_raised(payload: bytes) -> None:
    assert as_chat_event(payload) is None
    as_chat_body(payload)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (
            {
                "error": {
                    "message": "You exceeded your current quota, please check your plan",
                    "code": "insufficient_quota",
                }
            },
            "quota_exceeded",
        ),
        (
            {"error": {"message": "Budget has been exceeded! Current cost: 3", "type": "budget_exceeded"}},
            "quota_exceeded",
        ),
        ({"error": {"message": "x", "code": 402}}, "quota_exceeded"),
        ({"error": {"message": "Rate limit reached for requests", "type": "tokens"}}, "rate_limited"),
        ({"error": {"message": "Provider returned error", "code": 429}}, "rate_limited"),
        ({"error": {"message": "out of memory"}}, "engine_error"),
        ({"message": ["odd"]}, "engine_error"),
        (3, "engine_error"),
    ],
)
def test_quota_and_rate_are_told_from_other_errors(body: Any, kind: str) -> None:
    assert error_kind(json.dumps(body).encode()) == kind
