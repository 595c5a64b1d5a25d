"""Soaks: whole runs that rotate, survive, end by a rule, or end within a grace (make test-slow)."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tokenswarm.base.errors import Exit
from tokenswarm.contract.tables import REQUESTS_CSV, table_parts

from .support import CLI, Finished, Started, run_cli, simulator, started

pytestmark = pytest.mark.slow

QUICK = "load.warmup_s=1 load.drain_s=5 user.think_time_s=0.05 rag.documents=3"
SIMULATED = f"engine.sim.time_scale=10 {QUICK}"


def soak(results: Path, *arguments: str, settings: str = SIMULATED, duration: str = "5m") -> list[str]:
    return [
        *CLI,
        "soak",
        "--results",
        str(results),
        "--users",
        "4",
        "--duration",
        duration,
        "--set",
        settings,
        *arguments,
    ]


def external(results: Path, url: str, *arguments: str, settings: str = "", duration: str = "5m") -> list[str]:
    return soak(
        results,
        "--engine",
        "external",
        "--host",
        url,
        *arguments,
        settings=f"{QUICK} {settings}".strip(),
        duration=duration,
    )


def rows_of(run: Finished) -> list[str]:
    return [line for path in table_parts(run.path, REQUESTS_CSV) for line in path.read_text().splitlines()[1:]]


def ending(run: Finished) -> ElementTree.Element:
    """The case of junit.xml that says whether the run went on to its end."""
    return ElementTree.parse(run.path / "junit.xml").find(".//testcase[@name='ended as planned']")


def _run_ended(run: Finished) -> str:
    """Why the summary says that the run did not end as planned."""
    return next(reason["sentence"] for reason in run.summary["reasons"] if reason["rule"] == "run_ended")


def answered(run: Started, rows: int = 10) -> bool:
    folder = run.folder()
    parts = table_parts(folder, REQUESTS_CSV) if folder else []
    return sum(path.read_text().count(",ok,") for path in parts) >= rows


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def test_rows_rotate_and_figures_are_there_while_the_run_goes_on(results: Path) -> None:
    command = soak(results, "--summary-every", "1s", settings=f"{SIMULATED} load.rotate_s=2")
    with started(command, results) as process:
        process.wait_until(lambda: process.rows() > 0 and len(table_parts(process.folder(), REQUESTS_CSV)) > 2, "parts")
        process.wait_until(lambda: (process.folder() / "summary.json").exists(), "a live summary")
        live = json.loads((process.folder() / "summary.json").read_text())
        page = run_cli("report", str(process.folder()), results=results.parent / "none")  # a dashboard at any moment
        assert page.code == 0 and "still going" in page.out
        assert "still going" in (process.folder() / "dashboard.html").read_text()
        process.signal(signal.SIGTERM)
        run = process.finish()
    assert (live["run"]["status"], live["run"]["going"]) == ("running", True)
    assert "still_going" in [reason["rule"] for reason in live["reasons"]]
    index = json.loads((run.path / "parts.json").read_text())
    assert len(rows_of(run)) == run.manifest["counts"]["rows"] == sum(p["rows"][REQUESTS_CSV] for p in index["parts"])
    assert run.summary["counts"]["rows_in_file"] == len(rows_of(run))
    assert run.summary["cache"]["yardstick"]["recorded"] is True
    assert run.left == []


def test_sigterm_ends_the_run_with_report_gates_and_junit(results: Path) -> None:
    with started(soak(results), results) as process:
        process.wait_until(lambda: answered(process), "answers")
        process.signal(signal.SIGINT)  # a CI system sends one, and the other a few seconds later
        process.signal(signal.SIGTERM)
        run = process.finish()
    assert run.code == Exit.INTERRUPTED, run.err
    assert run.manifest["status"] == "interrupted"
    assert run.manifest["ended_early"]["rule"] == "interrupted"
    assert run.summary["verdict"] != "VALID" and run.summary["slo"] and "drift" in run.summary
    assert "interrupted by" in ending(run).find("failure").get("message")
    assert "interrupted by" in run.page and (run.path / "summary.md").exists()
    assert len(rows_of(run)) == run.manifest["counts"]["sent"]
    assert "Traceback" not in run.err and run.left == []


def test_a_restart_is_survived_and_its_recovery_time_is_a_result(results: Path, tmp_path: Path) -> None:
    options = ("--port", str(free_port()), "--time-scale", "10")
    with contextlib.ExitStack() as second:
        with simulator(tmp_path / "first", *options) as url:
            process = second.enter_context(started(external(results, url, duration="9s"), results))
            process.wait_until(lambda: answered(process, 40), "answers")
        process.wait_until(lambda: ",connect_refused," in (process.folder() / REQUESTS_CSV).read_text(), "refusals")
        second.enter_context(simulator(tmp_path / "second", *options))
        run = process.finish()
    assert run.code in (Exit.SLO_MISSED, Exit.INVALID), run.err  # it went on to its end, with many errors
    assert run.manifest["status"] == "complete" and "ended_early" not in run.manifest
    assert ending(run).find("failure") is None
    outages = run.summary["outages"]
    assert outages["count"] == 1 and outages["list"][0]["recovered"] and outages["longest"]["value"] > 1
    assert outages["list"][0]["kinds"]["connect_refused"] >= 1
    assert "The engine was away once" in run.out and "The engine was away once" in run.page


def test_an_error_rate_ends_the_run(results: Path, tmp_path: Path) -> None:
    options = ("--port", str(free_port()), "--time-scale", "10")
    with contextlib.ExitStack() as second:
        with simulator(tmp_path / "sound", *options) as url:  # a first request is sent before the run begins
            command = external(results, url, "--abort-error-rate", "0.6", settings="abort.window_s=3")
            process = second.enter_context(started(command, results))
            process.wait_until(lambda: answered(process), "answers")
        second.enter_context(simulator(tmp_path / "broken", *options, "--fault", "status:500@0.9"))
        run = process.finish()
    assert run.code == Exit.TOO_MANY_ERRORS, run.err
    assert run.manifest["status"] == "aborted" and run.manifest["ended_early"]["rule"] == "error_rate"
    sentence = run.manifest["ended_early"]["sentence"]
    assert "requests failed within 3 s" in sentence and "abort.error_rate is 60%" in sentence
    assert sentence in run.err and sentence in _run_ended(run)
    assert sentence in ending(run).find("failure").get("message")
    assert "requests failed within 3 s" in run.page
    assert run.left == []


def test_an_engine_that_stays_away_ends_the_run(results: Path, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        with simulator(tmp_path / "sim", "--time-scale", "10") as url:
            command = external(results, url, settings="abort.silence_s=3 abort.window_s=1")
            process = stack.enter_context(started(command, results))
            process.wait_until(lambda: answered(process), "answers")
        run = process.finish()
    assert run.code == Exit.ENGINE_GONE, run.err
    assert run.manifest["ended_early"]["rule"] == "engine_gone"
    assert run.summary["outages"]["list"][-1]["recovered"] is False
    assert run.left == []


def test_an_engine_of_ours_that_dies_ends_the_run(results: Path) -> None:
    with started(soak(results), results) as process:
        process.wait_until(lambda: answered(process), "answers")
        process.find("tokenswarm.sim").kill()
        run = process.finish()
    assert run.code == Exit.ENGINE_GONE, run.err
    assert run.manifest["ended_early"] == {
        "rule": "engine_gone",
        "code": 21,
        "sentence": "Simulator ended during the run",
    }
    assert run.manifest["status"] == "aborted" and run.left == []


def test_a_disk_that_is_nearly_full_ends_the_run(results: Path) -> None:
    settings = f"{SIMULATED} abort.disk_free_mb=1e9 abort.disk_free_share=1.0"  # whatever there is, it is too little
    run = run_cli(*soak(results, settings=settings)[3:], results=results)
    assert run.code == Exit.DISK_NEARLY_FULL, run.err
    assert run.manifest["ended_early"]["rule"] == "disk_full" and "MB left" in run.err
    assert run.left == []
