"""Weka's cc-traces: one agent's session a row, its requests with block ids, sub-agents in between."""

from __future__ import annotations

from collections.abc import Iterator

from tokenswarm.traces import fields
from tokenswarm.traces.format import Container, Format, Row
from tokenswarm.traces.request import TraceRequest

_MAX_DEPTH = 20
"""Sub-agents of sub-agents."""


def _read(row: Row) -> Iterator[TraceRequest]:
    session = fields.text(row, "id")
    block = fields.tokens(row, "block_size")
    if session is None or not block:
        raise ValueError("it has no id, or no block_size")
    scope = "" if row.get("hash_id_scope") == "global" else session
    for request in _requests(row.get("requests"), session, block, scope, 0):
        request.root = session
        yield request


def _requests(requests: object, session: str, block: int, scope: str, depth: int) -> Iterator[TraceRequest]:
    if not isinstance(requests, list) or depth > _MAX_DEPTH:
        raise ValueError("its requests are not a list, or nested too deeply")
    turn, ended_s = 0, None
    for request in requests:
        if not isinstance(request, dict):
            raise ValueError("a request is not an object")
        begins_s = fields.seconds(request, "t")
        if request.get("type") == "subagent":
            agent = fields.text(request, "agent_id") or "subagent"
            yield from _requests(request.get("requests"), f"{session}/{agent}", block, scope, depth + 1)
            took_s = fields.seconds(request, "duration_ms", 1000)
        else:
            turn += 1
            length, ids = fields.tokens(request, "in"), fields.hash_ids(request)
            fields.check_blocks(ids, length, block)
            delay_s = max(0.0, begins_s - ended_s) if begins_s is not None and ended_s is not None else None
            yield TraceRequest(
                input_tokens=length,
                output_tokens=fields.tokens(request, "out"),
                hash_ids=ids,
                block_tokens=block if ids is not None else None,
                scope=scope,
                session=session,
                turn=turn,
                delay_s=delay_s,
            )
            took_s = fields.seconds(request, "api_time")
        ended_s = begins_s + took_s if begins_s is not None and took_s is not None else None


FORMAT = Format(
    "weka",
    "Weka cc-traces",
    Container.JSON,
    lambda row: isinstance(row.get("requests"), list) and "block_size" in row,
    lambda: _read,
    "semianalysisai/cc-traces-weka",
)
