"""MLPerf Endpoints' agentic rows: one message per row; each assistant message ends the request before it."""

from __future__ import annotations

from collections.abc import Iterator

from tokenswarm.traces import fields
from tokenswarm.traces.format import Container, Format, ReadRow, Row
from tokenswarm.traces.request import Message, TraceRequest
from tokenswarm.traces.turn_numbers import TurnCounter


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
        message |= {name: row[name] for name in ("tool_calls", "tool_call_id") if row.get(name) is not None}
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
        history.extend(_results(row) or [message])

    return read


def _results(row: Row) -> list[Message]:
    """The results of several tools, one message each, if the row has a list of them."""
    results = row.get("tool_results")
    if not results:
        return []
    if not isinstance(results, list) or not all(isinstance(each, dict) for each in results):
        raise ValueError("tool_results is not a list of objects")
    return [
        {"role": "tool", "content": each.get("content")}
        | {name: each[name] for name in ("tool_call_id",) if each.get(name) is not None}
        for each in results
    ]


FORMAT = Format(
    "agentic",
    "MLPerf Endpoints agentic",
    Container.JSON,
    lambda row: "conversation_id" in row and "role" in row and "turn" in row,
    _reader,
    "MLPerf Endpoints",
)
