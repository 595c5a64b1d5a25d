"""WildChat's conversations, and other rows with messages under `conversation` or `conversations`, including SGLang's
without roles."""

from __future__ import annotations

from collections.abc import Iterator

from tokenswarm.traces import fields
from tokenswarm.traces.format import Container, Format, ReadRow, Row
from tokenswarm.traces.formats.sharegpt import requests_of
from tokenswarm.traces.request import Message, TraceRequest

_NAMES = ("conversation", "conversations")
_IDENTITIES = ("conversation_hash", "conversation_id", "id")


def _field(row: Row) -> str | None:
    for name in _NAMES:
        turns = row.get(name)
        if isinstance(turns, list) and turns and isinstance(turns[0], dict) and _message(turns[0], 0) is not None:
            return name
    return None


def _message(turn: object, place: int) -> Message | None:
    """The message of a turn, without the data set's other fields. If there are no roles, even positions are the user's.
    None if it is not a message."""
    if not isinstance(turn, dict) or "from" in turn:
        return None
    text = turn.get("content", turn.get("value"))
    if "role" not in turn and not isinstance(text, str):
        return None
    role = turn.get("role", "assistant" if place % 2 else "user")
    calls = {"tool_calls": turn["tool_calls"]} if "tool_calls" in turn else {}
    return {"role": role, "content": text, **calls}


def _reader() -> ReadRow:
    seen = 0

    def read(row: Row) -> Iterator[TraceRequest]:
        nonlocal seen
        seen += 1
        name = _field(row)
        if name is None:
            raise ValueError("it has no conversation of messages with a role each")
        wanted = [message for place, each in enumerate(row[name]) if (message := _message(each, place)) is not None]
        identity = next((fields.text(row, each) for each in _IDENTITIES if row.get(each)), None)
        requests = list(requests_of(fields.messages(wanted), identity or f"conversation-{seen}"))
        if requests and len(requests) == 1:
            requests[0].time_s = fields.seconds(row, "timestamp")
        yield from requests

    return read


FORMAT = Format(
    "wildchat", "WildChat", Container.JSON, lambda row: _field(row) is not None, _reader, "allenai/WildChat"
)
