"""Arranges a recorded session as its agent's own requests and the sub-agents started after each. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tokenswarm.traces.recording import RecordedRequest


@dataclass(frozen=True, slots=True)
class AgentTurn:
    """A request of an agent, and the sub-agents that start after its answer."""

    request: RecordedRequest
    started: tuple[SubAgent, ...] = ()


@dataclass(frozen=True, slots=True)
class SubAgent:
    """The turns of a sub-agent, which starts `delay_s` after the answer. awaited: the agent's next request waits for
    its end."""

    turns: tuple[AgentTurn, ...]
    awaited: bool
    delay_s: float


def turns_of(requests: Sequence[RecordedRequest]) -> tuple[AgentTurn, ...]:
    """The turns of a session's own agent. `requests`: in file order, including those of sub-agents. If all requests of
    an agent were left out, its first sub-agent takes its place.
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
    """The sub-agents started after one answer, in file order, each with its own sub-agents."""
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
