"""Gates for CI: of single user classes too, as junit.xml, as Markdown, judged leniently or strictly."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from msgspec.structs import replace
from tokenswarm.analysis.compare.baseline import baseline_folders, regressions
from tokenswarm.analysis.figures.cost import cost_figures
from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.render.junit import junit
from tokenswarm.analysis.render.markdown import markdown
from tokenswarm.analysis.summary import summarise
from tokenswarm.analysis.verdict import gates

from tests.analysis.make_run import START, calm_host, manifest, row, write_run
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.commands.verdict import exit_code
from tokenswarm.contract.summary.figure import Figure
from tokenswarm.contract.summary.header_records import ScenarioHeader
from tokenswarm.contract.summary.summary_record import Summary


def summary_of(folder: Path, slo: dict, rows: list[dict] | None = None, **facts) -> Summary:
    rows = rows or [row(request_id=f"r{i}", sent_at=START + i / 4, ttft_ms=100.0 + i % 50) for i in range(240)]
    host = calm_host()
    scenario = manifest()["scenario"] | {"values": {"slo": slo}}
    return summarise(read_run(write_run(folder / "run", rows, manifest() | {"scenario": scenario} | facts, host=host)))


def states(summary: Summary) -> dict[str, str]:
    return {gate.key: gate.state for gate in summary.slo}


def test_gates_of_a_user_class_see_its_requests_only(tmp_path) -> None:
    rows = [
        row(
            request_id=f"r{i}",
            sent_at=START + i / 4,
            ttft_ms=900.0 if i % 2 else 100.0,
            user_class="Slow" if i % 2 else "Quick",
        )
        for i in range(240)
    ]
    slo = {
        "ttft_p95_ms": 500,
        "Quick": {"ttft_p95_ms": 500},
        "Slow": {"ttft_p95_ms": 500, "goodput_rps_min": 1},
        "Nobody": {"ttft_p95_ms": 500},
    }
    found = summary_of(tmp_path, slo, rows)
    assert states(found) == {
        "ttft_p95_ms": "missed",
        "Quick.ttft_p95_ms": "met",
        "Slow.ttft_p95_ms": "missed",
        "Slow.goodput_rps_min": "missed",
        "Nobody.ttft_p95_ms": "missed",
    }
    assert "no Nobody sent a request" in gates.sentence(found.slo[-1])


@pytest.mark.parametrize(
    ("slo", "lenient", "strict"),
    [
        ({"ttft_p95_ms": 500}, Exit.PASSED, Exit.PASSED),
        ({"ttft_p95_ms": 50}, Exit.SLO_MISSED, Exit.SLO_MISSED),
        ({"ttft_p999_ms": 500}, Exit.PASSED, Exit.UNDETERMINED),
    ],
)
def test_undetermined_passes_unless_it_is_judged_strictly(tmp_path, slo, lenient, strict) -> None:
    found = summary_of(tmp_path, slo)
    assert (exit_code(found), gates.judged(found, strict=True).code) == (lenient, strict)


def test_junit_has_one_case_a_gate_with_the_figures_in_the_message(tmp_path) -> None:
    found = summary_of(tmp_path, {"ttft_p95_ms": 50, "e2e_p95_ms": 9000, "ttft_p999_ms": 5})
    suite = ElementTree.fromstring(junit(found).encode())[0]
    cases = {case.get("name"): case for case in suite}
    assert list(cases) == [
        "valid",
        "ended as planned",
        "requests succeed",
        "slo.ttft_p95_ms",
        "slo.e2e_p95_ms",
        "slo.ttft_p999_ms",
    ]
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("6", "1", "1")
    message = cases["slo.ttft_p95_ms"].find("failure").get("message")
    assert "TTFT p95: 146 ms (" in message
    assert "limit ≤ 50 ms: missed, " in message
    assert cases["slo.ttft_p999_ms"].find("skipped") is not None
    strictly = ElementTree.fromstring(junit(found, strict=True).encode())[0]
    assert (strictly.get("failures"), strictly.get("skipped")) == ("2", "0")


def test_a_run_that_is_not_valid_fails_its_own_case(tmp_path) -> None:
    found = summary_of(tmp_path, {}, status="running")
    assert gates.cases(found)[0].state == gates.FAILED
    assert gates.cases(found)[0].message.startswith("ENDED EARLY: The run did not end as planned")


def test_that_a_run_ended_early_outranks_that_its_figures_are_invalid(tmp_path) -> None:
    ended = {"rule": "error_rate", "code": 20, "sentence": "12 of 20 requests failed within 60 s"}
    counts = {"sent": 240, "rows_lost": 0, "unsent": 7}
    found = summary_of(tmp_path, {}, status="aborted", ended_early=ended, counts=counts)
    cases = {case.name: case for case in gates.cases(found)}
    assert found.verdict == "INCOMPLETE"
    assert cases["ended as planned"].state == gates.FAILED and ended["sentence"] in cases["ended as planned"].message


def test_what_an_engine_says_breaks_neither_xml_nor_markdown(tmp_path) -> None:
    hostile = "</testcase>\x00\x1b[31m|<b>&`*_[x](y)"
    scenario = manifest()["scenario"] | {"name": hostile, "values": {"slo": {"ttft_p95_ms": 50}}}
    found = summary_of(tmp_path, {}, scenario=scenario, model=hostile)
    suite = ElementTree.fromstring(junit(found).encode())[0]
    assert len(suite) == 4
    text = markdown(found)
    assert "<b>" not in text
    assert "\\[x\\](y)" in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") - line.count("\\|") for line in table} == {6, 5}


def test_markdown_says_the_verdict_first_and_every_gate(tmp_path) -> None:
    text = markdown(summary_of(tmp_path, {"ttft_p95_ms": 50, "e2e_p95_ms": 9000}))
    assert text.splitlines()[2].startswith("❌ **SLO MISSED**: 1 of 2 gates is met, 1 is missed. TTFT p95: 146 ms")
    assert "❌ missed, " in text
    assert "✅ met, " in text
    assert "**SIMULATED**" in text


# ---- against an earlier run


def nights(folder: Path, ttft_then: list[float], ttft_now: float, **facts) -> tuple[list[Summary], Summary]:
    def rows(scale: float) -> list[dict]:
        return [
            row(request_id=f"r{i}", sent_at=START + i / 4, ttft_ms=scale * (1 + (i * 7 % 50) / 100)) for i in range(240)
        ]

    slo: dict = {}
    return (
        [
            summary_of(folder / f"then{number}", slo, rows(ttft), run_id=f"then{number}")
            for number, ttft in enumerate(ttft_then)
        ],
        summary_of(folder / "now", slo, rows(ttft_now), run_id="now", **facts),
    )


def test_a_regression_is_a_missed_gate_with_ratio_and_interval(tmp_path) -> None:
    earlier, now = nights(tmp_path, [100.0, 102.0, 99.0], 150.0)
    found = regressions(earlier, now)
    assert found.run_id == "then0, then1, then2"
    gate = next(gate for gate in found.gates if gate.key == "ttft_p95_ms")
    assert gate.state == "missed"
    assert gate.sentence.startswith("TTFT p95 1.50 times (")
    now.baseline = found
    now.outcome = gates.judged(now)
    assert exit_code(now) == Exit.SLO_MISSED
    assert "baseline.ttft_p95_ms" in junit(now)
    assert "❌ TTFT p95 1.50 times" in markdown(now)


@pytest.mark.parametrize(
    ("then", "now", "tolerance"),
    [
        ([100, 100.1, 100], 100, 0.05),
        ([150, 151, 150], 100, 0.05),
        ([100, 100.1, 100], 101, 0.05),
        ([100, 101, 100], 150, 0.6),
    ],
)
def test_equal_better_or_tolerably_worse_is_no_regression(tmp_path, then, now, tolerance) -> None:
    found = regressions(*nights(tmp_path, then, now), tolerance)
    gate = next(gate for gate in found.gates if gate.key == "ttft_p95_ms")
    if gate.state == "undetermined":  # a single run may lie further from its repeat than its own interval says
        assert "undecided" in gate.sentence
    assert gate.state != "missed"


@pytest.mark.parametrize("now", [100.0, 150.0, 50.0])
def test_a_single_earlier_run_misses_no_gate_and_meets_none(tmp_path, now: float) -> None:
    found = regressions(*nights(tmp_path, [100.0], now))
    assert {gate.state for gate in found.gates} == {"undetermined"}
    assert "the spread between repeats is unknown" in found.gates[0].sentence


def test_nights_that_lie_far_apart_leave_a_regression_undetermined(tmp_path) -> None:
    found = regressions(*nights(tmp_path, [80.0, 100.0, 130.0], 130.0))
    gate = next(gate for gate in found.gates if gate.key == "ttft_p95_ms")
    assert gate.state == "undetermined"
    assert "undecided" in gate.sentence


def test_several_folders_are_named_with_commas(tmp_path) -> None:
    odd = tmp_path / "a,b"
    odd.mkdir()
    assert baseline_folders("one, two") == [Path("one"), Path("two")]
    assert baseline_folders(odd) == [odd]
    assert baseline_folders(None) == []


def test_a_baseline_of_another_kind_is_refused_or_named(tmp_path) -> None:
    (then,), now = nights(tmp_path, [100], 100, salt="other")
    assert any("another salt" in note for note in regressions([then], now).notes)
    with pytest.raises(UserError, match="simulator"):
        regressions([replace(then, simulated=False)], now)
    with pytest.raises(UserError, match="different scenarios"):
        regressions([replace(then, run=replace(then.run, scenario=ScenarioHeader("batch")))], now)
    with pytest.raises(UserError, match="no run of side A is left"):
        regressions([replace(then, verdict="INVALID")], now)


# ---- cost


def test_cost_is_the_price_over_what_was_given() -> None:
    rates = {
        "output_tok_s": Figure(1000.0, "tok/s", 10, [800.0, 1250.0]),
        "total_tok_s": Figure(2000.0, "tok/s", 10),
        "input_tok_s": Figure(1600.0, "tok/s", 10),
        "requests_s": Figure(0.0, "req/s", 0),
    }
    cost = cost_figures(3.6, 2, rates)
    assert cost.per_million_output_tokens.value == pytest.approx(2.0)  # 7.20 $ an hour over 3.6M tokens an hour
    assert cost.per_million_output_tokens.ci95 == pytest.approx([1.6, 2.5])
    assert cost.per_million_tokens.value == pytest.approx(1.0)
    assert cost.per_million_input_tokens.value == pytest.approx(1.25)
    assert cost.per_million_requests.value is None


@pytest.mark.parametrize(("price", "gpus"), [(None, 1), (0, 1), (-1, 1), ("2", 1), (2, None), (True, 1), (1e999, 1)])
def test_without_a_price_nothing_is_said_of_cost(price, gpus) -> None:
    assert cost_figures(price, gpus, {}) is None
