"""Constraints: first use against later ones, valid, cut and refused answers of each."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenswarm.analysis.figures.constrained_answers import constraint_uses
from tokenswarm.analysis.read.run_folder import read_run

from tokenswarm.contract.manifest import ScenarioRecord

from ..make_run import START, row, write_run

SCENARIO = ScenarioRecord(workload="structured", values={"structured": {"unique": False}})


def uses(folder: Path, rows: list[dict], scenario: ScenarioRecord = SCENARIO) -> dict:
    run = read_run(write_run(folder / "run", rows))
    return {each.name: each for each in constraint_uses(run.requests, run.measured, scenario)}


def asked(at_s: float, ttft_ms: float, **cells):
    return row(**{"document": "flat", "sent_at": START + at_s, "ttft_ms": ttft_ms, "valid_output": True, **cells})


def test_the_first_use_is_all_that_waited_for_the_compilation_and_may_be_in_the_warm_up(tmp_path: Path) -> None:
    rows = [
        asked(-5, 900, phase="warmup"),
        asked(-4.5, 400, phase="warmup"),
        asked(-2, 30, phase="warmup"),
        *(asked(number, 20 + number / 10) for number in range(30)),
    ]
    flat = uses(tmp_path, rows)["flat"]
    assert (flat.first_ttft_ms.value, flat.first_ttft_ms.n) == (650, 2)
    assert flat.later_ttft_ms.value == pytest.approx(21.45) and flat.later_ttft_ms.n == 30


def test_where_each_constraint_is_new_all_are_first_uses(tmp_path: Path) -> None:
    unique = ScenarioRecord(workload="structured", values={"structured": {"unique": True}})
    flat = uses(tmp_path, [asked(number, 500) for number in range(30)], unique)["flat"]
    assert (flat.first_ttft_ms.value, flat.first_ttft_ms.n) == (500, 30)
    assert flat.later_ttft_ms.value is None and flat.later_ttft_ms.why == "every constraint was new"


def test_cut_answers_are_apart_and_refused_ones_have_the_engine_s_words(tmp_path: Path) -> None:
    rows = [
        asked(1, 20),
        asked(2, 20, valid_output=False),
        asked(3, 20, valid_output=False, finish_reason="length"),
        asked(4, 20, document="control-flat", valid_output=None),
        asked(
            5,
            20,
            document="large",
            status="failed",
            error="rejected",
            error_detail="too many states",
            valid_output=None,
        ),
    ]
    found = uses(tmp_path, rows)
    assert set(found) == {"flat", "large"}
    assert (found["flat"].requests, found["flat"].valid.value, found["flat"].cut) == (3, 0.5, 1)
    assert (found["large"].refused, found["large"].refusal) == (1, "too many states")
    assert found["large"].first_ttft_ms.value is None


def test_other_workloads_have_none(tmp_path: Path) -> None:
    assert uses(tmp_path, [asked(1, 20)], ScenarioRecord(workload="rag")) == {}
