"""Qwen-Bailian's anonymous traces: times in seconds, blocks of 16 tokens, conversations linked by their parents."""

from __future__ import annotations

from collections.abc import Iterator

from tokenswarm.traces import fields
from tokenswarm.traces.format import Container, Format, ReadRow, Row
from tokenswarm.traces.request import TraceRequest

BLOCK_TOKENS = 16


def _reader() -> ReadRow:
    roots: dict[str, str] = {}

    def read(row: Row) -> Iterator[TraceRequest]:
        chat, parent = fields.text(row, "chat_id"), fields.text(row, "parent_chat_id")
        if chat is None:
            raise ValueError("chat_id is missing")
        # The parent may be missing in the file; the conversation then begins here.
        roots[chat] = roots.get(parent, chat) if parent is not None else chat
        length, ids = fields.tokens(row, "input_length"), fields.hash_ids(row)
        fields.check_blocks(ids, length, BLOCK_TOKENS)
        yield TraceRequest(
            time_s=fields.seconds(row, "timestamp"),
            input_tokens=length,
            output_tokens=fields.tokens(row, "output_length"),
            hash_ids=ids,
            block_tokens=BLOCK_TOKENS if ids is not None else None,
            session=roots[chat],
            turn=fields.tokens(row, "turn"),
        )

    return read


FORMAT = Format(
    "bailian",
    "Qwen-Bailian",
    Container.JSON,
    lambda row: "chat_id" in row and "parent_chat_id" in row,
    _reader,
    "alibaba-edu/qwen-bailian-usagetraces-anon",
)
