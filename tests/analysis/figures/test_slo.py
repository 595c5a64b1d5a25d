"""Objectives: what a line means, which requests conform, when one is met."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenswarm.analysis.figures.certification import certify
from tokenswarm.analysis.figures.slo import conforming, goodput_figures, judge
from tokenswarm.analysis.figures.statistics import Estimate
from tokenswarm.analysis.figures.window import find_window
from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.summary import summarise
from tokenswarm.analysis.wording import verdict_words

from tests.analysis.make_run import START, manifest, row, write_run
from tokenswarm.contract.objectives import RequestBounds, bounds_of, parse_objectives, request_bounds
from tokenswarm.contract.summary.verdict_records import Certification


def one(key: str, limit: float):
    (objective,), refused = parse_objectives({key: limit})
    assert not refused
    return objective


@pytest.mark.parametrize(
    ("key", "metric", "q"),
    [
        ("ttft_p95_ms", "ttft_ms", 95),
        ("ttfo_p50_ms", "ttfo_ms", 50),
        ("e2e_p999_ms", "e2e_ms", 99.9),
        ("scheduled_ttft_p99_ms", "scheduled_ttft_ms", 99),
        ("tpot_p5_ms", "tpot_ms", 5),
    ],
)
def test_latency_key_names_metric_and_percentile(key: str, metric: str, q: float) -> None:
    objective = one(key, 100)
    assert (objective.metric, objective.percentile, objective.op) == (metric, q, "<=")


@pytest.mark.parametrize("key", ["ttft_ms", "speed_p95_ms", "ttft_p95", "nonsense"])
def test_unknown_key_is_refused_with_a_reason(key: str) -> None:
    assert parse_objectives({key: 1}) == ([], [(key, "this objective is not known")])


@pytest.mark.parametrize("limit", ["fast", True, float("nan"), [1]])
def test_limit_that_is_no_number_is_refused(limit: object) -> None:
    assert parse_objectives({"ttft_p95_ms": limit})[1] == [("ttft_p95_ms", "its limit is not a number")]


@pytest.mark.parametrize("table", [None, [], "x", {}, {"ttft_p95_ms": None}])
def test_no_table_has_no_objectives(table: object) -> None:
    assert parse_objectives(table) == ([], [])


def test_request_is_bound_by_the_largest_percentile_of_a_metric() -> None:
    objectives, _ = parse_objectives({"ttft_p50_ms": 200, "ttft_p99_ms": 900, "tpot_p95_ms": 30, "error_rate": 0.01})
    assert request_bounds(objectives) == {"ttft_ms": 900.0, "tpot_ms": 30.0}


def conform(tmp_path: Path, bounds: dict[str, float], **cells: object) -> str:
    rows = read_run(write_run(tmp_path, [row(**cells)])).requests
    met, unknown = conforming(rows, RequestBounds(bounds))
    return "met" if met[0] else "undetermined" if unknown[0] else "missed"


def test_request_at_its_bound_conforms(tmp_path: Path) -> None:
    assert conform(tmp_path, {"ttft_ms": 100.0}, ttft_ms=100.0) == "met"
    assert conform(tmp_path, {"ttft_ms": 99.9}, ttft_ms=100.0) == "missed"


def test_failed_request_meets_nothing(tmp_path: Path) -> None:
    assert conform(tmp_path, {"ttft_ms": 1000.0}, status="failed", error="truncated") == "missed"
    assert conform(tmp_path, {}, status="cancelled") == "missed"


def test_answer_of_one_token_has_no_tpot_to_miss(tmp_path: Path) -> None:
    assert conform(tmp_path, {"tpot_ms": 1.0}, completion_tokens=1, last_token_ms=100.0) == "met"


def test_answer_that_never_left_reasoning_missed_its_ttfo(tmp_path: Path) -> None:
    assert conform(tmp_path, {"ttfo_ms": 1e6}, ttfo_ms=None) == "missed"


def test_ttft_of_an_answer_that_was_not_streamed_is_undetermined(tmp_path: Path) -> None:
    plain = {"ttft_ms": None, "ttfo_ms": None, "last_token_ms": None}
    assert conform(tmp_path, {"ttft_ms": 100.0}, **plain) == "undetermined"
    assert conform(tmp_path, {"ttft_ms": 100.0, "e2e_ms": 1.0}, **plain) == "missed"


def test_goodput_divides_conforming_requests_by_the_window_and_attainment_by_all_sent(tmp_path: Path) -> None:
    rows = [row(sent_at=START + i, ttft_ms=50.0) for i in range(6)]
    rows += [row(ttft_ms=500.0), row(status="failed", error="truncated"), row(status="cancelled"), row(phase="warmup")]
    run = read_run(write_run(tmp_path, rows, manifest(seconds=12.0)))
    found = goodput_figures(run.measured, RequestBounds(bounds_of({"ttft_p95_ms": 100})), find_window(run))
    assert found.attainment.value == pytest.approx(6 / 9)
    assert found.goodput_rps.value == pytest.approx(0.5)
    low, high = found.goodput_rps.ci95
    assert low < 0.5 < high


@pytest.mark.parametrize(
    ("key", "limit", "value", "low", "high", "state", "certain", "margin"),
    [
        ("ttft_p95_ms", 400, 300, 280, 330, "met", True, 0.25),
        ("ttft_p95_ms", 400, 390, 350, 430, "met", False, 0.025),
        ("ttft_p95_ms", 400, 500, 450, 560, "missed", True, -0.25),
        ("ttft_p95_ms", 400, 500, 390, None, "missed", False, -0.25),
        ("ttft_p95_ms", 400, 300, 280, None, "met", False, 0.25),
        ("goodput_rps_min", 4, 5, 4.5, 5.5, "met", True, 0.25),
        ("goodput_rps_min", 4, 3, 2.5, 4.5, "missed", False, -0.25),
    ],
)
def test_objective_is_judged_by_value_and_certain_by_interval(
    key: str, limit: float, value: float, low: float, high: float | None, state: str, certain: bool, margin: float
) -> None:
    result = judge(one(key, limit), Estimate(value, low, high, 500).figure("ms"))
    assert (result.state, result.certain, result.margin) == (state, certain, pytest.approx(margin))


def test_an_objective_is_certain_where_every_one_of_many_requests_is_far_below_its_limit() -> None:
    values = np.random.default_rng(1).lognormal(4.6, 0.2, 500)
    open_above = Estimate(182.0, 150.0, None, 500).figure("ms")
    objective = one("ttft_p95_ms", 5000)
    assert judge(objective, open_above).certain is False
    told = judge(objective, open_above, certify(values, 95, 5000))
    assert (told.state, told.certain) == ("met", True)
    assert told.certification.over == 0
    assert verdict_words(told) == "met, 4,818 ms to spare"


def test_what_is_missed_is_never_made_certain_by_a_certificate() -> None:
    told = judge(
        one("ttft_p95_ms", 100), Estimate(182.0, 90.0, None, 500).figure("ms"), Certification(True, 500, 0, 500.0)
    )
    assert (told.state, told.certain) == ("missed", False)
    assert verdict_words(told) == "missed, not certain, 82.0 ms over"


def test_too_few_requests_leave_an_objective_undetermined(tmp_path: Path) -> None:
    told = manifest()
    told["scenario"]["values"] = {"slo": {"ttft_p95_ms": 400, "ttft_p50_ms": 400, "bogus": 1}}
    results = {r.key: r for r in summarise(read_run(write_run(tmp_path, [row()] * 5, told))).slo}
    assert results["ttft_p95_ms"].state == "undetermined"
    assert results["ttft_p95_ms"].figure.why == "needs 20 requests, has 5"
    assert results["ttft_p50_ms"].state == "met"
    assert results["bogus"].state == "undetermined"
