"""The user's own prompts through the whole command line, over two processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tokenswarm.base.errors import Exit

from .echoing import echoing
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


def test_a_server_that_quotes_prompts_everywhere_brings_them_into_no_file_and_no_output(tmp_path: Path) -> None:
    marks = ("mallory", "zephyrine", "quobble", "confides")
    file = tmp_path / "in" / "prompts.jsonl"
    file.parent.mkdir()
    prompt = "Mallory confides the merger of Zephyrine and Quobble, number {}: what now?"
    rows = [{"prompt": prompt.format(n), "expected": "Quobble", "timestamp": 0.05 * n} for n in range(120)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with echoing() as url:
        run = run_cli(
            *("load", "--engine", "external", "--host", url, "--model", "m", "--scenario", "replay"),
            *("--data", str(file), "--results", str(tmp_path / "out")),
            *("--set", "load.warmup_s=1 load.drain_s=3 retry.attempts=2 replay.context_tokens=8000"),
            results=tmp_path / "out",
        )
    kinds = {row["error"] for row in run.table()}
    assert {"rejected", "server_error", "rate_limited", "malformed_event", "engine_error"} <= kinds, run.err
    for name, text in (("out", run.out), ("err", run.err)):
        assert not any(mark in text.lower() for mark in marks), name
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(files) > 8
    for path in files:
        assert not any(mark in path.read_bytes().decode("utf-8", "replace").lower() for mark in marks), path.name
