"""Runs that end early: measurements are kept, and everything that was started is stopped."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from tokenswarm.base.errors import Exit

from .support import Finished, Started, left_behind, load, started

pytestmark = pytest.mark.slow
SIMULATOR, LOCUST = "tokenswarm.sim", "-m tokenswarm.locust_main"


def _kept(run: Finished) -> None:
    """What was measured is there, with its dashboard, and nothing still runs."""
    rows, counts = run.table(), run.manifest["counts"]
    assert any(row["status"] == "ok" and row["phase"] == "measure" for row in rows)
    if counts is not None:
        assert counts["sent"] == counts["rows"] == len(rows)
    assert run.summary["counts"]["measured"]["ok"] > 0
    assert "SIMULATED" in run.page
    assert run.left == []


def test_ctrl_c_ends_the_run_in_good_order(long_run: Started) -> None:
    long_run.signal(signal.SIGINT)
    run = long_run.finish()
    assert run.code == Exit.INTERRUPTED, run.err
    assert run.manifest["status"] == "interrupted"
    assert run.summary["verdict"] != "VALID"
    assert "Traceback" not in run.err
    _kept(run)
    # What the interrupt cut off counts neither as a success nor as a failure.
    assert {row["status"] for row in run.table()} <= {"ok", "cancelled"}


def test_two_signals_quit_at_once(long_run: Started) -> None:
    long_run.signal(signal.SIGSTOP)  # so that the second comes before the first has been obeyed, however busy we are
    long_run.signal(signal.SIGINT)
    long_run.signal(signal.SIGTERM)  # another number: two of the same may be delivered as one
    long_run.signal(signal.SIGCONT)
    run = long_run.finish()
    assert run.code == Exit.INTERRUPTED
    assert "Traceback" not in run.err
    assert run.table() and not (run.path / "dashboard.html").exists()
    assert run.left == []


def test_sigterm_is_like_ctrl_c_also_with_two_workers(results: Path) -> None:
    command = load(
        results,
        "--users",
        "4",
        "--workers",
        "2",
        duration="5m",
        settings="engine.sim.time_scale=10 user.think_time_s=0.05 rag.documents=3",
    )
    with started(command, results) as process:
        process.wait_until(lambda: process.rows() > 5, "rows")
        process.signal(signal.SIGTERM)
        run = process.finish()
    assert run.code == Exit.INTERRUPTED, run.err
    assert run.manifest["status"] == "interrupted"
    assert run.manifest["counts"]["sent"] == len(run.table())
    assert run.manifest["counts"]["workers_lost"] == 0
    assert run.left == []


def test_signal_during_the_warm_up_leaves_a_readable_run(results: Path) -> None:
    with started(load(results, settings="load.warmup_s=60 engine.sim.time_scale=10"), results) as process:
        process.wait_until(lambda: process.rows() > 0, "rows")
        process.signal(signal.SIGINT)
        run = process.finish()
    assert run.code == Exit.INTERRUPTED, run.err
    assert run.manifest["status"] == "interrupted"
    assert {row["phase"] for row in run.table()} == {"warmup"}
    assert "SIMULATED" in run.page
    assert run.left == []


def test_signal_while_the_engine_starts_leaves_nothing(results: Path) -> None:
    with started(load(results, duration="5m"), results) as process:
        process.wait_until(lambda: process.find(SIMULATOR), "the simulator's process")
        process.signal(signal.SIGINT)
        run = process.finish()
    assert run.code == Exit.INTERRUPTED
    assert "Traceback" not in run.err
    assert run.left == []
    # The folder is gone, unless the engine was quick and the run had begun.
    assert run.folder is None or (run.path / "run.json").exists()


def test_signal_while_an_endpoint_does_not_answer(results: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with started(load(results, "--engine", "external", "--host", url), results) as process:
            silent.settimeout(60)
            connection, _ = silent.accept()
            process.signal(signal.SIGINT)
            run = process.finish()
            connection.close()
    assert run.code == Exit.INTERRUPTED
    assert run.err.strip() == "tokenswarm: interrupted"
    assert run.folder is None and run.left == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_load_generator_alone_is_told(long_run: Started, number: signal.Signals) -> None:
    long_run.find(LOCUST).send_signal(number)
    run = long_run.finish()
    assert run.code == Exit.LOAD_GENERATOR, run.err
    assert (
        "was stopped by something other than this command" in run.err
        and run.manifest["ended_early"]["rule"] == "stopped"
    )
    assert run.summary["outcome"]["name"] == "ENDED_EARLY"
    _kept(run)


def test_load_generator_that_is_killed(long_run: Started) -> None:
    long_run.find(LOCUST).kill()
    run = long_run.finish()
    assert run.code == Exit.LOAD_GENERATOR
    assert "load generator" in run.err and "Traceback" not in run.err
    assert run.manifest["status"] == "failed"
    _kept(run)


def test_an_engine_that_dies_ends_the_run_with_its_name_and_keeps_the_rows(long_run: Started) -> None:
    long_run.find(SIMULATOR).kill()
    run = long_run.finish()
    assert run.code == Exit.ENGINE
    assert "Simulator ended during the run" in run.err and "Traceback" not in run.err
    assert run.manifest["status"] == "failed"
    _kept(run)


def test_command_line_that_is_killed_takes_everything_with_it(long_run: Started) -> None:
    long_run.process.kill()
    long_run.process.wait()
    assert left_behind(long_run.mark) == []
    # The load generator saw that nobody waits any more and handed its rows over before it went.
    assert (long_run.folder() / "requests.csv").read_text().endswith("\n")


def test_worker_that_is_killed_makes_the_run_invalid(results: Path) -> None:
    command = load(
        results,
        "--users",
        "4",
        "--workers",
        "2",
        duration="6s",
        settings="engine.sim.time_scale=10 user.think_time_s=0.05 rag.documents=3",
    )
    with started(command, results) as process:
        process.wait_until(lambda: process.rows() > 5, "rows")
        process.find("--worker").kill()
        run = process.finish()
    assert run.code == Exit.INVALID, run.err
    assert run.manifest["counts"]["workers_lost"] == 1
    assert any(reason["rule"] == "workers_lost" for reason in run.manifest["validity"]["reasons"])
    assert run.left == []


def test_a_full_disk_ends_the_run_with_a_sentence_and_keeps_whole_rows(results: Path) -> None:
    # No file may grow beyond 60 KiB: to the run that is a disk that fills up while it writes.
    command = load(
        results,
        "--users",
        "16",
        duration="5m",
        settings="engine.sim.time_scale=10 user.think_time_s=0.05 rag.documents=3 output.max_tokens=8",
    )
    with started(["bash", "-c", 'ulimit -f 60; exec "$@"', "limited", *command], results) as process:
        run = process.finish()
        folder = process.folder()
    assert run.code == Exit.RESULTS, run.err
    assert "cannot be written" in run.err and "what was written before is kept" in run.err
    assert "Traceback" not in run.err
    lines = (folder / "requests.csv").read_text().splitlines()
    assert len(lines) > 20 and lines[-1].count(",") >= lines[0].count(",")
    assert run.left == []
