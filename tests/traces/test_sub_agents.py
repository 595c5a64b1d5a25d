"""A recorded session as its agent had it, with sub-agents at their places."""

from __future__ import annotations

from tokenswarm.traces.recording import Recording, Selection, recorded
from tokenswarm.traces.request import TraceRequest
from tokenswarm.traces.sub_agents import AgentTurn, turns_of


def request(session: str, started_by: str | None = None, **more: object) -> TraceRequest:
    return TraceRequest(input_tokens=10, session=session, root="s", started_by=started_by, **more)  # type: ignore[arg-type]


def shape(turns: tuple[AgentTurn, ...]) -> list:
    """[name, or (name, those of the sub-agents that it started)] by turn."""
    return [
        (turn.request.request.session, [shape(each.turns) for each in turn.started])
        if turn.started
        else turn.request.request.session
        for turn in turns
    ]


def of(*requests: TraceRequest, **selection: object) -> tuple[AgentTurn, ...]:
    made: Recording = recorded(requests, Selection(**selection))  # type: ignore[arg-type]
    (session,) = made.sessions
    return turns_of(session)


def test_sub_agents_stand_behind_the_request_that_started_them_and_keep_their_own() -> None:
    turns = of(
        request("s"),
        request("s/a", "s"),
        request("s/b", "s"),
        request("s/b/c", "s/b"),
        request("s/b", "s"),
        request("s/a", "s"),
        request("s"),
        request("s/a", "s"),
    )
    assert shape(turns) == [
        ("s", [["s/a", "s/a"], [("s/b", [["s/b/c"]]), "s/b"]]),
        ("s", [["s/a"]]),
    ]


def test_a_pause_before_a_sub_agent_and_whether_it_is_awaited_are_kept_and_scaled() -> None:
    turns = of(request("s"), request("s/a", "s", delay_s=8.0, awaited=False), speed=2.0)
    (sub_agent,) = turns[0].started
    assert (sub_agent.delay_s, sub_agent.awaited) == (4.0, False)


def test_sub_agents_of_a_request_that_was_left_out_follow_the_next_or_stand_in_its_place() -> None:
    long = TraceRequest(input_tokens=10_000, session="s", root="s")
    assert shape(of(long, request("s/a", "s"), request("s"), context_tokens=100)) == [("s", [["s/a"]])]
    assert shape(of(long, request("s/a", "s"), request("s/b", "s"), request("s/a", "s"), context_tokens=100)) == [
        ("s/a", [["s/b"]]),
        "s/a",
    ]


def test_a_session_of_one_agent_is_a_turn_a_request() -> None:
    requests = [TraceRequest(time_s=float(n), input_tokens=10, session="x") for n in range(3)]
    made = recorded(requests, Selection())
    assert shape(turns_of(made.sessions[0])) == ["x", "x", "x"]
    alone = recorded([TraceRequest(time_s=0.0, input_tokens=10)], Selection())
    assert len(turns_of(alone.sessions[0])) == 1
