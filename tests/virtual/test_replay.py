"""Traces on the simulator in virtual time: lengths and hits as asked for, and sub-agents that work as on record."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pytest
from tokenswarm.analysis.read.replay_table import read_replay_plan
from tokenswarm.analysis.traffic.fidelity import implied_curve

from tests.real_engines.test_replay import SETTINGS, trace
from tokenswarm.base.config_text import parse_set
from tokenswarm.base.presence import present
from tokenswarm.generator.replay_plan import write_replay_plan
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.virtual.run import run
from tokenswarm.virtual.simulated_engine import simulated
from tokenswarm.workloads import create
from tokenswarm.workloads.corpus import load_corpus

BLOCK = 16
"""Of the simulator's cache in vLLM's dialect."""
START_S, LATE_S, PAUSE_S = 0.5, 0.75, 1.5


def sub_agent(name: str, at_s: float, took_ms: int, status: str, *answers: int) -> dict:
    requests = [{"t": at_s + n, "in": 640, "out": tokens, "api_time": 0.5} for n, tokens in enumerate(answers)]
    return {"t": at_s, "type": "subagent", "agent_id": name, "duration_ms": took_ms, "status": status} | {
        "requests": requests
    }


def recorded(folder: Path) -> str:
    """Sessions in which two sub-agents are waited for and a third, slow one is not."""
    session = {
        "block_size": 64,
        "requests": [
            {"t": 0.0, "in": 640, "out": 10, "api_time": 1.0},
            sub_agent("quick", 1.0 + START_S, 500, "completed", 4),
            sub_agent("long", 1.0 + LATE_S, 4000, "completed", 60, 60),
            sub_agent("beside", 1.0 + START_S, 90_000, "async_launched", 2000),
            {"t": 1.0 + LATE_S + 4.0 + PAUSE_S, "in": 640, "out": 10, "api_time": 1.0},
        ],
    }
    file = folder / "agents.json"
    file.write_text("".join(json.dumps({"id": f"s{n}", **session}) + "\n" for n in range(30)))
    return str(file)


def test_recorded_sub_agents_begin_work_and_are_waited_for_as_on_record(tmp_path: Path) -> None:
    settings = parse_set("replay.pacing=load load.users=3 load.warmup_s=5 load.duration_s=120")
    scenario = load_scenario("replay", settings, recorded(tmp_path))
    rows = [row for row in run(scenario, simulated(), load_corpus()).rows if row["phase"] == "measure"]
    assert rows and not [row for row in rows if row["status"] == "failed"]
    begins: dict[str, dict[int, float]] = defaultdict(dict)
    ends: dict[str, dict[int, float]] = defaultdict(dict)
    for row in rows:
        name, turn = str(row["conversation"]), int(row["turn"])  # type: ignore[call-overload]
        begins[name][turn] = row["sent_at"]  # type: ignore[assignment]
        ends[name][turn] = row["sent_at"] + (row["e2e_ms"] or 0) / 1e3  # type: ignore[operator]
    whole = [name for name in begins if name.count("-") == 1 and {1, 2} <= ends[name].keys()]
    whole = [name for name in whole if {f"{name}-1.{n}" for n in (1, 2, 3)} <= begins.keys()]
    assert len(whole) > 5
    for name in whole:
        quick, long, beside = (f"{name}-1.{n}" for n in (1, 2, 3))
        started = ends[name][1]
        assert abs(begins[quick][1] - started - START_S) < 1e-6
        assert abs(begins[beside][1] - started - START_S) < 1e-6
        assert abs(begins[long][1] - started - LATE_S) < 1e-6
        assert begins[long][1] < ends[quick][1] + 5 and ends[quick][1] < ends[long][2]
        assert abs(begins[name][2] - ends[long][2] - PAUSE_S) < 1e-6, "the next request waits for the last of the two"
        assert ends[beside][1] > ends[name][2], "nothing waits for the third, and it goes on"


@pytest.mark.parametrize("send", ["token_ids", "chat"])
def test_the_simulator_gives_the_lengths_and_the_hits_that_the_trace_for_real_engines_asks_for(
    tmp_path: Path, send: str
) -> None:
    file = trace(tmp_path)
    asked = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    settings = {key: str(value) for key, value in SETTINGS.items()} | {"replay.send": send}
    scenario, corpus = load_scenario("replay", settings, str(file)), load_corpus()
    rows = [row for row in run(scenario, simulated(), corpus).rows if row["phase"] == "measure"]
    rows.sort(key=lambda row: str(row["conversation"]))
    assert [row["completion_tokens"] for row in rows] == [each["output_length"] for each in asked]
    lengths = [int(row["prompt_tokens"]) for row in rows]  # type: ignore[call-overload]
    apart = [abs(made / each["input_length"] - 1) for made, each in zip(lengths, asked, strict=True)]
    assert max(apart) < (1e-9 if send == "token_ids" else 0.03)
    write_replay_plan(tmp_path, present(create(scenario, corpus, 1, "replayed").planned()))
    implied = present(implied_curve(present(read_replay_plan(tmp_path)), BLOCK)).unbounded
    hits = sum(int(row["cached_tokens"] or 0) for row in rows) / sum(lengths)  # type: ignore[call-overload]
    assert implied > 0.5 and abs(hits - implied) < 0.02
