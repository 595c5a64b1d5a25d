"""Agents: prompts that grow by tools' results, calls that are checked, sub-agents, and lengths that keep the limit."""

from __future__ import annotations

import json
from itertools import pairwise
from random import Random

import pytest

from tokenswarm.base.errors import UserError
from tokenswarm.base.tool_call import ToolCall
from tokenswarm.workloads.agent_tools import MOST_TOOLS, calls_fit, definitions, scripted_call
from tokenswarm.workloads.ages import under_way
from tokenswarm.workloads.answer_checks import why_not
from tokenswarm.workloads.base import as_cached, asked_chars, content_text

SUB_AGENTS = "agent.sub_agent_probability=0.5"
CALL = scripted_call(Random(1), MOST_TOOLS, "call-1")


def played(session, calls=(CALL,), reports=True):
    """The prompts of a session and of all its sub-agents, in the order sent; every answer makes these calls."""
    asked = []
    for prompt in session:
        asked.append(prompt)
        session.record_answer("".join(call.name + call.arguments for call in calls), calls)
        for sub in session.sub_sessions():
            asked += played(sub, calls) if reports else []
    return asked


def text_of(prompt):
    return "".join(content_text(message) for message in as_cached(prompt))


def test_each_prompt_of_an_agent_begins_with_the_one_before_it(make) -> None:
    workload = make("agent")
    for number in range(10):
        main = [prompt for prompt in played(workload.session("measure", number)) if prompt.document == "agent"]
        assert [prompt.turn for prompt in main] == list(range(1, len(main) + 1))
        for before, after in pairwise(main):
            assert after.messages[: len(before.messages)] == before.messages
            assert after.shared_prefix_chars == asked_chars(before.messages, before.body)
            assert text_of(after).startswith(text_of(before)[: after.shared_prefix_chars])
            assert after.messages[len(before.messages)]["tool_calls"][0]["function"]["name"] == CALL.name


def test_a_task_ends_with_its_report_and_then_a_human_asks(make) -> None:
    prompts = [
        prompt
        for prompt in played(make("agent", "agent.tasks=3 agent.steps=4").session("measure", 1))
        if prompt.document == "agent"
    ]
    assert [(prompt.task.task, prompt.task.step, prompt.task.steps) for prompt in prompts] == [
        (f"measure-000001/{task}", step, 4) for task in (1, 2, 3) for step in (1, 2, 3, 4)
    ]
    assert [prompt.pause_after_s is None for prompt in prompts] == [False, False, False, True] * 3
    assert [prompt.messages[-1]["role"] for prompt in prompts] == ["user", "tool", "tool", "tool"] * 3


def test_sub_agents_have_contexts_of_their_own_and_belong_to_the_task(make) -> None:
    workload = make("agent", SUB_AGENTS + " agent.sub_agents=2 agent.sub_agent_steps=2")
    prompts = played(workload.session("measure", 3))
    subs = [prompt for prompt in prompts if prompt.document == "sub-agent"]
    assert subs and len({prompt.conversation for prompt in subs}) == len(subs) / 2
    tasks = {prompt.task.task for prompt in prompts if prompt.document == "agent"}
    assert {prompt.task.task for prompt in subs} <= tasks
    assert all(prompt.task.step is None for prompt in subs)
    firsts = [content_text(prompt.messages[1]) for prompt in subs if prompt.turn == 1]
    assert len(set(firsts)) == len(firsts)


def test_reports_of_sub_agents_are_the_result_of_the_step_that_started_them(make) -> None:
    session = make("agent", SUB_AGENTS + " agent.result_tokens=200").session("measure", 3)
    reported = 0
    for prompt in session:
        results = [message["content"] for message in prompt.messages if message["role"] == "tool"]
        assert reported == sum(result.startswith("Report of helper 1: scheduler said so") for result in results)
        session.record_answer("", (CALL,))
        subs = session.sub_sessions()
        for sub in subs:
            for _ in sub:
                sub.record_answer("scheduler said so", (CALL,))
        reported += bool(subs)
    assert reported


