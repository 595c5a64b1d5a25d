"""docs/user-classes.md, followed step by step: from the copy to runs of one's own."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tokenswarm.base.errors import Exit

from .pages import checkout, reader_environment, steps
from .support import PATIENCE_S

pytestmark = pytest.mark.slow
_VERDICTS = {Exit.PASSED, Exit.SLO_MISSED, Exit.INVALID, Exit.OVERLOADED, Exit.UNDETERMINED}
"""A busy machine may make any run slow or INVALID; nothing else may happen."""

_QUICKLY = {"10s": "4s", "SET": "load.warmup_s=2 load.drain_s=5 rag.document_tokens=300"}
"""The page's runs, shorter and with less to do: what they show is the same."""


class Reader:
    """Somebody who does what the page says."""

    def __init__(self, folder: Path) -> None:
        self.folder = checkout(folder)
        self.output: list[str] = []

    def run(self, command: str) -> Path | None:
        """A command to its end; the run folder that it made, if any."""
        before = self.runs()
        done = subprocess.run(["bash", "-c", command.replace("10s", _QUICKLY["10s"])], cwd=self.folder,
                              env=reader_environment(SET=_QUICKLY["SET"]), capture_output=True, text=True,
                              timeout=PATIENCE_S, stdin=subprocess.DEVNULL)
        self.output.append(done.stdout + done.stderr)
        code = int(found[1]) if (found := re.search(r"Error (\d+)", done.stderr)) else done.returncode
        assert code in _VERDICTS, f"{command}: {code}\n{self.output[-1]}"
        made = self.runs() - before
        assert len(made) <= 1
        return made.pop() if made else None

    def start(self, command: str) -> subprocess.Popen[str]:
        """A command in another terminal."""
        return subprocess.Popen(["bash", "-c", f"exec {command}"], cwd=self.folder, env=reader_environment(), text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                start_new_session=True)

    def runs(self) -> set[Path]:
        return {path.parent for path in (self.folder / "results").glob("*/run.json")}


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    """The page, done. The run folders that its commands made, in order."""
    reader = Reader(tmp_path_factory.mktemp("walkthrough") / "checkout")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    made: list[Path] = []
    simulator = None
    try:
        for what, text in steps("user-classes.md"):
            if what != "run":
                (reader.folder / what.removeprefix("write ")).write_text(text, "utf-8")
                continue
            command = text.replace("8088", port)  # the page's may be taken on this machine
            if command.startswith("make sim"):
                simulator = reader.start(command)
                _wait_for(int(port))
            elif folder := reader.run(command):
                made.append(folder)
        yield made
    finally:
        if simulator is not None:
            _end(simulator)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("the simulator does not listen")


def _end(process: subprocess.Popen[str]) -> None:
    """`make` and what it started."""
    os.killpg(process.pid, signal.SIGTERM)
    process.communicate(timeout=PATIENCE_S)


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "requests.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def summary_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "summary.json").read_text())


def test_the_page_makes_four_runs(followed: list[Path]) -> None:
    assert [json.loads((folder / "run.json").read_text())["scenario"]["name"] for folder in followed] \
        == ["rag", "support", "support", "support"]
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
