"""Agents through the whole command line, on the embedded simulator."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .support import load, started

pytestmark = pytest.mark.slow


def test_agents_work_through_tasks_with_their_sub_agents(tmp_path: Path) -> None:
    settings = (
        "engine.sim.time_scale=10 engine.sim.invalid-answers=0.2 user.think_time_s=0.1 agent.tool_delay_s=0.02 "
        "agent.steps=3 agent.sub_agent_probability=0.5 output.keep_answers=5"
    )
    with started(load(tmp_path, "--scenario", "agent", "--users", "6", settings=settings), tmp_path) as run:
        finished = run.finish()
    assert finished.err == ""
    rows = finished.table()
    assert {row["user_class"] for row in rows} == {"ToolAgent"}
    assert {row["document"] for row in rows} == {"agent", "sub-agent"}
    assert not [row for row in rows if row["status"] == "failed"]
    tasks = finished.summary["tasks"]
    assert tasks["completed"] > 0 and tasks["failed"] == 0
    assert tasks["sub_agent_requests"]["value"] > 0
    assert 0 < tasks["computed_share"]["value"] < 0.9
    assert 0.6 < tasks["valid_calls"]["value"] < 0.95
    kept = [json.loads(line) for line in (finished.path / "answers.jsonl").read_text().splitlines()]
    assert len(kept) == 5 and not any(answer["valid_output"] for answer in kept)
    assert 'id="tasks"' in finished.page and 'id="answers"' in finished.page
