"""A run folder with corrupted files gives a page or one sentence, never a traceback or a number that is none."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenswarm.analysis.compare.comparison_report import compare_runs
from tokenswarm.analysis.compare_files import write_comparison
from tokenswarm.analysis.run_report import report
from tokenswarm.analysis.verdict.outcome import BY_NAME

from tests.analysis.test_run_report import render
from tests.examples import examples
from tests.mutations import changed, mutate_csv, mutate_json
from tokenswarm.base.errors import UserError
from tokenswarm.contract.summary.summary_file import read_summary

KEPT = Path(__file__).parent / "data" / "run_format_1"
FILES = ("run.json", "requests.csv", "engine_metrics.csv", "host_metrics.csv", "prompts.csv", "summary.json")


@st.composite
def mutations(draw: Any) -> dict[str, bytes | None]:
    """File name -> its new content, None where the file is taken away."""
    files: dict[str, bytes | None] = {}
    for name in draw(st.lists(st.sampled_from(FILES), min_size=1, max_size=3, unique=True)):
        mutate = mutate_json if name.endswith(".json") else mutate_csv
        files[name] = draw(changed((KEPT / name).read_bytes(), mutate))
    return files


def _folder(under: Path, files: dict[str, bytes | None]) -> Path:
    folder = under / "changed"
    shutil.copytree(KEPT, folder)
    for name, content in files.items():
        (folder / name).unlink()
        if content is not None:
            (folder / name).write_bytes(content)
    return folder


@pytest.mark.slow
@settings(max_examples=examples(30), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(mutations())
def test_a_report_of_any_folder_is_a_page_or_a_sentence(files: dict[str, bytes | None]) -> None:
    with tempfile.TemporaryDirectory() as under:
        folder = _folder(Path(under), files)
        try:
            summary = report(folder)
        except UserError as error:
            assert "\n" not in str(error)
            return
        assert read_summary(folder) == summary  # no figure is infinite: it could not have been written
        assert summary.outcome.name in BY_NAME
        if any(not files.get(name, b"whole") for name in ("run.json", "requests.csv")):  # gone, or empty
            assert summary.outcome.code != 0
        render(summary, 80)
        assert "<h1>" in (folder / "dashboard.html").read_text()


@pytest.mark.slow
@settings(max_examples=examples(15), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(mutations())
def test_a_comparison_with_any_folder_is_a_page_or_a_sentence(files: dict[str, bytes | None]) -> None:
    with tempfile.TemporaryDirectory() as under:
        folder = _folder(Path(under), files)
        other = Path(under) / "other"
        shutil.copytree(KEPT, other)
        manifest = json.loads((other / "run.json").read_text())
        (other / "run.json").write_text(json.dumps(manifest | {"run_id": "other"}))
        try:
            write_comparison(compare_runs(a=[folder], b=[other]), Path(under) / "comparison")
        except UserError as error:
            assert "\n" not in str(error)
