"""Result files of other tools become run folders that say what they cannot know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenswarm.analysis.compare.comparison_report import compare_runs
from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.run_report import report
from tokenswarm.analysis.summary import summarise

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.cli import main
from tokenswarm.contract.tables import DASHBOARD_HTML
from tokenswarm.imports.folder import import_file

N = 40


def vllm(shift: float = 0.0, **more: Any) -> dict[str, Any]:
    """As `vllm bench serve --save-result --save-detailed` writes it; the fourth request failed."""
    ttfts = [0.1 + 0.001 * i + shift for i in range(N)]
    itls = [[0.01, 0.02, 0.03]] * N
    failed = {"ttfts": 0.0, "itls": [], "latencies": 0.0, "output_lens": 0}
    columns = {"ttfts": ttfts, "itls": itls, "latencies": [t + 0.06 for t in ttfts], "output_lens": [4] * N}
    for name, value in failed.items():
        columns[name] = [value if i == 3 else each for i, each in enumerate(columns[name])]
    return (
        {
            "date": "20261101-120000",
            "backend": "vllm",
            "endpoint_type": "openai-chat",
            "label": None,
            "model_id": "m/7b",
            "tokenizer_id": "m/7b",
            "num_prompts": N,
            "request_rate": "inf",
            "burstiness": 1.0,
            "max_concurrency": 8,
            "duration": 20.0,
            "completed": N - 1,
            "failed": 1,
            "total_input_tokens": 100 * N,
            "input_lens": [100] * N,
            "start_times": [5000.0 + 0.5 * i for i in range(N)],
            "generated_texts": ["x"] * N,
            "errors": ["Traceback\nTimeoutError" if i == 3 else "" for i in range(N)],
            "mean_ttft_ms": 120.0,
        }
        | columns
        | more
    )


def sglang(**more: Any) -> dict[str, Any]:
    """As one line of `sglang.bench_serving --output-details`."""
    return {
        "tag": None,
        "backend": "sglang-oai-chat",
        "dataset_name": "random",
        "request_rate": 4.0,
        "max_concurrency": None,
        "sharegpt_output_len": None,
        "random_input_len": 100,
        "random_output_len": 4,
        "random_range_ratio": 1.0,
        "server_info": {"version": "0.5.23", "model_path": "m/7b"},
        "duration": 12.0,
        "completed": N,
        "input_lens": [100] * N,
        "output_lens": [4] * N,
        "ttfts": [0.1 + 1e-5 * i for i in range(N)],
        "itls": [[0.01, 0.02, 0.03]] * N,
        "generated_texts": ["x"] * N,
        "errors": [""] * N,
    } | more


def aiperf(number: int, **more: Any) -> dict[str, Any]:
    """As a line of aiperf's profile_export.jsonl."""
    start = 1_790_000_000_000_000_000 + number * 500_000_000
    return {
        "metadata": {
            "session_num": number,
            "x_request_id": f"r{number}",
            "x_correlation_id": f"c{number // 2}",
            "turn_index": number % 2,
            "request_start_ns": start,
            "request_end_ns": start + 200_000_000,
            "worker_id": "w",
            "benchmark_phase": "profiling",
            "was_cancelled": False,
        },
        "metrics": {
            "input_sequence_length": {"value": 100, "unit": "tokens"},
            "time_to_first_token": {"value": 120.0 + number / 1000, "unit": "ms"},
            "request_latency": {"value": 180.0 + number / 1000, "unit": "ms"},
            "output_sequence_length": {"value": 4, "unit": "tokens"},
            "inter_chunk_latency": {"value": [10.0, 20.0, 30.0], "unit": "ms"},
        },
        "error": None,
    } | more


