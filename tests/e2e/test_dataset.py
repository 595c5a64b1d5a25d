"""Prompts of one's own through the whole command line, over two processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tokenswarm.base.errors import Exit

from .support import run_cli

pytestmark = pytest.mark.slow


def test_prompts_of_a_file_are_asked_by_two_processes_and_their_text_is_kept_nowhere(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text(
        "".join(
            json.dumps({"prompt": f"Mallory's question {n}", "expected": "e", "max_tokens": 4, "session_id": n // 2})
            + "\n"
            for n in range(400)
        ),
        "utf-8",
    )
    run = run_cli(
        "load",
        "--engine",
        "sim",
        "--scenario",
        "dataset",
        "--data",
        str(file),
        "--workers",
        "2",
        "--users",
        "4",
        "--duration",
        "2s",
        "--set",
        "load.warmup_s=1",
        "--results",
        str(tmp_path),
        results=tmp_path,
    )
    assert run.err == ""
    rows = [row for row in run.table() if row["status"] == "ok"]
    assert {row["worker"] for row in rows} == {"0", "1"}
    assert all(1 <= int(row["completion_tokens"]) <= 4 for row in rows)
    assert {row["turn"] for row in rows} == {"1", "2"}
    assert {row["valid_output"] for row in rows} <= {"true", "false"}
    assert run.manifest["scenario"]["values"]["dataset"]["sha256"]
    for path in run.path.iterdir():
        assert b"Mallory" not in path.read_bytes(), path.name


def test_a_file_that_is_not_there_ends_the_command_before_anything_is_started(tmp_path: Path) -> None:
    run = run_cli(
        "load",
        "--scenario",
        "dataset",
        "--data",
        str(tmp_path / "none.jsonl"),
        "--results",
        str(tmp_path),
        results=tmp_path,
    )
    assert run.code == Exit.DATA
    assert "none.jsonl cannot be read: No such file" in run.err
    assert not list(tmp_path.glob("2*"))
