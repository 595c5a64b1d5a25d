"""Ctrl-C in a search, a race and a decision on the simulator: results are kept, and `--resume` continues."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tokenswarm.base.errors import Exit
from tokenswarm.contract.search_progress import SearchProgress, is_going_on, read_progress

from .support import CLI, Finished, run_cli, started

pytestmark = pytest.mark.slow

QUICK = "engine.sim.time_scale=10 user.think_time_s=0.05 rag.documents=4 load.warmup_s=1 load.drain_s=5"
SPACE = 'sample = "list"\n[[candidates]]\nmax_num_seqs = 2\n'
ON_A_BUSY_MACHINE_TOO = {Exit.PASSED, Exit.INVALID, Exit.SLO_MISSED}
"""A load generator that was the limit, or limits that were not met, are verdicts about speed: not the subject here."""
LONG_S = 900.0
"""A series is many runs."""
VIRTUAL = "load.duration_s=10 load.warmup_s=4 load.drain_s=6"


def interrupted(arguments: list[str], results: Path, when: Callable[[SearchProgress], bool]) -> Finished:
    """A command that is interrupted once its progress.json says so. It is held while one looks: what its file says is
    still so when the signal comes, however busy this machine is."""

    def reached() -> bool:
        with process.held():
            [*files] = results.glob("*/progress.json")
            if not (files and is_going_on(progress := read_progress(files[0].parent)) and when(progress)):
                return False
            process.signal(signal.SIGINT)
            return True

    with started([*CLI, *arguments, "--results", str(results)], results) as process:
        process.wait_until(reached, "the moment of the interruption", LONG_S)
        run = process.finish(end_s=LONG_S)
    assert run.code == Exit.INTERRUPTED, run.err
    assert "Traceback" not in run.err and run.left == []
    assert (read_progress(run.path).state, read_progress(run.path).now) == ("interrupted", None)
    return run


def answer(run: Finished, kind: str) -> dict[str, Any]:
    return json.loads((run.path / f"{kind}.json").read_text())


def second_run(progress: SearchProgress) -> bool:
    return progress.runs >= 1 and progress.now is not None and progress.now.number == 2


def test_a_search_for_a_capacity_goes_on(results: Path) -> None:
    asked = ["capacity", "--scenario", "rag", "--users", "2", "--duration", "2s", "--set", QUICK]
    run = interrupted(asked, results, second_run)
    found = answer(run, "capacity")
    assert found["capacity"]["reason"] == "interrupted" and (run.path / "capacity.html").exists()
    assert "continues" in run.out and len(found["levels"]) == 1, "the level that was cut says nothing"
    spent = sum(each["requests"] for each in found["runs"])
    cut = len(found["runs"]) - len(found["levels"][0]["run"])
    again = run_cli(*asked, "--resume", str(run.path), "--max-requests", str(spent + 1), results=results, end_s=LONG_S)
    assert again.code == Exit.PASSED, again.err
    more = answer(run, "capacity")
    assert more["capacity"]["reason"] == "budget" and len(more["runs"]) == len(found["runs"]) + 1
    assert more["runs"][: len(found["runs"])] == found["runs"] and more["salt"] == found["salt"]
    told = sum(len(level["run"]) for level in more["levels"])
    assert told == len(more["runs"]) - cut, "all but a run that was cut"
    assert read_progress(run.path).state == "ended"


def test_a_race_of_settings_goes_on(results: Path, tmp_path: Path) -> None:
    space = tmp_path / "space.toml"
    space.write_text(SPACE)
    slow_enough = QUICK.replace("time_scale=10", "time_scale=1")  # its answers are not soon stamped too late to tell
    asked = ["tune", "--scenario", "rag", "--users", "2", "--duration", "3s", "--space", str(space)]
    asked += ["--set", slow_enough]
    asked += ["--rounds", "1", "--pairs", "1"]
    run = interrupted(asked, results, second_run)
    kept = json.loads((run.path / "series.json").read_text())["rounds"][0]
    assert answer(run, "tune")["reason"] == "interrupted" and list(kept["figures"]) == ["default"]
    again = run_cli(*asked, "--resume", str(run.path), results=results, end_s=LONG_S)
    assert again.code in ON_A_BUSY_MACHINE_TOO, again.err
    tune = answer(run, "tune")
    assert tune["reason"] not in ("interrupted", "") and tune["time"]["race_runs"] >= 1
    kept_run = Path("..", Path(kept["runs"]["default"]).name)
    assert tune["candidates"][0]["runs"][0] == str(kept_run), "what was measured is not measured again"


def test_a_decision_goes_on_with_the_stage_that_was_under_way(results: Path, tmp_path: Path) -> None:
    space = tmp_path / "space.toml"
    space.write_text(SPACE)
    asked = ["decide", "--scenario", "chat", "--engines", "sim-vllm", "--users", "6", "--budget", "8m", "--rounds", "2"]
    asked += ["--space", str(space), "--set", VIRTUAL]
    run = interrupted(asked, results, lambda progress: progress.now is not None and progress.now.number == 2)
    found = answer(run, "decision")
    assert found["reason"] == "interrupted" and (run.path / "decision.html").exists()
    assert [each["state"] for each in found["stages"]] == ["done", "stopped"]
    again = run_cli(*asked, "--resume", str(run.path), results=results, end_s=LONG_S)
    assert again.code == Exit.PASSED, again.err
    decision = answer(run, "decision")
    assert [each["state"] for each in decision["stages"]] == ["done"] * 2
    assert decision["stages"][0] == found["stages"][0], "what was over is not made again"
    before, after = (each["sides"][0]["runs"] for each in (found, decision))
    assert after[: len(before)] == before and len(after) > len(before)
