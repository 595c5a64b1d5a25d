"""Agents and structured output on the simulator in virtual time: sub-agents side by side, tasks, and compile costs."""

from __future__ import annotations

from collections import defaultdict
from statistics import median

import pytest

from tokenswarm.base.config_text import parse_set
from tokenswarm.base.errors import UserError
from tokenswarm.engines.spec.engine_spec import load_description
from tokenswarm.run.constraint_fields import with_fields
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.virtual.run import run
from tokenswarm.virtual.simulated_engine import simulated
from tokenswarm.workloads import create
from tokenswarm.workloads.corpus import load_corpus

CORPUS = load_corpus()
BRIEF = "load.users=6 load.warmup_s=5 load.duration_s=12 user.think_time_s=1 "


def end_of(row) -> float:
    return row["sent_at"] + (row["e2e_ms"] or 0) / 1e3


def test_sub_agents_ask_at_the_same_time_and_the_next_step_waits_for_all_of_them() -> None:
    settings = "agent.sub_agent_probability=0.4 agent.sub_agents=3 agent.sub_agent_steps=3 agent.tool_delay_s=0.1"
    rows = run(load_scenario("agent", parse_set(BRIEF + settings)), simulated(), CORPUS).rows
    assert all(row["status"] != "failed" for row in rows)
    main = {(row["conversation"], row["turn"]): row for row in rows if row["document"] == "agent"}
    started: dict = defaultdict(list)
    for row in rows:
        if row["document"] == "sub-agent":
            conversation, _, name = row["conversation"].rpartition("-")
            started[conversation, int(name.partition(".")[0])].append(row)
    joined = together = 0
    for (conversation, turn), subs in started.items():
        before, after = main.get((conversation, turn)), main.get((conversation, turn + 1))
        if before is None or after is None:
            continue
        joined += 1
        assert min(row["sent_at"] for row in subs) >= end_of(before) - 1e-9
        assert after["sent_at"] >= max(map(end_of, subs)) - 1e-9
        assert {row["task"] for row in subs} == {before["task"]}
        firsts = [row["sent_at"] for row in subs if row["turn"] == 1]
        together += len(firsts) == 3 and max(firsts) - min(firsts) < 1e-6
    assert joined > 10 and together == joined


def test_an_agent_s_prompts_are_cached_but_for_what_its_tools_gave() -> None:
    rows = list(run(load_scenario("agent", parse_set(BRIEF)), simulated(), CORPUS).measured())
    later = [row for row in rows if row["turn"] > 1]
    assert sum(row["cached_tokens"] for row in later) / sum(row["prompt_tokens"] for row in later) > 0.9
    assert all(row["valid_output"] for row in rows)


def test_damaged_calls_are_counted_and_the_agents_go_on() -> None:
    rows = list(run(load_scenario("agent", parse_set(BRIEF)), simulated("--invalid-answers", "0.3"), CORPUS).measured())
    invalid = sum(row["valid_output"] is False for row in rows) / len(rows)
    assert 0.2 < invalid < 0.4 and all(row["status"] != "failed" for row in rows)


def test_another_api_than_chat_is_refused() -> None:
    with pytest.raises(UserError, match=r"use endpoint.api=chat"):
        load_scenario("agent", parse_set("endpoint.api=responses"))


def test_in_an_open_loop_sub_agents_come_on_top_of_the_rate_and_the_run_says_so() -> None:
    scenario = load_scenario("agent", parse_set("load.rate=4 load.warmup_s=4 load.duration_s=8"))
    rows = run(scenario, simulated(), CORPUS).rows
    assert {row["scheduled_at"] is None for row in rows if row["document"] == "sub-agent"} == {True}
    assert {row["scheduled_at"] is None for row in rows if row["document"] == "agent"} == {False}
    assert create(scenario, CORPUS, 1, "").notes() == [
        "Requests of sub-agents come on top of load.rate, which is that of the agents' own requests."
    ]


@pytest.mark.parametrize("unique", ["false", "true"])
def test_the_first_use_of_a_constraint_takes_longer_by_what_compiling_it_costs(unique) -> None:
    settings = f"load.users=4 load.warmup_s=5 load.duration_s=8 structured.unique={unique}"
    scenario = with_fields(load_scenario("structured", parse_set(settings)), load_description("sim"))
    rows = [row for row in run(scenario, simulated("--compile-ms", "2000"), CORPUS).rows if row["status"] == "ok"]
    free = median(row["ttft_ms"] for row in rows if row["document"].startswith("control"))
    for tier in ("flat", "nested", "large", "regex", "choice", "grammar"):
        of_tier = [row for row in sorted(rows, key=lambda row: row["sent_at"]) if row["document"] == tier]
        later = median(row["ttft_ms"] for row in of_tier[len(of_tier) // 2 :])
        assert of_tier[0]["ttft_ms"] > free + 50
        assert later > free + 50 if unique == "true" else later < free + 10, tier


def test_the_check_that_a_scenario_adds_holds_in_virtual_time_too() -> None:
    scenario = load_scenario("batch", parse_set(BRIEF + "output.check=json"))
    checked = [row["valid_output"] for row in run(scenario, simulated(), CORPUS).measured() if row["status"] == "ok"]
    assert checked and not any(checked), "one word is no JSON"
