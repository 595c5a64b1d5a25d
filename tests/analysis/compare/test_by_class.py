"""Runs of a mix are compared by user class as well as as a whole."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from tokenswarm.analysis.compare.by_class import compare_classes
from tokenswarm.analysis.compare.comparison_report import Comparison, compare_runs, document
from tokenswarm.analysis.render.compare_page import comparison_table, markdown, render_comparison

from tests.analysis.make_run import START, manifest, row, write_run
from tokenswarm.contract.summary.summary_record import Summary

READER, JOB = "RagReader", "BatchClassifier"


def mixed(folder: Path, name: str, engine: str, ttft_ms: dict[str, float], seed: int = 1) -> Path:
    """A run of two classes whose TTFT is that of each, with some spread."""
    facts = manifest() | {
        "run_id": name,
        "seed": seed,
        "engine": manifest()["engine"] | {"name": engine.lower(), "title": engine},
    }
    rows = [
        row(
            run_id=name,
            request_id=f"{name}-{user}-{i}",
            user_class=user,
            sent_at=START + i / 4,
            ttft_ms=ttft * (0.8 + (i * 7 % 40) / 100) * (1 + 0.01 * (seed % 3)),
        )
        for user, ttft in ttft_ms.items()
        for i in range(60)
    ]
    return write_run(folder / name, rows, facts)


def compared(folder: Path, a: dict[str, float], b: dict[str, float], runs: int = 2) -> Comparison:
    sides = [
        [mixed(folder, f"{engine}-{seed}", engine, ttft, seed) for seed in range(runs)]
        for engine, ttft in (("vLLM", a), ("SGLang", b))
    ]
    return compare_runs([run for side in sides for run in side])


def states(comparison: Comparison, key: str = "ttft_p95_ms") -> dict[str, str]:
    return {
        name: next(result.state for result in results if result.metric.key == key)
        for name, results in comparison.classes.items()
    }


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """SGLang serves readers twice as fast, and the job half as fast."""
    folder = tmp_path_factory.mktemp("mixed")
    return compared(folder, {READER: 100.0, JOB: 100.0}, {READER: 50.0, JOB: 200.0})


def test_a_class_that_became_faster_and_one_that_became_slower_are_told_apart(comparison: Comparison) -> None:
    assert states(comparison) == {JOB: "worse", READER: "better"}
    ratio = next(each for each in comparison.classes[READER] if each.metric.key == "ttft_p95_ms").known
    assert ratio.change == pytest.approx(0.5, rel=0.01) and ratio.paired


def test_what_is_equal_in_a_class_is_called_so(tmp_path: Path) -> None:
    made = compared(tmp_path, {READER: 100.0, JOB: 100.0}, {READER: 100.0, JOB: 200.0})
    assert states(made) == {JOB: "worse", READER: "equal"}


def test_page_markdown_terminal_and_json_show_each_class(comparison: Comparison) -> None:
    from rich.console import Console

    page, text = render_comparison(comparison), markdown(comparison)
    assert '<h2 id="classes">' in page and f"<h3>{READER}</h3>" in page and f"<h3>{JOB}</h3>" in page
    assert f"| {READER} | TTFT p95 |" in text and f"| {JOB} | TTFT p95 |" in text
    console = Console(width=80, record=True, file=StringIO())
    console.print(comparison_table(comparison))
    shown = console.export_text()
    assert f"{READER}: SGLang against vLLM" in shown and max(map(len, shown.splitlines())) <= 80
    told = document(comparison)["user_classes"]
    assert {each["key"] for each in told[JOB]} >= {"ttft_p95_ms", "error_rate"}


def test_runs_of_one_class_have_no_such_part(tmp_path: Path) -> None:
    made = compared(tmp_path, {READER: 100.0}, {READER: 50.0})
    assert made.classes == {} and 'id="classes"' not in render_comparison(made)


def test_a_class_that_some_run_lacks_is_not_compared() -> None:
    assert compare_classes([Summary()], [Summary()]) == {}
