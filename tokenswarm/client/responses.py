"""Translates events and bodies of the Responses API into those of chat completions, which the rest of the client reads.
Pure."""

from __future__ import annotations

from typing import Any

import msgspec

PREFIX = b"response."
_ANSWERS = frozenset({"response.output_text.delta", "response.refusal.delta", "response.function_call_arguments.delta"})
_THOUGHTS = frozenset({"response.reasoning_text.delta", "response.reasoning_summary_text.delta"})
_ENDS = {"response.completed": "stop", "response.incomplete": "length"}
_FAILURES = frozenset({"response.failed", "error"})


class Response(msgspec.Struct, gc=False):
    """A response, complete or in the middle of its stream; fields can have any shape."""

    usage: Any = None
    error: Any = None
    output: Any = None
    status: Any = None
    incomplete_details: Any = None


class ResponseEvent(msgspec.Struct, gc=False):
    """One event of a stream."""

    type: str
    delta: Any = None
    response: Response | None = None


_decode_event = msgspec.json.Decoder(ResponseEvent).decode


def as_chat_event(payload: bytes) -> bytes | None:
    """The chat completion chunk equivalent to this stream event; None if it is not such an event. One that carries
    neither text nor an end becomes a chunk without choices."""
    if b'"response.' not in payload:
        return None
    try:
        event = _decode_event(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if event.type in _ANSWERS or event.type in _THOUGHTS:
        name = "content" if event.type in _ANSWERS else "reasoning"
        return msgspec.json.encode({"choices": [{"delta": {name: event.delta}}]})
    if event.type in _FAILURES:
        return msgspec.json.encode({"error": (event.response and event.response.error) or event.type})
    if not event.type.startswith("response."):
        return None
    finish = _ENDS.get(event.type)
    usage = event.response.usage if event.response else None
    return msgspec.json.encode({"choices": [{"delta": {}, "finish_reason": finish}] if finish else [], "usage": usage})


def as_chat_body(body: bytes) -> bytes | None:
    """The chat completion equivalent to this complete response; None if it is not a response."""
    if b'"output"' not in body or b'"choices"' in body:
        return None
    try:
        response = msgspec.json.decode(body, type=Response)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(response.output, list):
        return None
    items = [item for item in response.output if isinstance(item, dict)]
    text = [part for item in items if item.get("type") == "message" for part in _parts(item.get("content"))]
    thoughts = [
        part
        for item in items
        if item.get("type") == "reasoning"
        for part in (*_parts(item.get("summary")), *_parts(item.get("content")))
    ]
    finish = "length" if response.status == "incomplete" else "stop"
    message = {"content": "".join(text), "reasoning": "".join(thoughts)}
    return msgspec.json.encode(
        {"choices": [{"message": message, "finish_reason": finish}], "usage": response.usage, "error": response.error}
    )


def _parts(content: object) -> list[str]:
    parts = content if isinstance(content, list) else []
    return [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]
