"""Tasks: which began and ended, completion times with some unfinished, and amounts per task."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tokenswarm.analysis.figures.slo import evaluate
from tokenswarm.analysis.figures.task_figures import completion, task_figures, task_lengths
from tokenswarm.analysis.figures.window import Window
from tokenswarm.analysis.read.run_folder import read_run

from tokenswarm.contract.objectives import parse_objectives
from tokenswarm.contract.summary.request_records import Goodput

from ..make_run import START, row, write_run


def step(task: str, number: int | None, steps: int, at_s: float, **cells):
    return row(
        task=task,
        task_step=number,
        task_steps=steps,
        sent_at=START + at_s,
        valid_output=True,
        finish_reason="tool_calls",
        prompt_tokens=1000,
        cached_tokens=900,
        completion_tokens=50,
        e2e_ms=1000.0,
        conversation=task,
        **cells,
    )


def measured(folder: Path, rows: list[dict]) -> pd.DataFrame:
    return read_run(write_run(folder / "run", rows)).measured


def test_a_task_takes_from_its_first_request_to_the_end_of_its_last_answer(tmp_path: Path) -> None:
    rows = measured(
        tmp_path,
        [
            step("whole", 1, 2, 0),
            step("whole", None, 2, 5),
            step("whole", 2, 2, 9),
            step("failed", 1, 3, 1),
            step("failed", 2, 3, 4, status="failed", error="server_error"),
            step("cut off", 1, 3, 2),
            step("cut off", 2, 3, 30),
            step("begun before", 3, 4, 0),
            step("begun before", 4, 4, 3),
        ],
    )
    lengths = task_lengths(rows)
    assert lengths["outcome"].to_dict() == {"whole": "completed", "failed": "failed", "cut off": "unfinished"}
    assert lengths["seconds"].round(3).to_dict() == {"whole": 10.0, "failed": 4.0, "cut off": 28.0}


def test_a_step_that_failed_and_was_tried_again_is_no_failed_task(tmp_path: Path) -> None:
    rows = measured(
        tmp_path,
        [step("t", 1, 2, 0, status="failed", error="overloaded"), step("t", 1, 2, 1, attempt=2), step("t", 2, 2, 4)],
    )
    assert task_lengths(rows).loc["t"].tolist() == [5.0, "completed"]


def test_amounts_are_those_of_the_window_over_the_tasks_that_ended_in_it(tmp_path: Path) -> None:
    rows = measured(
        tmp_path,
        [step(f"t{n}", number, 3, 6 * n + 2 * number) for n in range(9) for number in (1, 2, 3)]
        + [step(f"t{n}", None, 3, 6 * n + 3) for n in range(9)],
    )
    figures = task_figures(rows, Window(START, START + 60, "phases"))
    assert (figures.begun, figures.completed, figures.failed, figures.unfinished) == (9, 9, 0, 0)
    assert figures.requests.value == 4 and figures.sub_agent_requests.value == 1
    assert figures.sent_tokens.value == 4000 and figures.output_tokens.value == 200
    assert figures.computed_tokens.value == 600
    assert figures.computed_share.value == pytest.approx(600 / 4200)
    assert figures.completed_s.value == pytest.approx(9 / 60) and figures.completed_s.unit == "task/s"
    assert figures.completion_p95_ms.value is None and figures.completion_p95_ms.why.startswith("needs ")


def test_cut_answers_are_no_invalid_calls(tmp_path: Path) -> None:
    rows = [step(f"t{n}", 1, 2, n) for n in range(30)]
    for place, each in enumerate(rows):
        each |= {"finish_reason": "length", "valid_output": False} if place % 3 == 0 else {"valid_output": place != 1}
    figures = task_figures(measured(tmp_path, rows), None)
    assert figures.cut.value == pytest.approx(1 / 3) and figures.valid_calls.value == pytest.approx(19 / 20)


def test_a_run_without_tasks_has_no_figures_of_them(tmp_path: Path) -> None:
    assert task_figures(measured(tmp_path, [row(), row()]), None) is None


def test_an_objective_may_bound_the_completion_of_tasks(tmp_path: Path) -> None:
    rows = measured(tmp_path, [step(f"t{n}", number, 2, n + 8 * number) for n in range(40) for number in (1, 2)])
    objectives, refused = parse_objectives({"task_p95_ms": 5000, "task_p50_ms": 20000, "tasks_s_min": 0.01})
    gates = evaluate(objectives, refused, rows, Goodput(), {}, Window(START, START + 60, "phases"))
    assert [(gate.key, gate.state) for gate in gates] == [
        ("task_p95_ms", "missed"),
        ("task_p50_ms", "met"),
        ("tasks_s_min", "met"),
    ]


def test_unfinished_tasks_do_not_make_completion_times_look_short_and_intervals_cover() -> None:
    rng, true_p50 = np.random.default_rng(5), 30.0 * np.log(2)
    medians, covered, shown = [], 0, 200
    for _ in range(shown):
        lengths, seen = rng.exponential(30.0, 80), rng.uniform(0.0, 80.0, 80)
        estimate = completion(np.minimum(lengths, seen), lengths <= seen, 50)
        medians.append(estimate.value)
        covered += estimate.low <= true_p50 <= (np.inf if estimate.high is None else estimate.high)
    naive = np.median(lengths[lengths <= seen])
    assert np.mean(medians) == pytest.approx(true_p50, rel=0.06) and naive < 0.85 * true_p50
    assert covered / shown > 0.91


def test_a_percentile_that_too_few_tasks_reached_is_not_given() -> None:
    lengths = np.append(np.linspace(1, 10, 30), np.full(30, 10.0))
    estimate = completion(lengths, np.arange(60) < 30, 95)
    assert estimate.value is None and "measure longer" in estimate.why
