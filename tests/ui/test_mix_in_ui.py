"""A mix of scenarios, run from the web UI."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from typing import Any

import pytest

from tokenswarm.contract.tables import DASHBOARD_HTML, REQUESTS_CSV

pytestmark = pytest.mark.ui
CLASSES = {"RagReader", "BatchClassifier"}


def test_a_mix_runs_from_the_start_form_with_figures_by_class(ui: Callable[..., Any], browser: Any) -> None:
    settings = "load.warmup_s=1 engine.sim.time_scale=10"
    with ui("--scenario", "rag:1 batch:1", "--set", settings) as web:
        post = browser.new_context().request.post

        def answers() -> int:
            live = json.loads(web.get("/llm/live.json"))
            return live["since_start"]["total"]["ok"] if live["state"] == "running" and live["since_start"] else 0

        assert post(f"{web.url}/swarm", form={"user_count": "4", "spawn_rate": "4", "host": ""}).json()["success"]
        web.command.wait_until(lambda: answers() >= 20, "answers")
        live = json.loads(web.get("/llm/live.json"))
        assert live["since_start"]["classes"].keys() == CLASSES
        post(f"{web.url}/stop")
        web.command.wait_until(lambda: json.loads(web.get("/llm/live.json"))["state"] == "stopped", "the end")
        web.get("/llm/report")
        (folder,) = web.folders()
        assert json.loads((folder / "summary.json").read_text())["user_classes"].keys() == CLASSES
        with (folder / REQUESTS_CSV).open(newline="") as file:
            assert {row["user_class"] for row in csv.DictReader(file)} == CLASSES
        page = (folder / DASHBOARD_HTML).read_text("utf-8")
        assert all(name in page for name in CLASSES)
