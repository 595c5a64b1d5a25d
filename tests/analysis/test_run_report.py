"""The report as a whole: summary.json, the page, the terminal."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from msgspec.structs import replace
from rich.console import Console
from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.render.dashboard import engine_section, health_section, look_at, time_section
from tokenswarm.analysis.render.page import head, outcome_sentence, rate_rows, server_rows
from tokenswarm.analysis.render.terminal_summary import summary_table
from tokenswarm.analysis.render.tiles import cards, means_nothing
from tokenswarm.analysis.run_report import report
from tokenswarm.analysis.summary import summarise

from tests.analysis.make_run import START, make_run, manifest, row, write_run
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.contract import tables as schema
from tokenswarm.contract.summary.header_records import Header
from tokenswarm.contract.summary.request_records import ConstraintUse
from tokenswarm.contract.summary.summary_file import read_summary
from tokenswarm.contract.summary.summary_record import Summary

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=alert(1)>"
SCRIPT = re.compile(r"<script[^>]*>.*?</script>", re.DOTALL)


@pytest.fixture(scope="module", params=["rag", "chat", "batch", "reasoning"])
def reported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Summary]:
    """A report of each workload."""
    folder = make_run(tmp_path_factory.mktemp("run") / request.param, request.param)
    return folder, report(folder)


def page_of(folder: Path) -> str:
    return (folder / schema.DASHBOARD_HTML).read_text(encoding="utf-8")


def charts_of(page: str) -> dict[str, dict]:
    found = re.search(r'<script type="application/json" id="charts">(.*?)</script>', page, re.DOTALL)
    return {chart["id"]: chart for chart in json.loads(found[1])}


def render(summary: Summary, width: int, terminal: bool = False) -> str:
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=terminal).print(summary_table(summary))
    return out.getvalue()


def test_the_table_speaks_of_goodput_only_where_there_is_a_limit(reported: tuple[Path, Summary]) -> None:
    summary = reported[1]
    assert "Goodput (met every SLO)" in render(summary, 120)
    free = replace(summary, slo=[], goodput=replace(summary.goodput, bounds={}))
    assert "Goodput" not in render(free, 120) and "attainment" not in render(free, 120)


def test_summary_file_holds_what_was_returned(reported: tuple[Path, Summary]) -> None:
    folder, summary = reported
    assert read_summary(folder) == summary


def test_percentiles_equal_those_that_anyone_computes_from_the_csv(reported: tuple[Path, Summary]) -> None:
    folder, summary = reported
    table = pd.read_csv(folder / schema.REQUESTS_CSV)
    ok = table[(table.phase == "measure") & (table.status == "ok")]
    for metric in ("ttft_ms", "ttfo_ms", "e2e_ms"):
        for q in (50, 95, 99):
            figure = summary.latency[metric][f"p{q}"]
            assert figure.value == pytest.approx(np.percentile(ok[metric], q))
            assert figure.n == len(ok)


def test_counts_add_up(reported: tuple[Path, Summary]) -> None:
    counts = reported[1].counts.measured
    assert counts.sent == counts.ok + counts.failed + counts.cancelled > 0
    assert sum(kind.count for kind in reported[1].errors.kinds) == counts.failed


def test_page_is_one_offline_file_under_six_megabytes(reported: tuple[Path, Summary]) -> None:
    page = page_of(reported[0])
    assert len(page.encode()) < 6e6
    markup = SCRIPT.sub("", page)
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!data:)""", markup), "the page refers to another file"
    assert "url(" not in markup and "@import" not in markup
    assert "default-src 'none'" in markup


def test_page_has_the_charts_of_its_workload(reported: tuple[Path, Summary]) -> None:
    folder, summary = reported
    charts = charts_of(page_of(folder))
    assert {"latency-time", "output-time", "flight-time", "distribution", "engine-cache", "generator-cpu"} <= set(
        charts
    )
    of_workload = {"rag": "by-cached", "chat": "by-turn", "batch": "valid-output", "reasoning": "reasoning"}
    assert of_workload[summary.run.scenario.workload] in charts


