"""A results folder: what is listed, compared, drawn over time, and pruned."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console
from tokenswarm.analysis.library.entries import COLUMNS, read_entry, read_library
from tokenswarm.analysis.library.kinds import last_of_the_kind, wanted_last
from tokenswarm.analysis.library.pruning import PruningRules, to_prune
from tokenswarm.analysis.library.trends import trends
from tokenswarm.analysis.render.library_page import library_list, render_library
from tokenswarm.analysis.run_report import report

from tests.analysis.make_run import make_run
from tests.browser.gallery import RECORDS
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.presence import present
from tokenswarm.contract.manifest import read_manifest, write_manifest
from tokenswarm.contract.tables import REQUESTS_CSV

NOW = datetime(2027, 2, 1, tzinfo=UTC)


def night(
    results: Path,
    source: Path,
    number: int,
    *,
    label: str | None = None,
    version: str = "0.32.0",
    users: int | None = None,
) -> Path:
    """A reported run of night `number`: the source's, under another date."""
    folder = results / f"202701{number:02}-010000-vllm-rag-{number:04x}"
    shutil.copytree(source, folder)
    manifest = read_manifest(folder)
    rows = (folder / REQUESTS_CSV).read_text()
    (folder / REQUESTS_CSV).write_text(rows.replace(f"\n{manifest.run_id},", f"\n{folder.name},"))
    manifest.run_id, manifest.label, manifest.started_at = folder.name, label, f"2027-01-{number:02}T01:00:00Z"
    manifest.engine.version = version
    if users is not None:
        manifest.load.users = users
    write_manifest(folder, manifest)
    report(folder, dashboard=False)
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("source") / "run", "rag")


