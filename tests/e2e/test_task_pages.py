"""Pages of docs/tasks, followed step by step against the simulator."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from .pages import follow
from .support import PROJECT

TASKS = sorted(path.name for path in (PROJECT / "docs" / "tasks").glob("*.md"))
SHORT = "load.warmup_s=1 load.drain_s=5"


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "requests.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_there_is_a_page_for_each_task_and_the_readme_leads_to_it() -> None:
    readme = (PROJECT / "README.md").read_text("utf-8")
    assert len(TASKS) == 7
    assert [name for name in TASKS if f"(docs/tasks/{name})" not in readme] == []


@pytest.mark.slow
def test_load_my_endpoint(tmp_path: Path) -> None:
    with follow("tasks/load-my-endpoint.md", tmp_path / "checkout", {"20s": "3s"}, SHORT) as reader:
        [run] = reader.made
        rows = rows_of(run)
        assert rows and {row["error"] for row in rows if row["status"] != "cancelled"} == {""}
        assert (run / "dashboard.html").is_file() and "4 requests" in reader.output[0]


@pytest.mark.slow
def test_replay_production(tmp_path: Path) -> None:
    with follow("tasks/replay-production.md", tmp_path / "checkout", {}, SHORT) as reader:
        [run] = reader.made
        assert sum(row["phase"] == "measure" for row in rows_of(run)) == 5
        assert json.loads((run / "summary.json").read_text())["replay"]


@pytest.mark.slow
def test_compare_flags(tmp_path: Path) -> None:
    with follow(
        "tasks/compare-flags.md",
        tmp_path / "checkout",
        {"20s": "3s", "REPEATS=3": "REPEATS=1"},
        f"{SHORT} rag.document_tokens=300",
    ) as reader:
        assert len(reader.made) == 2
        [comparison] = (reader.folder / "results").glob("*/comparison.json")
        written = json.loads(comparison.read_text())
        assert {written["a"]["label"], written["b"]["label"]} == {"prefix_cache=true", "prefix_cache=false"}
