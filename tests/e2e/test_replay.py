"""A trace replayed through the whole command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .support import run_cli


def write(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(path)


@pytest.mark.slow
def test_a_trace_is_replayed_by_two_processes_and_its_text_is_kept_nowhere(tmp_path: Path) -> None:
    rows = [
        {
            "timestamp": 40 * n,
            "session_id": f"s{n // 2}",
            "output_length": 3,
            "delay": 20,
            "messages": [{"role": "user", "content": f"Mallory's question {n}" + " is long" * (5000 * (n == 7))}],
        }
        for n in range(60)
    ]
    run = run_cli(
        "load",
        "--engine",
        "sim",
        "--scenario",
        "replay",
        "--data",
        write(tmp_path / "t.jsonl", rows),
        "--workers",
        "2",
        "--set",
        "load.warmup_s=1",
        "--results",
        str(tmp_path),
        results=tmp_path,
    )
    measured = [row for row in run.table() if row["phase"] == "measure"]
    assert sorted((row["conversation"], row["turn"]) for row in measured) == [
        (f"measure-{n:06d}", turn) for n in range(30) for turn in ("1", "2")
    ]
    assert {row["worker"] for row in measured} == {"0", "1"}
    assert all(row["completion_tokens"] == "3" for row in measured if row["status"] == "ok")
    replay = json.loads((run.path / "summary.json").read_text("utf-8"))["replay"]
    assert replay["sent"] == replay["requests"] == 60
    for path in run.path.iterdir():
        assert b"Mallory" not in path.read_bytes(), path.name