def test_every_tile_has_a_chart_or_is_said_never_to_have_changed(reported: tuple[Path, Summary]) -> None:
    folder, summary = reported
    page = page_of(folder)
    charts = " ".join(chart["layout"]["yaxis"].get("title", {}).get("text", "") for chart in charts_of(page).values())
    titles = re.findall(r"<h3>(.*?)</h3>", page)
    flat = re.search(r"therefore not drawn: (.*?)\.</p>", page)
    named = {"Output rate": "Output tokens per second", "Prefix cache hits": "Prefix cache hit rate"}
    for tile in cards(summary):
        name = tile["title"].removesuffix(" p95").removesuffix(" p50")
        title = named.get(name, name)
        assert title in titles or f"{name} (ms)" in charts or (flat and title in flat[1]), title


def test_page_is_small(reported: tuple[Path, Summary]) -> None:
    assert (reported[0] / schema.DASHBOARD_HTML).stat().st_size < 1_500_000


def test_no_figure_stands_in_a_tile_and_again_in_the_table_of_rates(reported: tuple[Path, Summary]) -> None:
    tiles = {tile["title"] for tile in cards(reported[1])}
    rows = {row["name"] for row in rate_rows(reported[1])}
    assert rows and not tiles & rows and "Output tokens" not in rows and "Prefix cache hit rate" not in rows


def test_valid_output_of_a_simulator_or_a_random_model_is_said_to_mean_nothing() -> None:
    assert "simulator" in means_nothing(Summary(simulated=True))
    assert "random" in means_nothing(Summary(run=Header(effective={"load_format": "dummy"})))
    assert "random" in means_nothing(Summary(run=Header(model="/models/tiny-llama")))
    constrained = Summary(constraints=[ConstraintUse(name="flat")], run=Header(model="/models/tiny-llama"))
    assert means_nothing(constrained) == "", "it is the engine that makes answers fit"
    assert means_nothing(Summary(run=Header(model="TinyLlama/TinyLlama-1.1B"))) == ""


def test_the_command_that_was_typed_can_be_copied(tmp_path: Path) -> None:
    argv = ["tokenswarm", "load", "--set", "load.users=2 load.rate=1"]
    report(write_run(tmp_path, [row()], manifest(argv=argv)))
    assert "tokenswarm load --set &#39;load.users=2 load.rate=1&#39;" in page_of(tmp_path)


def test_charts_have_axis_titles_and_finite_data(reported: tuple[Path, Summary]) -> None:
    for name, chart in charts_of(page_of(reported[0])).items():
        assert chart["data"], name
        assert chart["layout"]["xaxis"]["title"]["text"], name
        assert chart["layout"]["yaxis"].get("visible") is False or chart["layout"]["yaxis"]["title"]["text"], name


def test_page_says_verdict_and_simulated(reported: tuple[Path, Summary]) -> None:
    markup = SCRIPT.sub("", page_of(reported[0]))
    assert "SIMULATED" in markup and f">{reported[1].outcome.headline}<" in markup and "figures VALID" in markup


def test_real_engine_is_not_called_simulated(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "rag", seconds=10, simulated=False)
    summary = report(folder)
    assert "SIMULATED" not in SCRIPT.sub("", page_of(folder))
    assert "SIMULATED" not in render(summary, 80)


def test_hostile_text_is_escaped_everywhere(tmp_path: Path) -> None:
    told = manifest(
        model=HOSTILE, run_id=HOSTILE, engine={"name": HOSTILE, "title": HOSTILE, "effective": {HOSTILE: 1}}
    )
    told["scenario"] |= {"title": HOSTILE, "description": HOSTILE, "values": {"slo": {HOSTILE: 1}}}
    rows = [row(user_class=HOSTILE, request_id=HOSTILE, sent_at=START + i) for i in range(30)]
    rows += [row(status="failed", error=HOSTILE, error_detail=HOSTILE, user_class="=cmd|' /C calc'!A0")]
    folder = write_run(tmp_path, rows, told)
    summary = report(folder)
    page = page_of(folder)
    assert "<script>document" not in page and "<img" not in page
    assert len(re.findall(r"<script[ >]", page)) == 4, "theme, data, plotly, page"
    names = [trace["name"] for chart in charts_of(page).values() for trace in chart["data"]]
    assert not any("<" in name for name in names)
    assert HOSTILE[:40] in render(summary, 500)


def test_policy_lists_the_hash_of_every_script_that_may_run(tmp_path: Path) -> None:
    import base64
    import gzip
    import hashlib

    page = page_of_run(tmp_path)
    policy = re.search(r"script-src ([^;]*);", page)[1]
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == 2, "theme, page"
    packed = re.search(r'<script type="text/plain" id="plotly">(.*?)</script>', page)[1]
    scripts.append(gzip.decompress(base64.b64decode(packed)).decode())
    for script in scripts:
        assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy
    assert "unsafe" not in policy