def guidellm(total: int = N + 1, **more: Any) -> dict[str, Any]:
    """As guidellm's benchmarks.json, format 2."""

    def request(number: int, error: str | None = None) -> dict[str, Any]:
        start = 1_790_000_000.0 + 0.5 * number
        timings = {
            "request_start": start,
            "resolve_start": start,
            "first_token_iteration": start + 0.12 + number / 1e5,
            "last_token_iteration": start + 0.18 + number / 1e5,
            "request_end": start + 0.19,
            "token_iterations": 4,
        }
        return {
            "type_": "generative_request_stats",
            "request_id": f"r{number}",
            "output": "x",
            "prompt_tokens": 100,
            "output_tokens": 4,
            "info": {"status": "completed", "timings": timings, "error": error},
        }

    return {
        "metadata": {"version": 2, "guidellm_version": "0.8.1"},
        "config": {"spec": {}},
        "benchmarks": [
            {
                "type_": "generative_benchmark",
                "start_time": 1_790_000_000.0,
                "duration": 25.0,
                "config": {"strategy": {"type_": "constant", "rate": 2.0}, "backend": {"model": "m/7b"}},
                "metrics": {"request_totals": {"successful": N, "errored": 1, "total": total}},
                "requests": {
                    "successful": [request(i) for i in range(N)],
                    "errored": [request(N, "HTTP 429 Too Many Requests")],
                    "incomplete": [],
                },
            }
            | more
        ],
        "conclusions": [],
    }


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


FILES = {
    "vllm.json": lambda: json.dumps(vllm()),
    "sglang.jsonl": lambda: json.dumps(sglang()) + "\n",
    "profile_export.jsonl": lambda: "".join(json.dumps(aiperf(i)) + "\n" for i in range(N)),
    "benchmarks.json": lambda: json.dumps(guidellm()),
}


@pytest.mark.parametrize("name", FILES)
def test_a_run_of_another_tool_has_its_figures_and_is_never_called_valid(tmp_path: Path, name: str) -> None:
    [folder] = import_file(write(tmp_path / name, FILES[name]()), results=tmp_path)
    summary = report(folder)
    assert (summary.verdict, summary.outcome.headline) == ("UNCHECKED", "UNCHECKED")
    assert summary.outcome.code != 0
    assert any(note.startswith("Not known") and "whether the load generator kept up" in note for note in summary.notes)
    assert summary.percentile("ttft_ms", "p50").value == pytest.approx(120.0 if "sglang" not in name else 100.0, abs=3)
    assert summary.percentile("tpot_ms", "p50").value == pytest.approx(20.0)
    assert summary.latency["e2e_ms"]["p50"].value == pytest.approx(180.0 if "sglang" not in name else 160.0, abs=3)
    assert summary.rates["output_tok_s"].value == pytest.approx(4 * N / summary.run.window.seconds, rel=0.06)
    page = (folder / DASHBOARD_HTML).read_text("utf-8")
    assert ">UNCHECKED<" in page and "no GPU of the engine" not in page


def test_failures_are_kept(tmp_path: Path) -> None:
    [folder] = import_file(write(tmp_path / "v.json", vllm()), results=tmp_path)
    summary = summarise(read_run(folder))
    assert (summary.counts.measured.ok, summary.counts.measured.failed) == (N - 1, 1)
    assert [(kind.kind, kind.example) for kind in summary.errors.kinds] == [("timeout_total", "TimeoutError")]
    [folder] = import_file(write(tmp_path / "g.json", guidellm()), results=tmp_path)
    assert [kind.kind for kind in summarise(read_run(folder)).errors.kinds] == ["rate_limited"]


def test_a_request_without_an_answer_is_a_failure_also_where_no_reason_was_kept(tmp_path: Path) -> None:
    [folder] = import_file(write(tmp_path / "v.json", vllm(errors=[""] * N)), results=tmp_path)
    assert summarise(read_run(folder)).counts.measured.failed == 1


def test_runs_of_different_tools_are_not_alike(tmp_path: Path) -> None:
    [a] = import_file(write(tmp_path / "v.json", vllm()), results=tmp_path)
    [b] = import_file(write(tmp_path / "g.json", guidellm()), results=tmp_path)
    assert any("tool that measured" in each for each in compare_runs(a=[a], b=[b]).unfair)


def test_without_start_times_there_is_no_interval_of_a_rate_and_no_chart_over_time(tmp_path: Path) -> None:
    [folder] = import_file(write(tmp_path / "s.jsonl", json.dumps(sglang()) + "\n"), results=tmp_path)
    summary = report(folder)
    assert summary.rates["output_tok_s"].value is not None
    assert all(figure.ci95 is None for figure in summary.rates.values())
    assert summary.goodput.goodput_rps.ci95 is None
    assert "chart-latency-time" not in (folder / DASHBOARD_HTML).read_text("utf-8")
    assert summary.run.started_at is None


