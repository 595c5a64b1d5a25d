"""docs/user-classes.md, followed step by step: from the copy to runs of one's own."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .pages import follow

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    """The page, done, with shorter runs that have less to do. The run folders that its commands made, in order."""
    with follow(
        "user-classes.md",
        tmp_path_factory.mktemp("walkthrough") / "checkout",
        {"10s": "4s"},
        "load.warmup_s=2 load.drain_s=5 rag.document_tokens=300",
    ) as reader:
        yield reader.made


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "requests.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def summary_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "summary.json").read_text())


def test_the_page_makes_four_runs(followed: list[Path]) -> None:
    assert [json.loads((folder / "run.json").read_text())["scenario"]["name"] for folder in followed] == [
        "rag",
        "support",
        "support",
        "support",
    ]
    assert {row["user_class"] for row in rows_of(followed[0])} == {"RagReader"}


def test_both_classes_ask_and_the_check_of_the_answers_is_a_column(followed: list[Path]) -> None:
    for folder in followed[1:]:
        rows = rows_of(folder)
        assert {row["user_class"] for row in rows} == {"SupportAgent", "Manager"}
        checked = {row["user_class"]: row["valid_output"] for row in rows if row["status"] == "ok"}
        assert checked["SupportAgent"] == "" and checked["Manager"] in ("true", "false")
        assert {row["error"] for row in rows} == {""}


def test_the_gate_of_one_class_is_judged(followed: list[Path]) -> None:
    gates = {gate["key"]: gate["state"] for gate in summary_of(followed[1])["slo"]}
    assert gates["Manager.e2e_p95_ms"] in ("met", "missed", "undetermined")
    assert gates["error_rate"] in ("met", "undetermined")


def test_the_open_loop_of_the_page_has_two_workers_and_a_schedule(followed: list[Path]) -> None:
    rows = rows_of(followed[2])
    assert {row["worker"] for row in rows} == {"0", "1"}
    assert all(row["scheduled_at"] for row in rows)