@pytest.fixture(scope="module")
def results(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four nights of one kind, the last on a newer engine; another load; a comparison with a run; damaged ones."""
    folder = tmp_path_factory.mktemp("results")
    for number in (1, 2, 3):
        night(folder, source, number)
    night(folder, source, 4, version="0.33.0", label="new engine")
    night(folder, source, 5, users=99)
    series = folder / "comparison-20270106-010000"
    series.mkdir()
    night(series, source, 6)
    (series / "comparison.json").write_text(json.dumps({"verdict": {"sentence": "vLLM is faster"}}))
    for name, text in (("torn", '{"run'), ("odd", "[1]"), ("newer", '{"format": 99}')):
        (folder / name).mkdir()
        (folder / name / "summary.json").write_text(text)
    (folder / "notes").mkdir()
    (folder / "notes" / "todo.txt").write_text("not a run")
    return folder


def test_runs_and_series_are_listed_the_newest_first_and_damaged_folders_as_such(results: Path) -> None:
    entries = read_library(results)
    assert [entry.name.rpartition("/")[2][:15] for entry in entries if entry.started_at] == [
        "20270106-010000",
        "comparison-2027",
        "20270105-010000",
        "20270104-010000",
        "20270103-010000",
        "20270102-010000",
        "20270101-010000",
    ]
    damaged = {entry.name: entry.sentence for entry in entries if entry.kind == "damaged"}
    assert set(damaged) == {"torn", "odd", "newer"} and all(damaged.values())
    assert "notes" not in {entry.name for entry in entries}
    [comparison] = [entry for entry in entries if entry.kind == "comparison"]
    assert comparison.sentence == "vLLM is faster"


def test_a_decision_is_listed_with_both_engines_by_their_titles(tmp_path: Path) -> None:
    shutil.copy(RECORDS / "decision.json", tmp_path)
    listed = present(read_entry(tmp_path, "decision-20270101-000000"))
    stage = tmp_path / "capacity-1-sim-vllm"
    stage.mkdir()
    shutil.copy(RECORDS / "capacity.json", stage)
    inner = present(read_entry(stage, "decision-20270101-000000/capacity-1-sim-vllm"))
    assert inner.started_at == "2027-01-01T00:00:00Z", "that of the decision around it"
    assert listed.engine == "vLLM-like simulator, SGLang-like simulator" and listed.engine_name == "sim-vllm"
    assert listed.sentence.startswith("Take vLLM-like simulator")


def test_a_run_is_listed_with_the_figures_of_its_summary(results: Path) -> None:
    entry = next(entry for entry in read_library(results) if entry.label == "new engine")
    summary = json.loads((entry.folder / "summary.json").read_text())
    assert entry.figures["ttft_ms.p95"].value == summary["latency"]["ttft_ms"]["p95"]["value"]
    assert set(entry.figures) <= {column.key for column in COLUMNS} and len(entry.figures) >= 3
    assert (entry.valid, entry.outcome, entry.version) == (True, summary["outcome"]["headline"], "0.33.0")


def test_a_trend_is_of_one_kind_in_the_order_of_time_with_new_versions_marked(results: Path) -> None:
    [trend] = [trend for trend in trends(read_library(results)) if trend.column.key == "ttft_ms.p95"]
    assert [point.entry.started_at[:10] for point in trend.points] == [
        "2027-01-01",
        "2027-01-02",
        "2027-01-03",
        "2027-01-04",
        "2027-01-06",
    ]
    assert [point.new_version for point in trend.points] == ["", "", "", "0.33.0", "0.32.0"]
    assert all(point.low < point.value < point.high for point in trend.points)


def test_the_last_runs_are_earlier_valid_ones_of_the_same_kind(results: Path) -> None:
    fourth = next(results.glob("20270104*"))
    assert [folder.name[:8] for folder in last_of_the_kind(fourth, 2)] == ["20270102", "20270103"]
    assert [folder.name[:8] for folder in last_of_the_kind(fourth, 9)] == ["20270101", "20270102", "20270103"]
    with pytest.raises(UserError, match="no earlier valid run") as caught:
        last_of_the_kind(next(results.glob("20270105*")), 1)
    assert caught.value.code is Exit.RUN_FOLDER


@pytest.mark.parametrize(("value", "wanted"), [("last", 1), ("last:5", 5), ("results/x", None), ("a,b", None)])
def test_last_is_told_from_folders(value: str, wanted: int | None) -> None:
    assert wanted_last(value) == wanted


@pytest.mark.parametrize("value", ["last:", "last:0", "last:x", "last:-1"])
def test_a_number_of_last_runs_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(UserError, match="last:N"):
        wanted_last(value)


def test_a_report_against_the_last_runs_is_that_against_them_by_name(results: Path) -> None:
    fourth = next(results.glob("20270104*"))
    by_name = report(
        fourth, baseline=",".join(str(next(results.glob(f"2027010{night}*"))) for night in (1, 2, 3)), dashboard=False
    )
    assert report(fourth, baseline="last:3", dashboard=False).baseline == by_name.baseline
    assert by_name.baseline is not None and by_name.baseline.gates
    report(fourth, dashboard=False)


def test_the_page_links_what_is_there_and_runs_no_script_of_others(results: Path) -> None:
    entries = read_library(results)
    page = render_library(entries, trends(entries))
    assert len(page) < 200_000
    assert page.count("<svg") == len(trends(entries)) > 0
    assert "default-src 'none'" in page and "<script src" not in page
    assert all(entry.name in page for entry in entries)


@pytest.mark.parametrize("width", [60, 80, 110, 160])
def test_the_list_fits_its_terminal(results: Path, width: int) -> None:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(library_list(read_library(results)))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    assert sum("20" in line for line in lines) >= 7


def test_pruning_takes_what_is_old_and_keeps_what_is_labelled(results: Path) -> None:
    sized = [(entry, 10) for entry in read_library(results)]
    gone = to_prune(sized, PruningRules(older_than_s=27.5 * 86_400), NOW)
    assert [entry.name[:8] for entry, _ in gone] == ["20270101", "20270102", "20270103"]
    with_label = to_prune(sized, PruningRules(older_than_s=27.5 * 86_400, keep_labelled=False), NOW)
    assert "20270104" in [entry.name[:8] for entry, _ in with_label]


def test_pruning_to_a_size_takes_the_oldest_until_it_fits_and_a_series_whole(results: Path) -> None:
    sized = [(entry, 10) for entry in read_library(results)]
    top = sum("/" not in entry.name for entry, _ in sized)
    gone = to_prune(sized, PruningRules(most_bytes=10 * (top - 2)), NOW)
    assert [entry.name[:8] for entry, _ in gone] == ["20270101", "20270102"]
    everything = to_prune(sized, PruningRules(most_bytes=0, keep_labelled=False), NOW)
    assert not any("/" in entry.name for entry, _ in everything)
    assert {"torn", "odd", "newer"}.isdisjoint(entry.name for entry, _ in everything)  # of an age that nobody knows