def test_scripted_turns_are_the_same_whatever_the_engine_answers(make) -> None:
    workload = make("agent", "agent.assistant_turns=corpus")
    one, two = (
        [prompt.messages for prompt in played(workload.session("measure", 4), calls)]
        for calls in ((CALL,), (ToolCall("nonsense", "{"),))
    )
    assert one == two


@pytest.mark.parametrize("calls", [(), (ToolCall("read_file", '{"path": "a'),)], ids=["text", "cut"])
def test_a_call_that_is_no_json_enters_the_history_as_text(make, calls) -> None:
    prompts = played(make("agent").session("measure", 1), calls, reports=False)
    assert len(prompts) > 1
    assert not any("tool_calls" in message for prompt in prompts for message in prompt.messages)


@pytest.mark.parametrize(
    ("calls", "valid"),
    [
        ((CALL,), True),
        ((CALL, CALL), True),
        ((), False),
        ((ToolCall("no_such_tool", "{}"),), False),
        ((ToolCall(CALL.name, "{}"),), False),
        ((CALL, ToolCall(CALL.name, CALL.arguments[:-1])), False),
    ],
)
def test_calls_are_valid_if_each_fits_the_schema_of_its_tool(calls, valid) -> None:
    assert calls_fit(MOST_TOOLS)(calls) is valid


def test_a_call_that_is_not_valid_says_why() -> None:
    check = calls_fit(MOST_TOOLS)
    assert why_not(check, ()) == "no tool is called"
    assert why_not(check, (CALL, ToolCall("no_such_tool", "{}"))) == "no tool is called 'no_such_tool'"
    assert "read_file: no JSON: Invalid control character" in str(why_not(check, (ToolCall("read_file", '{"a\x07'),)))
    assert "is a required property" in str(why_not(check, (ToolCall(CALL.name, "{}"),)))


def test_scripted_calls_of_every_tool_are_valid() -> None:
    rng = Random(2)
    for tool in definitions(MOST_TOOLS):
        call = scripted_call(rng, MOST_TOOLS, "x", tool["function"]["name"])
        assert calls_fit(MOST_TOOLS)((call,)), call


def test_no_prompt_outgrows_the_limit_of_a_history_even_with_the_longest_answers(make) -> None:
    workload = make(
        "agent",
        "agent.history_limit_tokens=6000 agent.context_tokens=3000 output.max_tokens=200 prompts.chars_per_token=4.0",
    )
    long = (ToolCall("edit_file", json.dumps({"path": "x" * 700})),)
    for number in range(30):
        for prompt in played(workload.session("measure", number), long):
            assert asked_chars(prompt.messages, prompt.body) / 4 <= 6000 * 1.02, number


def test_an_agent_that_is_under_way_has_a_history_of_scripted_calls(make) -> None:
    workload = make("agent", "agent.steps=8")
    joined = [next(iter(under_way(workload, number, 0.0, 100))) for number in range(12)]
    assert any(prompt.turn > 1 for prompt in joined)
    for prompt in joined:
        assert sum("tool_calls" in message for message in prompt.messages) == prompt.turn - 1


def test_the_salt_comes_before_the_tools_differ(make) -> None:
    one, two = (text_of(next(iter(make("agent", salt=salt).session("measure", 0)))) for salt in ("a", "b"))
    assert next(place for place, pair in enumerate(zip(one, two, strict=False)) if pair[0] != pair[1]) < 100


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("output.ignore_eos=true", "ignore_eos lets no answer end by itself"),
        ("agent.history_limit_tokens=10", "history_limit_tokens is 10, but tools and system prompt"),
        ("agent.context_tokens=1000000", r"a usual context \(1,000,000\)"),
        ("output.max_tokens=100000", "raise it .with engine.context_length., or shorten those"),
        ("output.extra={tools=[]}", "output.extra may not hold 'tools'"),
        ("output.check=json", "output.check looks at texts, but agents answer by calls"),
    ],
)
def test_settings_that_would_silently_ask_for_something_else_are_refused(make, setting, words) -> None:
    with pytest.raises(UserError, match=words):
        make("agent", setting)