def page_of_run(folder: Path) -> str:
    report(write_run(folder, [row(sent_at=START + i) for i in range(30)]))
    return page_of(folder)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [row()],
        [row(status="failed", error="connect_refused", ttft_ms=None, e2e_ms=None, completion_tokens=None)] * 3,
        [row(ttft_ms=None, ttfo_ms=None, last_token_ms=None, chunks=None)] * 30,
        [
            row(completion_tokens=None, prompt_tokens=None, cached_tokens=None, token_source=None, ttft_ms=100 + i)
            for i in range(30)
        ],
        [row(status="cancelled", e2e_ms=None)] * 4,
    ],
    ids=["no rows", "one row", "all failed", "not streamed", "no token counts", "all cancelled"],
)
@pytest.mark.parametrize("facts", [None, {}], ids=["manifest", "no facts"])
def test_meagre_run_still_gets_its_report(tmp_path: Path, rows: list[dict], facts: dict | None) -> None:
    folder = write_run(tmp_path, rows, facts)
    summary = report(folder)
    assert summary.verdict in ("VALID", "INCOMPLETE")
    assert "<h1>" in page_of(folder)
    assert summary.verdict in render(summary, 80)


@pytest.mark.parametrize(
    "broken",
    [
        {"engine": "vllm"},
        {"scenario": []},
        {"load": 7},
        {"phases": "x"},
        {"phases": [1, {"name": "measure"}]},
        {"counts": None},
        {"host": "x", "versions": [], "git": 1},
        {"validity": {"verdict": "INVALID", "reasons": 3}},
        {"load": {"mode": "open", "rate": "fast"}, "started_at": 5},
    ],
)
def test_manifest_of_unexpected_shape_does_not_stop_the_report(tmp_path: Path, broken: dict) -> None:
    summary = report(write_run(tmp_path, [row(sent_at=START + i) for i in range(30)], manifest() | broken))
    assert summary.latency["ttft_ms"]["p95"].value == pytest.approx(100.0, abs=0.1)
    render(summary, 80)


def test_unwritable_folder_is_one_sentence_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_run(tmp_path, [row()])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(UserError, match="No space left") as caught:
        report(folder)
    assert caught.value.code == Exit.RESULTS
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.parametrize("width", [80, 200])
def test_terminal_summary_fits_its_width_and_is_plain_when_piped(reported: tuple[Path, Summary], width: int) -> None:
    told = render(reported[1], width)
    assert max(map(len, told.splitlines())) <= width
    assert "\x1b" not in told
    assert "VALID" in told and "SIMULATED" in told and "tok/s" in told and "(ms" in told
    assert "\x1b" in render(reported[1], width, terminal=True)


def test_terminal_summary_says_why_a_run_is_invalid(tmp_path: Path) -> None:
    told = render(report(make_run(tmp_path, "rag", seconds=20, cpu=0.97)), 200)
    assert "INVALID" in told and "WORKERS" in told


def test_markup_of_an_engine_is_not_obeyed_by_the_terminal(tmp_path: Path) -> None:
    told = manifest(model="[red]x[/red][bold")
    assert "[red]x[/red][bold" in render(report(write_run(tmp_path, [row()], told)), 200)