def test_requests_that_a_report_leaves_out_make_the_run_incomplete(tmp_path: Path) -> None:
    [folder] = import_file(write(tmp_path / "g.json", guidellm(total=500)), results=tmp_path)
    assert summarise(read_run(folder)).verdict == "INCOMPLETE"


def test_a_warm_up_and_a_cancelled_request_are_no_measured_answers(tmp_path: Path) -> None:
    lines = [aiperf(i) for i in range(N)]
    lines[0]["metadata"]["benchmark_phase"] = "warmup"
    lines[1]["metadata"]["was_cancelled"] = True
    path = write(tmp_path / "p.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    [folder] = import_file(path, results=tmp_path)
    counts = summarise(read_run(folder)).counts.measured
    assert (counts.ok, counts.cancelled) == (N - 2, 1)


def test_each_run_of_a_file_becomes_a_folder(tmp_path: Path) -> None:
    path = write(tmp_path / "s.jsonl", json.dumps(sglang()) + "\n" + json.dumps(sglang(request_rate=8.0)) + "\n")
    folders = import_file(path, tmp_path / "mine")
    assert [folder.name for folder in folders] == ["mine", "mine-2"]
    assert [read_run(folder).manifest.load.rate for folder in folders] == [4.0, 8.0]
    assert import_file(path, tmp_path / "mine") == folders  # made anew


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "not one of the result files"),
        ("hello", "not one of the result files"),
        (json.dumps({"duration": 3.0, "model_id": "m", "backend": "vllm"}), "--save-detailed"),
        (json.dumps({"duration": 3.0, "random_input_len": 1, "backend": "sglang"}), "--output-details"),
        (json.dumps(vllm(ttfts=["a"])), "is not what vllm bench serve writes"),
        (json.dumps(vllm(ttfts=[0.1])), "ttfts has 1 entries and output_lens 40"),
        (json.dumps(aiperf(0)) + '\n{"metadata": 3}\n', "line 2, is not a request"),
        (json.dumps(aiperf(0))[:-30] + "\n", "line 1, is not a request"),
        (json.dumps({"metadata": {"guidellm_version": "1"}, "benchmarks": [{"requests": 3}]}), "format 2"),
        (json.dumps({"metadata": {"guidellm_version": "1"}, "benchmarks": []}), "holds no run"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence_and_leaves_nothing_behind(
    tmp_path: Path, content: str, words: str
) -> None:
    path = write(tmp_path / "x.json", content)
    with pytest.raises(UserError) as caught:
        import_file(path, results=tmp_path / "results")
    assert caught.value.code == Exit.DATA
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert not list((tmp_path / "results").glob("*"))


def test_a_folder_that_is_no_imported_run_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "run.json").write_text("{}", "utf-8")
    with pytest.raises(UserError, match="is not an imported run"):
        import_file(write(tmp_path / "v.json", vllm()), tmp_path / "kept")
    assert (tmp_path / "kept" / "run.json").read_text("utf-8") == "{}"


def test_two_files_are_compared_as_two_sides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = write(tmp_path / "old.json", vllm()), write(tmp_path / "new.json", vllm(shift=0.5))
    code = main(["compare", str(a), str(b), "--results", str(tmp_path / "r"), "--output", str(tmp_path / "c")])
    assert code == 0
    document = json.loads((tmp_path / "c" / "comparison.json").read_text("utf-8"))
    assert (document["a"]["label"], document["b"]["label"]) == ("old", "new")
    assert any("load generator" in note for note in document["notes"])
    out = capsys.readouterr().out
    assert "old" in out and "new" in out


def test_repeats_of_two_sides_have_intervals(tmp_path: Path) -> None:
    sides = {
        side: [
            import_file(write(tmp_path / f"{side}{i}.json", vllm(shift + 0.001 * i)), results=tmp_path)[0]
            for i in range(3)
        ]
        for side, shift in (("a", 0.0), ("b", 0.5))
    }
    comparison = compare_runs(a=sides["a"], b=sides["b"])
    [ttft] = [each for each in comparison.results if each.metric.key == "ttft_p95_ms"]
    assert ttft.state == "worse" and ttft.known.low > 1


def test_report_takes_the_file_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["report", str(write(tmp_path / "v.json", vllm()))]) == 0
    assert "UNCHECKED" in capsys.readouterr().out
    assert list((tmp_path / "results").glob("import-v-*/dashboard.html"))
