"""Validity is by figure: a spoilt figure is withheld, and the run is INVALID only if a headline or gate is affected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.render.markdown import markdown
from tokenswarm.analysis.render.page import cell
from tokenswarm.analysis.summary import summarise
from tokenswarm.analysis.wording import interval

from tests.analysis.make_run import START, manifest, row, write_run
from tokenswarm.contract.summary.summary_record import Summary


def summary_of(
    folder: Path,
    slo: dict | None = None,
    host: dict | None = None,
    cores: int = 8,
    workers: int = 1,
    apart_us: int = 1,
    **cells: Any,
) -> Summary:
    rows = [row(**{"request_id": f"r{i}", "sent_at": START + i / 2, "prompt_chars": 4000} | cells) for i in range(60)]
    for number, each in enumerate(rows):
        each["ttft_ms"] += apart_us * number / 1000
    told = manifest(seconds=30.0, scenario={"name": "rag", "values": {"slo": slo or {}}})
    told["host"]["cores"], told["load"]["workers"] = cores, workers
    samples = [
        {"at": START + i + 1, "source": "worker 0", "cpu_share": 0.3, "read_lag_p99_ms": 0.1} | (host or {})
        for i in range(30)
    ]
    return summarise(read_run(write_run(folder, rows, told, host=samples)))


def test_three_ms_spoil_a_ttft_of_20_ms_and_no_e2e_of_3_s(tmp_path: Path) -> None:
    found = summary_of(
        tmp_path, ttft_ms=20.0, ttfo_ms=20.0, last_token_ms=3000.0, e2e_ms=3000.0, ttft_uncertainty_ms=3.0
    )
    ttft, e2e, tpot = (found.latency[key]["p50"] for key in ("ttft_ms", "e2e_ms", "tpot_ms"))
    assert (ttft.value, e2e.value) == (None, 3000.0) and tpot.value is not None
    assert ttft.why == "its timing may be off by 3 ms, limit 2 ms"
    assert (found.verdict, found.outcome.name) == ("INVALID", "INVALID")
    assert "TTFT and TTFO are not given" in found.outcome.sentence


def test_what_is_withheld_is_not_told_of_the_stationary_part_either(tmp_path: Path) -> None:
    rows = [
        row(request_id=f"r{i}", sent_at=START + i / 20, ttft_ms=ttft, ttfo_ms=ttft, ttft_uncertainty_ms=60.0)
        for i in range(600)
        for ttft in [400.0 + i % 7 if i < 150 else 40.0 + i % 7]
    ]
    late = summarise(read_run(write_run(tmp_path / "late", rows, manifest(seconds=30.0))))
    for each in rows:
        each["ttft_uncertainty_ms"] = 0.1
    exact = summarise(read_run(write_run(tmp_path / "exact", rows, manifest(seconds=30.0))))
    assert exact.steady_part.state == late.steady_part.state == "cut"
    assert "TTFT p95 fell from" in exact.steady_part.sentence and exact.steady_part.latency["ttft_ms"]["p50"].value
    assert "by how much is not given: its timing may be off by 60 ms" in late.steady_part.sentence
    assert {each.value for each in late.steady_part.latency["ttft_ms"].values()} == {None}


@pytest.mark.parametrize(("slo", "verdict"), [({}, "VALID"), ({"ttfo_p50_ms": 100}, "INVALID")])
def test_a_spoilt_figure_that_is_neither_headline_nor_gated_is_only_left_out(
    tmp_path: Path, slo: dict, verdict: str
) -> None:
    found = summary_of(
        tmp_path, slo, ttft_ms=1000.0, ttfo_ms=20.0, last_token_ms=3000.0, e2e_ms=3000.0, ttft_uncertainty_ms=3.0
    )
    assert found.latency["ttfo_ms"]["p50"].value is None and found.latency["ttft_ms"]["p50"].value == pytest.approx(
        1000.0, abs=0.1
    )
    assert found.verdict == verdict
    assert [reason.verdict for reason in found.reasons if reason.rule == "timing_error"] == [
        "INVALID" if slo else "NOTE"
    ]
    assert [(gate.state, gate.figure.value) for gate in found.slo] == ([("undetermined", None)] if slo else [])


def test_a_ttft_that_is_the_same_for_most_answers_is_not_given(tmp_path: Path) -> None:
    found = summary_of(tmp_path, {"ttft_p95_ms": 500}, apart_us=0, sent_at=START)
    assert (found.verdict, found.reasons[0].rule) == ("INVALID", "same_latency")
    assert found.latency["ttft_ms"]["p50"].value is None and found.latency["ttfo_ms"]["p50"].value is None
    assert found.slo[0].state == "undetermined"


def test_a_latency_whose_interval_would_be_a_single_point_has_none_and_every_form_says_so(tmp_path: Path) -> None:
    found = summary_of(tmp_path, e2e_ms=1090.0, last_token_ms=1090.0)
    e2e = found.latency["e2e_ms"]["p50"]
    assert (e2e.value, e2e.ci95, interval(e2e)) == (1090.0, None, "no interval")
    assert found.latency["ttft_ms"]["p50"].ci95 is not None
    assert "no interval" in markdown(found) and cell(e2e)["below"] == "no interval"


def test_usage_that_counts_too_little_takes_every_figure_of_output_tokens_with_it(tmp_path: Path) -> None:
    found = summary_of(tmp_path, {"output_tok_s_min": 1}, completion_tokens=1)
    assert found.rates["output_tok_s"].value is None and found.rates["total_tok_s"].value is None
    assert found.rates["requests_s"].value is not None and found.latency["ttft_ms"]["p50"].value is not None
    assert found.slo[0].state == "undetermined" and "implausible" in found.slo[0].figure.why
    assert (found.verdict, found.reasons[0].rule) == ("INVALID", "usage_output")


def test_prompt_tokens_of_zero_are_no_headline_but_are_not_given(tmp_path: Path) -> None:
    found = summary_of(tmp_path, prompt_tokens=0, cached_tokens=None)
    assert found.rates["input_tok_s"].value is None and found.rates["total_tok_s"].value is None
    assert found.rates["output_tok_s"].value is not None
    assert (found.verdict, found.reasons[0].rule, found.reasons[0].verdict) == ("VALID", "usage_prompt", "NOTE")


@pytest.mark.parametrize(("ours", "verdict"), [(60, "INVALID"), (115, "VALID")])
def test_an_engine_that_others_use_makes_the_run_invalid(tmp_path: Path, ours: int, verdict: str) -> None:
    rows = [row(request_id=f"r{i}", sent_at=START + i / 8, prompt_chars=4000) for i in range(ours)]
    histogram = {"bounds_s": [0.08, 0.1, 0.16], "counts": [0, 60, 60, 0], "sum_s": 12.0}
    seen = {"start_at": START, "end_at": START + 30, "histograms": {"ttft": histogram}}
    samples = [{"at": START + i + 1, "source": "worker 0", "cpu_share": 0.3} for i in range(30)]
    found = summarise(
        read_run(write_run(tmp_path, rows, manifest(seconds=30.0) | {"server_latency": seen}, host=samples))
    )
    assert found.verdict == verdict
    assert (found.server_ttft.p95.value is None) is (verdict == "INVALID")
    assert ("others use this engine" in found.outcome.sentence) is (verdict == "INVALID")


@pytest.mark.parametrize(
    ("host", "cores", "workers", "words", "wrong"),
    [
        ({"cpu_share": 0.85}, 8, 1, "use more WORKERS (up to 8 here)", "quieter"),
        ({"cpu_share": 0.85}, 2, 2, "use less load, or more machines", "use more WORKERS"),
        ({"cpu_share": 0.2}, 8, 1, "something else on this machine took its CPU", "use more WORKERS"),
        (
            {"cpu_share": 0.2, "steal_share": 0.11},
            8,
            1,
            "11.0% of this machine's CPU time went to other machines",
            "use more WORKERS",
        ),
    ],
)
def test_a_busy_worker_is_told_from_a_machine_that_others_took(
    tmp_path: Path, host: dict, cores: int, workers: int, words: str, wrong: str
) -> None:
    found = summary_of(tmp_path, host=host, cores=cores, workers=workers, ttft_ms=20.0, ttft_uncertainty_ms=3.0)
    [reason] = [reason for reason in found.reasons if reason.rule == "timing_error"]
    assert words in reason.sentence and wrong not in reason.sentence


@pytest.mark.parametrize(("slo", "known"), [({"tpot_p95_ms": 50}, False), ({"ttft_p95_ms": 500}, True)])
def test_no_answer_is_called_good_by_a_latency_that_is_not_known(tmp_path: Path, slo: dict, known: bool) -> None:
    rows = [row(request_id=f"r{i}", sent_at=START + i / 2, last_token_ms=100.5 + 1e-3 * i / 2) for i in range(60)]
    told = manifest(seconds=30.0, scenario={"name": "rag", "values": {"slo": slo | {"goodput_rps_min": 1}}})
    found = summarise(read_run(write_run(tmp_path, rows, told)))
    assert "at_once" in [each.rule for each in found.reasons]
    of_class = found.user_classes["RagReader"] if found.user_classes else found.goodput
    for part in (found.goodput, of_class):
        assert (part.goodput_rps.value is not None, part.attainment.value is not None) == (known, known)
    [gate] = [each for each in found.slo if each.key == "goodput_rps_min"]
    assert gate.state == ("met" if known else "undetermined")


def test_what_is_withheld_of_the_run_is_withheld_of_its_user_classes(tmp_path: Path) -> None:
    rows = [
        row(request_id=f"r{i}", sent_at=START + i / 2, user_class=f"C{i % 2}", completion_tokens=1) for i in range(60)
    ]
    found = summarise(read_run(write_run(tmp_path, rows, manifest(seconds=30.0))))
    assert len(found.user_classes) == 2
    for each in (found, *found.user_classes.values()):
        assert each.rates["output_tok_s"].value is None and each.rates["requests_s"].value is not None
