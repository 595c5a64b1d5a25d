"""Files that the tools themselves wrote against the simulator: they have the figures of the tool's own summary.

vllm bench serve 0.32.0, sglang.bench_serving 0.5.23, aiperf 0.13.0, guidellm 0.8.1; 24 requests each. Texts, a path and
what is not read were taken out of them afterwards.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.run_report import report
from tokenswarm.analysis.summary import summarise

from tokenswarm.contract.summary.summary_record import Summary
from tokenswarm.contract.tables import DASHBOARD_HTML
from tokenswarm.imports.folder import import_file

DATA = Path(__file__).parent / "data"
FILES = sorted(path.name for path in DATA.iterdir() if path.name != "aiperf-profile_export_aiperf.json")
N = 24


def imported(name: str, tmp_path: Path) -> Summary:
    [folder] = import_file(DATA / name, results=tmp_path)
    return summarise(read_run(folder))


def document(name: str) -> dict[str, Any]:
    return json.loads((DATA / name).read_text("utf-8"))


@pytest.mark.parametrize("name", FILES)
def test_every_request_is_there_and_the_run_is_unchecked(name: str, tmp_path: Path) -> None:
    summary = imported(name, tmp_path)
    counts = summary.counts.measured
    assert (counts.sent, counts.ok, counts.failed) == (N, N, 0)
    assert summary.verdict == "UNCHECKED"
    assert summary.run.engine.name is None, "the simulator answered: no file may say that it was vLLM or SGLang"


@pytest.mark.parametrize("name", ["vllm-bench-openai-chat.json", "vllm-bench-completions.json"])
def test_vllm_s_figures_are_its_own(name: str, tmp_path: Path) -> None:
    summary, its = imported(name, tmp_path), document(name)
    for ours, theirs in (("ttft_ms", "ttft"), ("tpot_ms", "tpot"), ("e2e_ms", "e2el")):
        for q in ("p50", "p95"):
            assert summary.latency[ours][q].value == pytest.approx(its[f"{q}_{theirs}_ms"], rel=1e-3), (ours, q)
    assert summary.rates["requests_s"].value == pytest.approx(its["request_throughput"], rel=1e-3)
    assert summary.rates["output_tok_s"].value == pytest.approx(its["output_throughput"], rel=1e-3)
    assert summary.rates["total_tok_s"].value == pytest.approx(its["total_token_throughput"], rel=1e-3)
    assert summary.run.model == "sim-8b"
    assert (summary.run.load.rate, summary.run.load.users) == ((8.0, None) if "chat" in name else (None, 4.0))


def test_sglang_s_figures_are_its_own(tmp_path: Path) -> None:
    name = "sglang-bench-serving.jsonl"
    summary, its = imported(name, tmp_path), json.loads((DATA / name).read_text("utf-8").splitlines()[0])
    for ours, theirs in (("ttft_ms", "ttft"), ("tpot_ms", "tpot"), ("e2e_ms", "e2e_latency")):
        assert summary.latency[ours]["p50"].value == pytest.approx(its[f"median_{theirs}_ms"], rel=2e-3), ours
        # Its end-to-end latency goes on to the end of the stream, ours is the first token and all gaps.
        assert summary.latency[ours]["p95"].value == pytest.approx(its[f"p95_{theirs}_ms"], rel=5e-3), ours
    assert summary.rates["requests_s"].value == pytest.approx(its["request_throughput"], rel=1e-3)
    assert summary.rates["output_tok_s"].value == pytest.approx(its["output_throughput"], rel=1e-3)
    assert summary.run.load.rate == 8.0
    assert any("which engine answered" in note for note in summary.notes)


def test_aiperf_s_figures_are_its_own_but_for_lengths(tmp_path: Path) -> None:
    summary, its = imported("aiperf-profile_export.jsonl", tmp_path), document("aiperf-profile_export_aiperf.json")
    for ours, theirs in (("ttft_ms", "time_to_first_token"), ("e2e_ms", "request_latency")):
        for q in ("p50", "p95"):
            assert summary.latency[ours][q].value == pytest.approx(its[theirs][q], rel=1e-3), (ours, q)
    seconds = its["benchmark_duration"]["avg"]
    assert summary.run.window.seconds == pytest.approx(seconds, rel=1e-3)
    # The engine counted 20 tokens an answer, its tokenizer 18 to 27.
    assert summary.rates["output_tok_s"].value == pytest.approx(20 * N / seconds, rel=1e-3)
    assert its["output_sequence_length"]["avg"] > 22
    assert any("aiperf's own summary counts with its tokenizer" in note for note in summary.notes)


def test_guidellm_s_figures_are_its_own_where_they_mean_the_same(tmp_path: Path) -> None:
    summary, [its] = imported("guidellm-benchmarks.json", tmp_path), document("guidellm-benchmarks.json")["benchmarks"]
    of = {name: each["successful"] for name, each in its["metrics"].items() if name != "request_totals"}
    values = [each["time_to_first_token_ms"] for each in its["requests"]["successful"]]
    low, high = sorted(values)[N // 2 - 1 : N // 2 + 1]  # it takes one of the middle two, we what lies between them
    assert low <= summary.latency["ttft_ms"]["p50"].value <= high
    assert low <= of["time_to_first_token_ms"]["median"] <= high
    gaps = sorted(each["inter_token_latency_ms"] for each in its["requests"]["successful"])
    assert summary.latency["tpot_ms"]["p50"].value == pytest.approx((gaps[N // 2 - 1] + gaps[N // 2]) / 2, rel=1e-3)
    assert summary.rates["requests_s"].value == pytest.approx(of["requests_per_second"]["mean"], rel=1e-3)
    assert summary.rates["output_tok_s"].value == pytest.approx(of["output_tokens_per_second"]["mean"], rel=2e-3)
    whole = sorted(each["request_latency"] for each in its["requests"]["successful"])
    assert summary.latency["e2e_ms"]["p50"].value < 1e3 * whole[N // 2], (
        "its latency goes on until the answer is closed"
    )
    assert any("guidellm's request latency ends when" in note for note in summary.notes)


def test_a_page_is_made_of_each(tmp_path: Path) -> None:
    for name in FILES:
        [folder] = import_file(DATA / name, results=tmp_path)
        report(folder)
        assert "UNCHECKED" in (folder / DASHBOARD_HTML).read_text("utf-8")


def test_nothing_of_a_machine_is_in_the_files() -> None:
    for path in DATA.iterdir():
        text = path.read_text("utf-8")
        assert not any(part in text for part in ("/root", "/home", "/work", "/tmp")), path.name
        assert len(text) < 50_000
