"""Structured output, agents and interference on real engines with random weights: what the engine enforces, whose calls
are well formed, and what a run says of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from tests.real_engines.real import API_KEY, Run, Server, mended, run_load, run_open_loop
from tests.real_engines.test_load import check
from tokenswarm.base.config_text import parse_set
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.run.enforcement import Enforcement, enforcement
from tokenswarm.run.first_request import LoadToCheck
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.workloads.corpus import load_corpus
from tokenswarm.workloads.structured import constraint_of

TIERS = ("flat", "nested", "large", "regex", "choice", "grammar")
FINE = {Exit.PASSED, Exit.SLO_MISSED, Exit.INVALID, Exit.OVERLOADED}
"""What a busy machine may make of a run: how fast anything is is not the subject here."""
LIMITS = {"first_token_s": 300, "gap_s": 300, "total_s": 600}
PATIENT = {"load.warmup_s": 1, "load.drain_s": 250, **{f"timeouts.{name}": value for name, value in LIMITS.items()}}
SEEN_OF_CALLS = {
    "vllm": ("Invalid control character", "no UTF-8"),
    # Its parser of streamed calls ends the arguments where they are no JSON, and leaves out what comes behind.
    "sglang": ("Invalid control character", "no UTF-8", "is a required property", "no tool is called"),
}
"""Why a call may not be valid: what xgrammar lets into texts (docs/structured.md)."""
SPOILT = ("off by", "overloaded", "load generator")
"""In the reason why a figure of time is not given: a busy machine, or an engine that shares it."""


def summary(run: Run) -> dict[str, Any]:
    return json.loads((run.folder / "summary.json").read_text("utf-8"))


def answers(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.folder / "answers.jsonl").read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def structured(server: Server) -> Run:
    values = PATIENT | {
        "load.max_requests": 40,
        "output.max_tokens": 160,
        "output.temperature": 1.0,
        "output.keep_answers": 1000,
        "structured.document_tokens": 60,
    }
    return run_load(server, "structured", values, "90s", 4)


def test_answers_under_every_kind_of_constraint_fit_it_unless_they_were_cut(structured: Run, server: Server) -> None:
    check_tokens = {row["error"] for row in structured.requests}
    assert structured.code in FINE and check_tokens == {""}, structured.output
    assert structured.manifest["preflight"]["enforced"] is True
    kept = answers(structured)
    assert {answer["document"] for answer in kept} & set(TIERS) == set(TIERS)
    for answer in kept:
        if answer["document"] not in TIERS or answer["finish_reason"] == "length":
            continue
        text, kind = answer["text"], constraint_of(answer["document"]).kind
        assert answer["valid_output"] or (kind == "json_schema" and text != mended(text) and answer["why"]), answer
    assert any(answer["valid_output"] for answer in kept)


def test_what_was_cut_first_uses_and_the_control_arm_stand_apart(structured: Run) -> None:
    found = summary(structured)
    measured = [row for row in structured.requests if row["phase"] == "measure" and row["status"] == "ok"]
    cut = Counter(row["document"] for row in measured if row["finish_reason"] == "length")
    by_name = {use["name"]: use for use in found["constraints"]}
    assert {name: use["cut"] for name, use in by_name.items()} == {name: cut[name] for name in by_name}
    assert set(by_name) == set(TIERS) and not any(use["refused"] for use in by_name.values())
    assert all(use["first_ttft_ms"]["n"] >= 1 for use in by_name.values())
    free = [row for row in measured if row["document"].startswith("control-")]
    assert free and {row["valid_output"] for row in free} == {""}
    assert found["control_arm"]["tpot_control_ms"]["n"] + found["control_arm"]["tpot_constrained_ms"]["n"] <= len(
        measured
    )


def asked_before_the_load(server: Server, tiers: Sequence[str], constraints: dict[str, Any]) -> Enforcement:
    scenario = load_scenario("structured", parse_set(f"structured.tiers={json.dumps(list(tiers))}"))
    endpoint = scenario.endpoint.model_copy(update={"constraints": constraints})
    scenario = scenario.model_copy(update={"endpoint": endpoint})
    return enforcement(LoadToCheck(server.engine.base_url, server.engine.model, scenario, load_corpus(), API_KEY))


def test_fields_that_an_engine_takes_and_ignores_are_found_before_the_load(server: Server) -> None:
    ignored = asked_before_the_load(server, ["flat"], {"json_schema": {"guided_json": "{schema}"}})
    assert ignored.enforced is False and ignored.words.startswith("json_schema: ")
    assert asked_before_the_load(server, TIERS, dict(server.engine.description.constraints)).enforced is True


def test_a_constraint_that_an_engine_refuses_is_told_in_its_words(server: Server) -> None:
    field = json.dumps(server.engine.description.constraints["regex"])
    with pytest.raises(UserError, match=r"refuses the constraint of scenario structured, regex.*: .+") as caught:
        asked_before_the_load(server, ["regex"], {"regex": json.loads(field.replace("{pattern}", "(("))})
    assert caught.value.code is Exit.ENDPOINT


def test_agents_of_random_weights_make_valid_calls_and_complete_tasks(server: Server) -> None:
    values = PATIENT | {
        "load.max_requests": 24,
        "output.max_tokens": 160,
        "output.temperature": 1.0,
        "output.extra": "{parallel_tool_calls=false}",
        "output.keep_answers": 100,
        "agent.system_tokens": 100,
        "agent.tools": 4,
        "agent.context_tokens": 150,
        "agent.tasks": 2,
        "agent.steps": 2,
        "agent.result_tokens": 40,
        "agent.tool_delay_s": 0.05,
        "user.think_time_s": 0.05,
        "agent.sub_agent_probability": 0.3,
        "agent.sub_agents": 1,
        "agent.sub_agent_steps": 2,
        "agent.sub_agent_context_tokens": 100,
        "agent.history_limit_tokens": 3000,
    }
    run = run_load(server, "agent", values, "90s", 2)
    check(run, server)
    tasks = summary(run)["tasks"]
    assert tasks["completed"] > 0 and tasks["failed"] == 0
    assert tasks["valid_calls"]["value"] > 0 and tasks["cut"]["value"] < 0.5
    whole = [answer for answer in answers(run) if answer["finish_reason"] != "length" and not answer["valid_output"]]
    assert [each for each in whole if not any(reason in each["why"] for reason in SEEN_OF_CALLS[server.name])] == []
    assert "tool_calls" in {row["finish_reason"] for row in run.requests}
    # Each turn repeats the one before: less is computed than was sent.
    assert 0 < tasks["computed_tokens"]["value"] < tasks["sent_tokens"]["value"]
    assert 0 < tasks["computed_share"]["value"] < 1


def test_interference_tells_bystanders_before_during_and_after_long_prefills(server: Server) -> None:
    values = {
        "load.warmup_s": 1,
        "load.drain_s": 250,
        "mix.chat": 10,
        "mix.batch": 1,
        "chat.answer_tokens": 4,
        "chat.message_tokens": 10,
        "chat.system_tokens": 20,
        "batch.document_tokens": 1500,
        **{f"{name}.timeouts.{limit}": value for name in ("chat", "batch") for limit, value in LIMITS.items()},
    }
    run = run_open_loop(server, "interference", values, "25s", 6)
    assert run.code in FINE, run.output
    measured = [row for row in run.requests if row["phase"] == "measure"]
    classes = Counter(row["user_class"] for row in measured)
    found = summary(run)["interference"]
    assert (found["bystanders"], found["disturbers"]) == (["MultiTurnChatter"], ["BatchClassifier"])
    assert 0 < found["disturbances"] <= classes["BatchClassifier"]
    assert 0 < found["share_of_time"]["value"] <= 1
    for latency in found["latencies"].values():
        stretches = [latency[name] for name in ("before", "during", "after")]
        assert sum(stretch["ok"] + stretch["failed"] for stretch in stretches) <= classes["MultiTurnChatter"]
        assert sum(stretch["ok"] for stretch in stretches) > 0
        rise = latency["rise"]["p50"]
        assert rise["value"] or any(word in rise["why"] for word in (*SPOILT, "needs")), rise
