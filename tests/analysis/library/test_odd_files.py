"""A results folder with files of any content: each is listed or skipped, and never causes a traceback."""

from __future__ import annotations

import io
import json
import os
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console
from tokenswarm.analysis.library.entries import DAMAGED, read_library
from tokenswarm.analysis.render.library_page import library_list

from tokenswarm.base.errors import UserError
from tokenswarm.series.tune_state import read_state

KEYS = st.sampled_from(
    [
        "format",
        "verdict",
        "sentence",
        "outcome",
        "run",
        "engine",
        "name",
        "latency",
        "ttft_ms",
        "p95",
        "value",
        "ci95",
        "slo",
        "status",
        "started_at",
        "label",
        "scenario",
        "load",
        "users",
        "answer",
        "capacity",
        "kind",
        "runs",
    ]
)
ODD = st.sampled_from([None, True, "", "x", "\x1b[31m<b>", "\ud800", -1, 0, 1, 1e308, 10**40, float("nan"), [], {}])
TREES = st.recursive(
    ODD, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=15
)
CONTENT = (
    TREES.map(lambda tree: json.dumps(tree).encode())
    | st.binary(max_size=20)
    | st.sampled_from([b"", b"[" * 5000, b'{"run":' * 5000])
)
FILES = st.dictionaries(
    st.sampled_from(
        [
            "summary.json",
            "run.json",
            "comparison.json",
            "capacity.json",
            "tune.json",
            "series.json",
            "qualification.json",
            "requests.csv",
            "dashboard.html",
        ]
    ),
    CONTENT,
    max_size=4,
)
FOLDERS = st.dictionaries(
    st.sampled_from(
        [
            "20270101-010000-sim-rag-1u-aaaa",
            "comparison-20270101-010000",
            "tune-20270101-010000",
            "capacity-20270101-010000",
            "x",
            "\u202ex",
        ]
    ),
    FILES,
    max_size=4,
)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(FOLDERS)
def test_results_of_any_content_are_listed_or_passed_over(folders: dict[str, dict[str, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as under:
        results = Path(under)
        for folder, files in folders.items():
            (results / folder).mkdir()
            for name, content in files.items():
                (results / folder / name).write_bytes(content)
        entries = read_library(results)
        console = Console(file=io.StringIO(), width=120)
        console.print(library_list(entries))
        assert "\x1b[31m" not in console.file.getvalue()
        for name in folders:
            try:
                read_state(results / name)
            except UserError as error:
                assert "\n" not in str(error)


def test_a_pipe_in_the_place_of_a_file_is_waited_for_by_nobody(tmp_path: Path) -> None:
    for name in ("run.json", "summary.json", "capacity.json", "comparison.json"):
        (tmp_path / f"with-{name}").mkdir()
        os.mkfifo(tmp_path / f"with-{name}" / name)
    entries = read_library(tmp_path)
    assert entries and {entry.kind for entry in entries} == {DAMAGED}
