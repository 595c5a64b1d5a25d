"""One prompt, asked of a running real engine and of one that is started for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.real_engines.real import API_KEY, ROOT, Server

REPEATS, TOKENS = 2, 8


def one_shot(results: Path, *arguments: str) -> dict[str, Any]:
    """oneshot.json of `python -m tokenswarm oneshot`, as a user types it."""
    line = ("--prompt", "What is this about?", "--repeats", str(REPEATS), "--max-tokens", str(TOKENS), "--json")
    done = subprocess.run(
        [sys.executable, "-m", "tokenswarm", "oneshot", *line, "--results", str(results), *arguments],
        cwd=ROOT,
        env=os.environ | {"API_KEY": API_KEY},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    record: dict[str, Any] = json.loads(done.stdout)
    return record


def of(record: dict[str, Any], case: str) -> list[dict[str, Any]]:
    """The requests of one case."""
    return [shot for shot in record["shots"] if shot["case"] == case]


@pytest.fixture(scope="module")
def record(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The running engine, asked with a context of about 1,500 tokens."""
    folder = tmp_path_factory.mktemp("oneshot")
    context = folder / "report.txt"
    context.write_text("The quick brown fox jumps over the lazy dog near the river, and nobody minds. " * 80)
    return one_shot(folder, "--host", server.engine.base_url, "--context", str(context))


def test_each_repeat_is_fresh_cached_cached_again_and_small(record: dict[str, Any]) -> None:
    assert Counter(shot["case"] for shot in record["shots"]) == dict.fromkeys(
        ("fresh", "cached", "cached_again", "small"), REPEATS
    )
    assert all(shot["status"] == "ok" and shot["completion_tokens"] == TOKENS for shot in record["shots"])


def test_the_engines_usage_says_what_was_cached_and_what_was_not(record: dict[str, Any], server: Server) -> None:
    block = max(int(server.engine.effective["block_size"]), 16)
    for shot in of(record, "fresh"):
        assert shot["cached_tokens"] < block, "its salt stands before everything"
    for shot in (*of(record, "cached"), *of(record, "cached_again")):
        assert shot["prompt_tokens"] - shot["cached_tokens"] <= block


def test_the_table_has_a_figure_with_an_interval_for_each_case_and_says_that_a_cpu_says_nothing_of_a_gpu(
    record: dict[str, Any], server: Server
) -> None:
    assert {row["case"] for row in record["rows"]} == {"fresh", "cached", "cached_again", "small"}
    assert record["engines"][0]["version"] == server.engine.version
    assert record["sentence"]