@pytest.mark.slow
def test_analysis_loads_no_load_generator() -> None:
    script = (
        "import sys, tokenswarm.analysis.run_report, tokenswarm.analysis.render.terminal_summary;"
        "print([m for m in sys.modules if m.split('.')[0] in ('gevent','locust','openai','httptools')"
        " or m.startswith('tokenswarm.') and m.split('.')[1] not in ('contract','base','analysis')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_engine_and_client_views_of_the_same_events_stand_side_by_side(tmp_path: Path) -> None:
    histogram = {"bounds_s": [0.08, 0.1, 0.16], "counts": [0, 150, 150, 0], "sum_s": 33.0}
    seen = {"start_at": START, "end_at": START + 60, "histograms": {"ttft": histogram}}
    rows = [row(request_id=f"r{i}", sent_at=START + 1 + i / 8, ttft_ms=110.0, ttfo_ms=110.0) for i in range(300)]
    summary = report(write_run(tmp_path / "run", rows, manifest() | {"server_latency": seen}))
    [shown] = server_rows(summary)
    assert (shown["name"], shown["n"]) == ("TTFT", "300")
    assert [(cell["engine"], cell["ends"], cell["client"]) for cell in shown["cells"]] == [
        ("110", "", "110"),
        ("≈ 100", "in 80 – 100", "110"),
        ("≈ 154", "in 100 – 160", "110"),
        ("≈ 159", "in 100 – 160", "110"),
    ]
    assert "The engine's view and the client's" in (tmp_path / "run" / schema.DASHBOARD_HTML).read_text()


def test_header_tells_the_effective_configuration_and_the_cold_start(tmp_path: Path) -> None:
    engine = manifest()["engine"] | {"cold_start_s": 61.3}
    engine["effective"] |= {"quantization": "none", "dtype": "bfloat16", "prefix_cache": False}
    shown = head(report(write_run(tmp_path, [row()], manifest(engine=engine))))["configuration"]
    assert shown == (
        "bfloat16 · context 32,768 · KV cache 450,000 tokens · blocks of 16 · prefix cache off · "
        "at most 256 at once · cold start 61 s"
    )


def test_outcomes_add_up_and_cancelled_is_no_error(tmp_path: Path) -> None:
    rows = [
        row(request_id="a"),
        row(request_id="b", status="failed", error="overloaded"),
        row(request_id="c", status="cancelled", e2e_ms=None),
    ]
    shown = outcome_sentence(report(write_run(tmp_path, rows)))
    assert shown.startswith("3 sent = 1 ok + 1 failed + 1 cancelled.")
    assert "is not an error" in shown


def test_what_the_run_noted_is_on_the_page(tmp_path: Path) -> None:
    note = "vLLM runs on a CPU here: its speed says nothing about a GPU"
    summary = report(write_run(tmp_path, [row()], manifest(simulated=False, notes=[note])))
    assert note in summary.notes
    assert note in (tmp_path / schema.DASHBOARD_HTML).read_text()


def test_gpus_and_engine_processes_stand_with_the_engine_and_not_with_the_load_generator(tmp_path: Path) -> None:
    host = [
        {"at": START + second, "source": source, **cells}
        for second in range(10)
        for source, cells in (
            ("worker 0", {"cpu_share": 0.2, "rss_mb": 90.0}),
            ("gpu 0", {"gpu_util": 0.9, "gpu_memory_mb": 70_000.0, "gpu_power_w": 600.0}),
            ("gpu 1", {"gpu_util": 0.8, "gpu_memory_mb": 71_000.0}),
            ("engine", {"cpu_share": 1.5, "rss_mb": 9000.0}),
        )
    ]
    run = read_run(write_run(tmp_path, [row(sent_at=START + i) for i in range(10)], manifest(), [], host))
    seen = look_at(run, summarise(run))
    charts = {chart.id: chart for chart in engine_section(seen).charts}
    assert set(charts) == {"gpu-util", "gpu-memory", "gpu-power", "engine-cpu", "engine-memory"}
    assert [trace["name"] for trace in charts["gpu-util"].data] == ["gpu 0", "gpu 1"]
    assert charts["gpu-util"].data[0]["y"] == [90.0] * 10
    assert [trace["name"] for trace in charts["gpu-power"].data] == ["gpu 0"]
    assert {chart.id for chart in health_section(seen).charts} == {"generator-cpu"}


def test_heat_map_holds_every_successful_request_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [row(request_id=f"r{i}", sent_at=START + i / 10, ttft_ms=float(rng.lognormal(5, 1))) for i in range(600)]
    run = read_run(write_run(tmp_path, rows, manifest()))
    seen = look_at(run, summarise(run))
    heat = next(chart for chart in time_section(seen).charts if chart.id == "heat").data[0]
    shares = np.array(heat["z"], dtype=float)
    assert len(heat["y"]) == len(heat["z"]) + 1
    in_each = np.nansum(shares, axis=0)
    busy = in_each[in_each > 0]  # the drain has none
    assert len(busy) >= 10
    assert busy == pytest.approx(np.full(len(busy), 100.0), abs=0.5)
    slowest = max(r["ttft_ms"] for r in rows)
    assert (heat["y"][0], heat["y"][-1]) == pytest.approx((min(r["ttft_ms"] for r in rows), slowest), rel=1e-4)
