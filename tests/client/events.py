"""Events as the engines write them, for decoder tests: JSON in, bytes of a stream out."""

from __future__ import annotations

import json
from collections.abc import Iterable

from tokenswarm.client.stream import StreamDecoder


def delta(**fields: object) -> dict[str, object]:
    """A chat chunk whose first choice has this delta."""
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": fields, "finish_reason": None}]}


def finish(reason: str = "stop", **fields: object) -> dict[str, object]:
    """A chat chunk with a finish_reason (and, with fields, the last text)."""
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": reason}]}


def usage(prompt: int, completion: int, **details: object) -> dict[str, object]:
    """The event with `usage` that both engines send behind the last choice."""
    return {"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": completion, **details}}


ROLE = delta(role="assistant", content="")


def sse(payload: object, line_end: str = "\n") -> bytes:
    """One event; a str is written as it is, anything else as JSON."""
    text = payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False)
    return f"data: {text}{line_end}{line_end}".encode()


def stream(*payloads: object, done: bool = True) -> bytes:
    """The body of a whole stream."""
    return b"".join(sse(payload) for payload in payloads) + (sse("[DONE]") if done else b"")


def decode(*pieces: bytes, stamps: Iterable[int] | None = None, ended: bool = True) -> StreamDecoder:
    """Decode pieces that arrived at the stamps 1, 2, 3, ... (or the given ones)."""
    decoder = StreamDecoder()
    stamp = 0
    for stamp, piece in zip(stamps or range(1, len(pieces) + 1), pieces, strict=True):
        decoder.feed(stamp, piece)
    if ended:
        decoder.finish(stamp)
    return decoder


def text_of(pieces: list[tuple[int, str]]) -> str:
    """The text of one channel."""
    return "".join(piece for _, piece in pieces)
