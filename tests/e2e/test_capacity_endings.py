"""How a search for a capacity ends, with a real load generator and the simulator: each ending has its reason in
capacity.json, keeps what was measured, has an exit code, and leaves no process behind. Ctrl-C, and going on after it,
is in test_search_interrupts.py."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tokenswarm.base.errors import Exit
from tokenswarm.contract.search_progress import read_progress

from .support import CLI, Finished, run_cli, simulator, started

pytestmark = pytest.mark.slow

QUICK = "user.think_time_s=0.05 rag.documents=4 load.warmup_s=1 load.drain_s=5"
ASKED = ("capacity", "--scenario", "rag", "--users", "2", "--duration", "2s")
LONG_S = 600.0
"""A search is many runs."""


def found(run: Finished) -> dict[str, Any]:
    """capacity.json, of a search that left its pages and nothing else."""
    assert "Traceback" not in run.err and run.left == [], run.err
    assert all((run.path / name).exists() for name in ("capacity.html", "capacity.md", "junit.xml"))
    assert read_progress(run.path).state == "ended"
    return json.loads((run.path / "capacity.json").read_text())


def search(results: Path, *more: str) -> Finished:
    return run_cli(*ASKED, *more, "--results", str(results), results=results, end_s=LONG_S)


def test_a_budget_ends_it_with_what_is_known_and_a_load_in_between_is_not_decided(results: Path) -> None:
    quick = f"engine.sim.time_scale=10 {QUICK}"
    run = search(results, "--max-requests", "1", "--at-least", "100000", "--set", quick)
    record = found(run)
    assert run.code == Exit.UNDETERMINED, run.err
    assert record["capacity"]["reason"] == "budget" and len(record["runs"]) == 1
    assert "budget" in run.out


def test_an_engine_that_is_killed_fails_at_that_load_and_the_search_goes_on_with_a_new_one(results: Path) -> None:
    asked = [*CLI, *ASKED, "--max-requests", "60", "--results", str(results)]
    with started([*asked, "--set", f"engine.sim.time_scale=4 {QUICK}"], results) as process:

        def measuring() -> bool:
            folder = process.folder()
            runs = list(folder.glob("*/requests.csv")) if folder else []
            return bool(runs) and runs[0].read_text().count("\n") > 3

        process.wait_until(measuring, "the first answers", LONG_S)
        engine = process.find("tokenswarm.sim")
        assert engine is not None
        engine.send_signal(signal.SIGKILL)
        run = process.finish(end_s=LONG_S)
    record = found(run)
    assert run.code == Exit.PASSED, run.err
    assert record["runs"][0]["died"] and not record["runs"][-1]["died"], "the others had an engine of their own"
    [killed] = [each for each in record["levels"] if each["load"] == 2]
    assert (killed["state"], killed["why"]) == ("fail", "died")
    assert record["capacity"]["sure_fail"] == 2


def test_an_endpoint_that_refuses_requests_has_shown_no_capacity(results: Path, tmp_path: Path) -> None:
    with simulator(tmp_path / "sim", "--time-scale", "10", "--fault", "status:429@0.3") as url:
        run = search(results, "--host", url, "--set", QUICK, "--at-least", "1")
    record = found(run)
    assert run.code == Exit.UNDETERMINED, run.err
    figure = record["capacity"]
    assert figure["reason"] == "refused" and figure["sure_fail"] is None and "429" in figure["limit_why"]
    assert all(each["state"] == "limited" for each in record["levels"])
    assert "429" in run.out


def test_a_load_generator_that_is_the_limit_makes_it_a_lower_bound_that_says_so(results: Path) -> None:
    """Too few open files: users beyond them get no connection, however fast the engine is."""
    limited = ["bash", "-c", 'ulimit -n 110 && exec "$@"', "limited", *CLI]
    asked = [*ASKED, "--users", "32", "--results", str(results)]
    with started([*limited, *asked, "--set", f"engine.sim.time_scale=10 {QUICK}"], results) as process:
        run = process.finish(end_s=LONG_S)
    record = found(run)
    figure = record["capacity"]
    assert run.code == Exit.PASSED, run.err
    assert figure["reason"] == "limited" and figure["sure_fail"] is None
    assert any(each["state"] == "limited" for each in record["levels"])
