"""Exported runs are valid in the other tool's format, have the same figures, and state which definitions differ."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from tokenswarm.analysis.exports.aiperf_export import aiperf_export
from tokenswarm.analysis.exports.llmd_report import llmd_report
from tokenswarm.analysis.exports.measured import ExportableRun, measured
from tokenswarm.analysis.exports.vllm_bench_json import vllm_bench
from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.summary import summarise

from tests.analysis.make_run import START, make_run, row, write_run
from tokenswarm.cli import main
from tokenswarm.contract.summary.summary_record import Summary
from tokenswarm.imports.folder import import_file

SCHEMA = json.loads((Path(__file__).parents[1] / "data" / "llmd_report_0_2_1.schema.json").read_text("utf-8"))


def ready(folder: Path) -> ExportableRun:
    run = read_run(folder)
    return measured(run, summarise(run))


@pytest.fixture(scope="module", params=["rag", "batch", "reasoning"])
def of(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ExportableRun:
    return ready(make_run(tmp_path_factory.mktemp("run") / request.param, request.param, seconds=30, failures=0.05))


def percentile(summary: Summary, key: str, name: str = "p50") -> float | None:
    return summary.percentile(key, name).value


def test_the_report_of_llm_d_is_valid_by_its_schema_and_has_our_figures(of: ExportableRun) -> None:
    report = llmd_report(of)
    jsonschema.Draft202012Validator(SCHEMA).validate(report)
    json.dumps(report, allow_nan=False)
    aggregate = report["results"]["request_performance"]["aggregate"]
    assert aggregate["requests"]["total"] == of.summary.counts.measured.sent
    assert aggregate["latency"]["request_latency"]["p50"] == pytest.approx(
        (percentile(of.summary, "e2e_ms") or 0.0) / 1e3
    )
    assert aggregate["throughput"]["output_token_rate"]["mean"] == of.summary.rates["output_tok_s"].value
    assert report["run"]["description"].count(of.summary.verdict) == 1


def test_a_run_of_nothing_is_valid_too(tmp_path: Path) -> None:
    empty = ready(
        write_run(
            tmp_path,
            [
                row(
                    status="failed",
                    error="overloaded",
                    ttft_ms=None,
                    e2e_ms=None,
                    prompt_tokens=None,
                    completion_tokens=None,
                )
            ],
            {},
        )
    )
    jsonschema.Draft202012Validator(SCHEMA).validate(llmd_report(empty))
    assert "ttfts" not in vllm_bench(empty) and "request_latency" not in aiperf_export(empty)


def test_the_json_of_vllm_bench_has_our_figures_and_names_what_is_defined_otherwise(of: ExportableRun) -> None:
    document = vllm_bench(of)
    json.dumps(document, allow_nan=False)
    assert document["completed"] == of.summary.counts.measured.ok
    assert document["median_e2el_ms"] == pytest.approx(percentile(of.summary, "e2e_ms"))
    assert document.get("median_tpot_ms") == (
        pytest.approx(percentile(of.summary, "tpot_ms")) if percentile(of.summary, "tpot_ms") else None
    )
    assert document["request_goodput"] == of.summary.goodput.goodput_rps.value
    assert not any("itl" in key for key in document), "no figure that was not measured"
    assert {"tpot", "goodput"} <= document["tokenswarm"]["definitions"].keys()


def test_the_summary_of_aiperf_has_our_figures(of: ExportableRun) -> None:
    document = aiperf_export(of)
    json.dumps(document, allow_nan=False)
    assert document["request_latency"]["p95"] == pytest.approx(percentile(of.summary, "e2e_ms", "p95"))
    assert document["request_count"]["avg"] == of.summary.counts.measured.ok
    assert document["goodput"]["avg"] == of.summary.goodput.goodput_rps.value
    assert "inter_token_latency" in document["tokenswarm"]["definitions"]


def test_what_goes_out_as_vllm_bench_comes_in_again(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "rag", "rag", seconds=20, failures=0.05)
    first, out = ready(folder), tmp_path / "out.json"
    assert main(["export", str(folder), "--format", "vllm-bench", "--out", str(out)]) == 0
    [again] = import_file(out, results=tmp_path)
    second = summarise(read_run(again))
    assert second.counts.measured.failed == first.summary.counts.measured.failed
    for key in ("ttft_ms", "e2e_ms"):
        assert percentile(second, key, "p95") == pytest.approx(percentile(first.summary, key, "p95"), rel=1e-3)


def test_a_run_that_is_not_valid_is_written_only_on_demand_and_without_what_its_report_withholds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run(
        tmp_path, [row(request_id=f"r{i}", sent_at=START + i / 4, ttft_uncertainty_ms=500.0) for i in range(240)]
    )
    assert summarise(read_run(folder)).verdict == "INVALID"
    assert main(["export", str(folder), "--format", "vllm-bench"]) == 4
    err = capsys.readouterr().err
    assert "is INVALID" in err and "--any-verdict" in err
    for form in ("vllm-bench", "llm-d", "aiperf"):
        assert main(["export", str(folder), "--format", form, "--any-verdict"]) == 0
        text = capsys.readouterr().out
        assert not any(name in text for name in ("ttft_ms", '"ttfts"', '"time_to_first_token":')), form


def test_the_command_prints_what_it_is_not_told_to_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path, "rag", seconds=10)
    assert main(["export", str(tmp_path), "--format", "llm-d"]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == "0.2.1"
