"""Users changed in the UI during a run: each number is a load level."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from typing import Any

import pytest

from tokenswarm.contract.tables import DASHBOARD_HTML, REQUESTS_CSV

pytestmark = pytest.mark.ui


def test_each_number_of_users_is_a_level_in_header_summary_and_rows(ui: Callable[..., Any], browser: Any) -> None:
    begin = {"scenario": "batch", "warmup": "1"}
    with ui() as web:
        post = browser.new_context().request.post

        def answers() -> int:
            live = json.loads(web.get("/llm/live.json"))
            return live["since_start"]["total"]["ok"] if live["state"] == "running" and live["since_start"] else 0

        def swarm(users: int, **more: str) -> None:
            form = {"user_count": str(users), "spawn_rate": "5", "host": "", **more}
            assert post(f"{web.url}/swarm", form=form).json()["success"]

        for users in (3, 5, 2):
            before = answers()
            swarm(users, **({} if before else begin))
            web.command.wait_until(lambda least=before + 4: answers() >= least, f"answers to {users} users")
        post(f"{web.url}/stop")
        web.command.wait_until(lambda: json.loads(web.get("/llm/live.json"))["state"] == "stopped", "the end")
        web.get("/llm/report")
        (folder,) = web.folders()
        summary = json.loads((folder / "summary.json").read_text())
        assert [level["users"] for level in summary["levels"]] == [3, 5, 2]
        with (folder / REQUESTS_CSV).open(newline="") as file:
            assert {row["level"] for row in csv.DictReader(file) if row["phase"] == "measure"} == {"1", "2", "3"}
        assert "3 → 5 → 2 users" in (folder / DASHBOARD_HTML).read_text("utf-8")
