"""WildChat's conversations, and others of messages under `conversation` or `conversations`."""

from __future__ import annotations

from collections.abc import Iterator

from tokenswarm.traces import fields
from tokenswarm.traces.format import Container, Format, ReadRow, Row
from tokenswarm.traces.formats.sharegpt import requests_of
from tokenswarm.traces.request import TraceRequest

_NAMES = ("conversation", "conversations")
_IDENTITIES = ("conversation_hash", "conversation_id", "id")


def _field(row: Row) -> str | None:
    for name in _NAMES:
        turns = row.get(name)
        if isinstance(turns, list) and turns and isinstance(turns[0], dict) and "role" in turns[0]:
            return name
    return None


def _reader() -> ReadRow:
    seen = 0

    def read(row: Row) -> Iterator[TraceRequest]:
        nonlocal seen
        seen += 1
        name = _field(row)
        if name is None:
            raise ValueError("it has no conversation of messages with a role each")
        # Each message of the data set has some 20 further keys, which are no part of a request.
        wanted = [
            {key: part for key, part in each.items() if key in ("role", "content", "tool_calls")}
            for each in row[name]
            if isinstance(each, dict)
        ]
        identity = next((fields.text(row, each) for each in _IDENTITIES if row.get(each)), None)
        requests = list(requests_of(fields.messages(wanted), identity or f"conversation-{seen}"))
        if requests and len(requests) == 1:
            requests[0].time_s = fields.seconds(row, "timestamp")
        yield from requests

    return read


FORMAT = Format(
    "wildchat", "WildChat", Container.JSON, lambda row: _field(row) is not None, _reader, "allenai/WildChat"
)
