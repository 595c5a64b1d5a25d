"""Mooncake's traces, and the extended rows of replay tools in the same style: times in ms, blocks of 512 tokens."""

from __future__ import annotations

from collections.abc import Iterator

from tokenswarm.traces import fields
from tokenswarm.traces.format import Container, Format, ReadRow, Row
from tokenswarm.traces.request import TraceRequest
from tokenswarm.traces.turn_numbers import TurnCounter

BLOCK_TOKENS = 512
_PER_S = 1000
_PROMPTS = ("input_length", "text_input", "messages", "payload")
_OF_REPLAY = frozenset({"timestamp", "delay", "session_id", "output_length", "hash_ids"})


def _matches(row: Row) -> bool:
    if "chat_id" in row or "conversation_id" in row:
        return False
    return any(name in row for name in ("input_length", "text_input", "payload")) or (
        "messages" in row and bool(_OF_REPLAY & row.keys())
    )


def _reader() -> ReadRow:
    turns = TurnCounter()

    def read(row: Row) -> Iterator[TraceRequest]:
        prompts = [name for name in _PROMPTS if row.get(name) is not None]
        if len(prompts) != 1:
            raise ValueError(f"it has {' and '.join(prompts) or 'none'} of {', '.join(_PROMPTS)}, not one of them")
        body = fields.table(row, "extra")
        messages = None
        if prompts == ["messages"]:
            messages = fields.messages(row["messages"])
            if row.get("tools") is not None:
                body = {"tools": row["tools"], **body}
        elif prompts == ["text_input"]:
            messages = [{"role": "user", "content": _text_of(row)}]
        elif prompts == ["payload"]:
            payload = dict(fields.table(row, "payload"))
            messages = fields.messages(payload.pop("messages", None))
            body = {**payload, **body}
        length, answer = fields.tokens(row, "input_length"), fields.tokens(row, "output_length")
        ids = fields.hash_ids(row)
        fields.check_blocks(ids, length, BLOCK_TOKENS)
        session = fields.text(row, "session_id")
        yield TraceRequest(
            time_s=fields.seconds(row, "timestamp", _PER_S),
            input_tokens=length,
            output_tokens=fields.answer_tokens(body) if answer is None else answer,
            hash_ids=ids,
            block_tokens=BLOCK_TOKENS if ids is not None else None,
            messages=messages,
            session=session,
            turn=turns.next_of(session),
            delay_s=fields.seconds(row, "delay", _PER_S),
            body=body,
        )

    return read


def _text_of(row: Row) -> str:
    text = row["text_input"]
    if not isinstance(text, str):
        raise ValueError("text_input is not a text")
    return text


FORMAT = Format(
    "mooncake", "Mooncake", Container.JSON, _matches, _reader, "kvcache-ai/Mooncake, FAST25-release/README.md"
)
