"""A recorded session as its agent had it: its own requests, and the sub-agents that it started after each. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tokenswarm.traces.recording import RecordedRequest


@dataclass(frozen=True, slots=True)
class AgentTurn:
    """A request of an agent, and who works at the same time once it is answered."""

    request: RecordedRequest
    started: tuple[SubAgent, ...] = ()


@dataclass(frozen=True, slots=True)
class SubAgent:
    """The turns of a sub-agent, from `delay_s` after the answer that started it on. awaited: the agent's next request
    waits for its end."""

    turns: tuple[AgentTurn, ...]
    awaited: bool
    delay_s: float


def turns_of(requests: Sequence[RecordedRequest]) -> tuple[AgentTurn, ...]:
    """The turns of a session's own agent. `requests`: in the order of the file, those of sub-agents at their place.

    Where all requests of an agent were left out, its first sub-agent stands in its place.
    """
    first = requests[0].request
    return _turns(first.root if first.root is not None else first.session, requests)


def _turns(agent: str | None, requests: Sequence[RecordedRequest]) -> tuple[AgentTurn, ...]:
    own: list[tuple[RecordedRequest, list[RecordedRequest]]] = []
    before: list[RecordedRequest] = []
    for each in requests:
        if each.request.session == agent:
            own.append((each, before))
            before = []
        else:
            (own[-1][1] if own else before).append(each)
    if not own:
        head, *others = _sub_agents(agent, before)
        return (AgentTurn(head.turns[0].request, (*head.turns[0].started, *others)), *head.turns[1:])
    return tuple(AgentTurn(each, _sub_agents(agent, of_others)) for each, of_others in own)


def _sub_agents(agent: str | None, requests: Sequence[RecordedRequest]) -> tuple[SubAgent, ...]:
    """Those that an agent started after one answer, in the order of the file, each with its own sub-agents in it."""
    parents = {each.request.session: each.request.started_by for each in requests}
    of: dict[str | None, list[RecordedRequest]] = {}
    for each in requests:
        name = each.request.session
        while parents[name] != agent and parents[name] in parents:
            name = parents[name]
        of.setdefault(name, []).append(each)
    return tuple(
        SubAgent(_turns(name, theirs), theirs[0].request.awaited, theirs[0].delay_s or 0.0)
        for name, theirs in of.items()
    )
