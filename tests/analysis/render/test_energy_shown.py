"""Joules of a run with NVML readings appear on its page, in the terminal and in a comparison; else the reason does."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from tokenswarm.analysis.compare.comparison import WORSE, compare
from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.render.dashboard import render
from tokenswarm.analysis.render.terminal_summary import summary_table
from tokenswarm.analysis.summary import summarise

from tests.analysis.make_run import START, manifest, row, write_run
from tokenswarm.contract.summary.summary_record import Summary

SECONDS, WATTS = 60, 350.0


def folder(path: Path, watts: float | None, seed: int = 1) -> Path:
    """Answers of 50 tokens, two a second, on a GPU that is read each second; None: on a machine without one."""
    rng = np.random.default_rng(seed)
    rows = [
        row(sent_at=START + at, completion_tokens=50, request_id=f"r-{number}")
        for number, at in enumerate(np.sort(rng.uniform(0, SECONDS, 2 * SECONDS)))
    ]
    host = [{"at": START + at, "source": "worker 0", "cpu_share": 0.3} for at in range(SECONDS)]
    host += [
        {
            "at": START + at,
            "source": "gpu 0",
            "gpu_energy_j": 4e6 + watts * at,
            "gpu_power_w": watts,
            "gpu_own_processes": 1,
            "gpu_other_processes": 0,
        }
        for at in range(-2, SECONDS + 3)
        if watts is not None
    ]
    facts = manifest(seconds=float(SECONDS)) | {"simulated": False, "seed": seed}
    return write_run(path, rows, facts, host=host)


def summary_of(path: Path, watts: float | None, seed: int = 1) -> Summary:
    return summarise(read_run(folder(path, watts, seed)))


def printed(summary: Summary) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(summary_table(summary))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_run_shows_its_joules_with_intervals_and_each_gpus(tmp_path: Path) -> None:
    run = read_run(folder(tmp_path / "run", WATTS))
    summary = summarise(run)
    assert summary.energy.per_output_token.value == pytest.approx(WATTS * SECONDS / (2 * SECONDS * 50), rel=0.05)
    assert None not in summary.energy.per_request.ends
    page, terminal = render(run, summary), printed(summary)
    for words in ("Energy of an output token", "Energy of a request"):
        assert words in page and words in terminal
    assert "Energy of GPU 0" in page and "350 W on average, by its energy counter" in page


def test_a_comparison_has_the_joules_of_both_sides(tmp_path: Path) -> None:
    a, b = (
        [summary_of(tmp_path / f"{name}{seed}", watts, seed) for seed in (1, 2, 3)]
        for name, watts in (("a", WATTS), ("b", 1.5 * WATTS))
    )
    found = {result.metric.key: result for result in compare(a, b)}
    for key in ("joules_per_output_token", "joules_per_request"):
        assert found[key].state == WORSE and found[key].known.change == pytest.approx(1.5, rel=0.02)


def test_without_a_gpu_the_reason_stands_there_and_never_a_zero(tmp_path: Path) -> None:
    run = read_run(folder(tmp_path / "run", None))
    summary = summarise(run)
    page = render(run, summary)
    assert "not known: no GPU of the engine is visible from here" in page
    assert "Energy of an output token" not in page and "Energy of an output token" not in printed(summary)
    assert summary.energy.joules.value is None
