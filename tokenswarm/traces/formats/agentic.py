"""MLPerf Endpoints' agentic rows: a row a message; each assistant's message ends the request before it."""

from __future__ import annotations

from collections.abc import Iterator

from tokenswarm.traces import fields
from tokenswarm.traces.format import Container, Format, ReadRow, Row
from tokenswarm.traces.request import Message, TraceRequest
from tokenswarm.traces.turns import TurnCounter


def _reader() -> ReadRow:
    histories: dict[str, list[Message]] = {}
    turns = TurnCounter()
    delays: dict[str, float] = {}

    def read(row: Row) -> Iterator[TraceRequest]:
        session, role = fields.text(row, "conversation_id"), fields.text(row, "role")
        if session is None or role is None:
            raise ValueError("conversation_id or role is missing")
        history = histories.setdefault(session, [])
        if not history and row.get("system"):
            history.append({"role": "system", "content": row["system"]})
        delay_s = fields.seconds(row, "delay_seconds")
        if delay_s is not None:
            delays[session] = delays.get(session, 0.0) + delay_s
        message: Message = {"role": role, "content": row.get("content")}
        if row.get("tool_calls") is not None:
            message["tool_calls"] = row["tool_calls"]
        if role == "assistant" and any(each["role"] != "system" for each in history):
            answer = message["content"]
            yield TraceRequest(
                messages=list(history),
                session=session,
                turn=turns.next_of(session),
                delay_s=delays.pop(session, None),
                expected=answer if isinstance(answer, str) else None,
                body={"tools": row["tools"]} if row.get("tools") else {},
            )
        history.append(message)

    return read


FORMAT = Format(
    "agentic",
    "MLPerf Endpoints agentic",
    Container.JSON,
    lambda row: "conversation_id" in row and "role" in row and "turn" in row,
    _reader,
    "MLPerf Endpoints",
)
