"""`load --master` and `worker` as on several machines, but on one machine and without containers."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tokenswarm.base.errors import Exit
from tokenswarm.base.ports import free_port

from .support import CLI, load, started

pytestmark = pytest.mark.slow


def test_workers_that_were_started_by_themselves_load_for_a_master(tmp_path: Path, results: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    command = load(
        results,
        "--master",
        address,
        "--workers",
        "2",
        "--users",
        "6",
        settings="engine.sim.time_scale=10 user.think_time_s=0.05 rag.documents=3",
    )
    with ExitStack() as processes:
        workers = [
            processes.enter_context(started([*CLI, "worker", "--master", address], tmp_path / f"w-{number}"))
            for number in range(2)
        ]
        master = processes.enter_context(started(command, results))
        run = master.finish()
        ended = [worker.finish() for worker in workers]
    assert run.code in (Exit.PASSED, Exit.INVALID, Exit.SLO_MISSED), run.err
    assert {row["worker"] for row in run.table()} == {"0", "1"}
    assert run.manifest["counts"]["sent"] == len(run.table())
    clocks = run.manifest["workers"]
    assert len(clocks) == 2
    # One machine has one clock: what is measured between the two lies within the error that is stated for it.
    assert all(abs(worker["clock_offset_ms"]) <= worker["round_trip_ms"] for worker in clocks), clocks
    assert [(worker.code, worker.left) for worker in ended] == [(0, []), (0, [])]
