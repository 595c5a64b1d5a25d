"""Pages of docs/tasks, followed step by step against the simulator.

A page's own server (http://gpu1:8000) and an engine that wants a GPU are stood in for by the simulator, long times by
short ones; everything else is run as it stands. The page on CI is followed in test_action.py.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tokenswarm.base.errors import Exit

from .pages import follow, served, steps
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


@pytest.mark.slow
def test_highest_rate(tmp_path: Path) -> None:
    settings = f"{SHORT} load.duration_s=4 user.think_time_s=0.1 output.max_tokens=16"  # so that short runs tell enough
    with served() as url:
        # A search begins no further run once it has sent so many requests: one or two runs, however busy the machine.
        few = "BUDGET=30m MAX_REQUESTS=20"
        shorter = {"http://gpu1:8000": url, "BUDGET=30m": few, "AT_LEAST=40": "AT_LEAST=1"}
        with follow("tasks/highest-rate.md", tmp_path / "checkout", shorter, settings) as reader:
            folders = sorted((reader.folder / "results").glob("capacity-*"))
            records = [json.loads((folder / "capacity.json").read_text()) for folder in folders]
            assert [(record["scenario"], record["capacity"]["unit"]) for record in records] == [
                ("rag", "requests_s"),
                ("chat", "users"),
                ("chat", "users"),
            ]
            assert records[2]["at_least"] == 1 and all(record["runs"] for record in records)
            assert all((folder / "capacity.html").is_file() for folder in folders)
            # The table says how to go on with a search that its budget ended.
            before = len(records[1]["runs"])
            sent = sum(len(rows_of(run)) for run in folders[1].glob("*/") if (run / "requests.csv").is_file())
            more = f"BUDGET=30m MAX_REQUESTS={sent + 1}"
            reader.run(f"make capacity HOST={url} ENGINE=external SCENARIO=chat {more} RESUME={folders[1]}")
            assert len(json.loads((folders[1] / "capacity.json").read_text())["runs"]) > before
            [stairs] = [
                line for line in (PROJECT / "docs/tasks/highest-rate.md").read_text().splitlines() if "steps=" in line
            ]
            reader.run(stairs.strip("`.").replace("[2,4,8,16]", "[2,4]"))
            assert len(json.loads((reader.made[-1] / "summary.json").read_text())["levels"]) == 2


@pytest.mark.slow
def test_structured_output(tmp_path: Path) -> None:
    with served() as url:
        shorter = {
            "http://gpu1:8000": url,
            "ENGINE=vllm MODEL=Qwen/Qwen3-8B": "ENGINE=sim-vllm",
            "ENGINE=vllm": "ENGINE=sim-vllm",
        }
        settings = f"{SHORT} load.duration_s=12 load.users=4 load.spawn_rate=4"
        with follow("tasks/structured-output.md", tmp_path / "checkout", shorter, settings) as reader:
            assert len(reader.made) == len(steps("tasks/structured-output.md")) == 5
            for run in reader.made:
                assert (run / "dashboard.html").is_file()
            told = [(run / "summary.json").read_text() for run in reader.made]
            assert all('"valid_output"' in each for each in told), "each run checks its answers"


@pytest.mark.slow
def test_read_a_verdict(tmp_path: Path) -> None:
    """It has no command of its own: what it says of a run is what a run says."""
    page = (PROJECT / "docs" / "tasks" / "read-a-verdict.md").read_text("utf-8")
    assert not [text for what, text in steps("tasks/read-a-verdict.md") if what == "run" and text.startswith("make")]
    with follow("tasks/load-my-endpoint.md", tmp_path / "checkout", {"20s": "3s"}, SHORT) as reader:
        said = reader.output[-1]
        summary = json.loads((reader.made[0] / "summary.json").read_text())
        assert f"**{summary['verdict']}**" in page and summary["verdict"] in said
        assert "SIMULATED" in said and "is marked SIMULATED" in page


def test_the_page_on_verdicts_knows_every_verdict() -> None:
    page = (PROJECT / "docs" / "tasks" / "read-a-verdict.md").read_text("utf-8")
    names = [each.name for each in (Exit.INVALID, Exit.OVERLOADED, Exit.INCOMPLETE)]
    assert [name for name in ("VALID", *names) if f"| **{name}** |" not in page] == []
