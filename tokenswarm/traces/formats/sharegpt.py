"""ShareGPT's conversations: every human turn is a request whose prompt is the conversation so far."""

from __future__ import annotations

from collections.abc import Iterator

from tokenswarm.traces import fields
from tokenswarm.traces.format import Container, Format, ReadRow, Row
from tokenswarm.traces.request import Message, TraceRequest


def requests_of(messages: list[Message], session: str) -> Iterator[TraceRequest]:
    """One request per user turn of a recorded conversation, with the recorded answer if there is one."""
    turn = 0
    for at, message in enumerate(messages):
        if message["role"] != "user" or (at + 1 < len(messages) and messages[at + 1]["role"] == "user"):
            continue
        turn += 1
        follows = messages[at + 1] if at + 1 < len(messages) else None
        answer = follows["content"] if follows and follows["role"] == "assistant" else None
        yield TraceRequest(
            messages=messages[: at + 1],
            session=session,
            turn=turn,
            expected=answer if isinstance(answer, str) else None,
        )


def _reader() -> ReadRow:
    seen = 0

    def read(row: Row) -> Iterator[TraceRequest]:
        nonlocal seen
        seen += 1
        messages = fields.messages(row["conversations"], "from", "value")
        if not any(message["role"] == "user" for message in messages):
            raise ValueError("this conversation has no message of a user")
        yield from requests_of(messages, fields.text(row, "id") or f"conversation-{seen}")

    return read


def _matches(row: Row) -> bool:
    turns = row.get("conversations")
    return isinstance(turns, list) and (not turns or (isinstance(turns[0], dict) and "from" in turns[0]))


FORMAT = Format("sharegpt", "ShareGPT", Container.JSON, _matches, _reader, "ShareGPT_V3_unfiltered_cleaned_split.json")
