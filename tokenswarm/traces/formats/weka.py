"""Weka's cc-traces: one agent session per row, with block IDs for its requests and with sub-agents in between."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from tokenswarm.base.presence import present
from tokenswarm.traces import fields
from tokenswarm.traces.format import Container, Format, Row
from tokenswarm.traces.request import TraceRequest

_MAX_DEPTH = 20
"""How deep sub-agents may be nested."""


_ASYNC = "async_launched"
"""Status of a sub-agent that nothing waits for."""


@dataclass(frozen=True, slots=True)
class _Agent:
    """The agent whose requests are read: the session's own, or one started by another."""

    session: str
    block: int
    scope: str
    root: str
    started_by: str | None = None
    awaited: bool = True
    depth: int = 0


def _read(row: Row) -> Iterator[TraceRequest]:
    session = fields.text(row, "id")
    block = fields.tokens(row, "block_size")
    if session is None or not block:
        raise ValueError("it has no id, or no block_size")
    scope = "" if row.get("hash_id_scope") == "global" else session
    yield from _requests(row.get("requests"), _Agent(session, block, scope, session), None, 0.0)


def _requests(requests: object, agent: _Agent, ended_s: float | None, clock_s: float) -> Iterator[TraceRequest]:
    """ended_s: end of what precedes these requests; clock_s: offset added to their times. Both in seconds on the
    session's clock."""
    if not isinstance(requests, list) or agent.depth > _MAX_DEPTH:
        raise ValueError("its requests are not a list, or nested too deeply")
    turn, joined_s = 0, ended_s
    for request in requests:
        if not isinstance(request, dict):
            raise ValueError("a request is not an object")
        begins_s = fields.seconds(request, "t")
        begins_s = None if begins_s is None else begins_s + clock_s
        if request.get("type") == "subagent":
            awaited = request.get("status") != _ASYNC
            yield from _sub_agent(request, agent, awaited, begins_s, ended_s)
            took_s = fields.seconds(request, "duration_ms", 1000)
            if awaited and begins_s is not None and took_s is not None:  # several run in parallel
                joined_s = max(begins_s + took_s, -inf if joined_s is None else joined_s)
            continue
        turn += 1
        length, ids = fields.tokens(request, "in"), fields.hash_ids(request)
        fields.check_blocks(ids, length, agent.block)
        yield TraceRequest(
            input_tokens=length,
            output_tokens=fields.tokens(request, "out"),
            hash_ids=ids,
            block_tokens=agent.block if ids is not None else None,
            scope=agent.scope,
            session=agent.session,
            turn=turn,
            root=agent.root,
            started_by=agent.started_by,
            awaited=agent.awaited,
            delay_s=max(0.0, begins_s - joined_s) if begins_s is not None and joined_s is not None else None,
        )
        took_s = fields.seconds(request, "api_time")
        joined_s = ended_s = begins_s + took_s if begins_s is not None and took_s is not None else None


def _sub_agent(
    entry: Row, agent: _Agent, awaited: bool, begins_s: float | None, ended_s: float | None
) -> Iterator[TraceRequest]:
    """The requests of a sub-agent; the first comes some time after the end of the request that started it."""
    name = f"{agent.session}/{fields.text(entry, 'agent_id') or 'subagent'}"
    requests = entry.get("requests")
    # Their times are on the session's clock, or, if they begin before the sub-agent did, on its own.
    first = requests[0] if isinstance(requests, list) and requests and isinstance(requests[0], dict) else {}
    first_s = fields.seconds(first, "t")
    own_clock = first_s is not None and begins_s is not None and first_s < begins_s
    sub_agent = _Agent(name, agent.block, agent.scope, agent.root, agent.session, awaited, agent.depth + 1)
    yield from _requests(requests, sub_agent, ended_s, present(begins_s) if own_clock else 0.0)


FORMAT = Format(
    "weka",
    "Weka cc-traces",
    Container.JSON,
    lambda row: isinstance(row.get("requests"), list) and "block_size" in row,
    lambda: _read,
    "semianalysisai/cc-traces-weka",
)
