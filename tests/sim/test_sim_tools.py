"""The simulator's calls of tools: streamed, whole, back in the history; constraints that are compiled and answers that
do not fit."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from types import SimpleNamespace

import pytest

from tokenswarm.sim.answers import AnswerSettings, AnswerSpec, plan
from tokenswarm.sim.api import ApiError, understand
from tokenswarm.sim.constrained import REFUSED, Tool
from tokenswarm.sim.grammars import Compiler
from tokenswarm.sim.jobs import Job
from tokenswarm.sim.replies import PlainReply, StreamReply
from tokenswarm.sim.styles import STYLES
from tokenswarm.sim.text import Prose
from tokenswarm.sim.truth import Truth
from tokenswarm.virtual.simulated_engine import VirtualEngine, simulated
from tokenswarm.workloads.answer_checks import fits_schema, is_json

PROSE = Prose(0)
SCHEMA = {
    "type": "object",
    "required": ["path", "line"],
    "additionalProperties": False,
    "properties": {
        "path": {"type": "string", "maxLength": 20},
        "line": {"type": "integer", "minimum": 5, "maximum": 9},
    },
}
TOOLS = [{"type": "function", "function": {"name": "read_file", "parameters": SCHEMA}}]


def body(**more) -> dict:
    return {"messages": [{"role": "user", "content": "go on"}], "tools": TOOLS, "tool_choice": "required", **more}


def request(**more):
    return understand(body(**more), True, "sim", 8192, 0)


class Written:
    """A connection that keeps what is written."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    def payloads(self) -> list:
        lines = [line[6:] for line in self.data.split(b"\n") if line.startswith(b"data: ")]
        return [json.loads(line) for line in lines if line != b"[DONE]"]


def replied(kind, style: str, **more) -> Written:
    asked, written = request(stream=True, **more), Written()
    answer = plan(asked.ask, PROSE, AnswerSettings())
    owner = SimpleNamespace(style=STYLES[style], report_cached=True, role_at_once=True, ended=lambda *_: None)
    job = Job("r", asked.prompt + answer.data, asked.prompt_tokens, len(answer.pieces))
    reply = kind(owner, written, asked, answer, job, Truth("r", 0, 0, prompt_tokens=asked.prompt_tokens))

    async def write() -> None:  # as the server does: in an event loop
        reply.begin()
        for token in range(len(answer.pieces)):
            reply.token(token)

    asyncio.run(write())
    return written


@pytest.mark.parametrize("style", ["vllm", "sglang"])
def test_a_streamed_call_names_its_tool_first_and_its_arguments_fit(style) -> None:
    choices = [choice for event in replied(StreamReply, style).payloads() for choice in event["choices"]]
    calls = [choice["delta"]["tool_calls"][0] for choice in choices if choice["delta"].get("tool_calls")]
    assert calls[0]["function"]["name"] == "read_file" and calls[0]["id"]
    assert all(call["index"] == 0 and "name" not in call["function"] for call in calls[1:])
    assert fits_schema(SCHEMA)("".join(call["function"]["arguments"] for call in calls))
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["tool_calls"]


def test_a_whole_answer_holds_the_call() -> None:
    document = json.loads(replied(PlainReply, "vllm").data.partition(b"\r\n\r\n")[2])
    message = document["choices"][0]["message"]
    assert message["content"] is None and document["choices"][0]["finish_reason"] == "tool_calls"
    assert fits_schema(SCHEMA)(message["tool_calls"][0]["function"]["arguments"])


def test_a_call_that_comes_back_has_the_tokens_with_which_it_was_generated() -> None:
    first = request()
    answer = plan(first.ask, PROSE, AnswerSettings())
    arguments = answer.data[4:].rstrip(b"\0").decode()
    history = [
        *body()["messages"],
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "x", "type": "function", "function": {"name": "read_file", "arguments": arguments}}],
        },
    ]
    assert request(messages=history).prompt.startswith(first.prompt + answer.data)


def test_definitions_of_tools_are_tokens_of_the_prompt() -> None:
    without = understand({"messages": body()["messages"]}, True, "sim", 8192, 0)
    assert request().prompt_tokens - without.prompt_tokens > len(json.dumps(TOOLS)) // 4


@pytest.mark.parametrize(
    "wrong",
    [
        {"tools": "read_file"},
        {"tools": [{"function": {}}]},
        {"tools": []},
        {"tool_choice": {"type": "function", "function": {"name": "write"}}},
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "read_file", "arguments": "{"}}]}]},
    ],
)
def test_what_an_engine_refuses_is_refused(wrong) -> None:
    with pytest.raises(ApiError) as refused:
        request(**wrong)
    assert refused.value.status == 400


def test_a_model_may_answer_in_text_where_it_may_choose() -> None:
    ask = [AnswerSpec(("x",), number, 500, tools=(Tool("t", SCHEMA),)) for number in range(200)]
    called = sum(bool(plan(each, PROSE, AnswerSettings()).call) for each in ask)
    assert 130 < called < 190


def test_answers_under_a_constraint_are_invalid_refused_or_cut_as_often_as_asked() -> None:
    settings = AnswerSettings(invalid_share=0.3, refused_share=0.1)
    outcomes: Counter[str] = Counter()
    for number in range(600):
        answer = plan(
            AnswerSpec(
                ("x",), number * 7919, 500, response_format={"type": "json_schema", "json_schema": {"schema": SCHEMA}}
            ),
            PROSE,
            settings,
        )
        text = answer.data.rstrip(b"\0").decode()
        outcomes[
            "refused"
            if answer.finish_reason == REFUSED
            else "valid"
            if fits_schema(SCHEMA)(text)
            else "other JSON"
            if is_json(text)
            else "no JSON"
        ] += 1
    assert 30 < outcomes["refused"] < 95 and 310 < outcomes["valid"] < 410
    assert outcomes["other JSON"] > 50 and outcomes["no JSON"] > 50
    cut = plan(AnswerSpec(("x",), 1, 3, tools=(Tool("t", SCHEMA),), tool_choice="required"), PROSE, settings)
    assert cut.finish_reason == "length" and len(cut.pieces) == 3


def test_a_constraint_is_compiled_once_and_whoever_comes_meanwhile_waits_for_the_rest() -> None:
    compiler = Compiler(2.0)
    assert compiler.wait_s("s" * 500, 10.0) == pytest.approx(1.0)
    assert compiler.wait_s("s" * 500, 10.4) == pytest.approx(0.6)
    assert compiler.wait_s("s" * 500, 12.0) == 0.0 and compiler.wait_s("", 12.0) == 0.0


def test_the_first_use_of_a_schema_waits_and_others_go_ahead() -> None:
    engine, first_ms = VirtualEngine(simulated("--compile-ms", "5000")), {}
    form = {"type": "json_schema", "json_schema": {"schema": SCHEMA}}
    for name, more in (("first", {"response_format": form}), ("free", {}), ("second", {"response_format": form})):
        messages = [{"role": "user", "content": name}]
        exchange = engine.send({"messages": messages, "stream": True, "max_tokens": 40, **more}, 0.0, lambda _: None)
        first_ms[name] = exchange.job
    while any(not job.finished for job in first_ms.values()):
        engine.compute(60.0)
    ttft = {name: job.times[0] for name, job in first_ms.items()}
    assert ttft["free"] < 0.2
    assert ttft["first"] == pytest.approx(ttft["second"], abs=0.2) and ttft["first"] > 0.5
