"""Run folders of earlier versions are read as they were then."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.run_report import report

from tokenswarm.contract.summary.summary_file import read_summary, summary_json

DATA = Path(__file__).parent / "data"
PARTS = (
    "run_id",
    "verdict",
    "reasons",
    "simulated",
    "latency",
    "gaps",
    "rates",
    "per_user_tok_s",
    "slo",
    "errors",
    "tokens",
    "cache",
    "server",
    "server_ttft",
    "server_latency",
    "outages",
    "cost",
    "run",
)
"""What was in summary.json then and means the same now. Left out: what later versions look at in addition, and goodput,
which is counted by when answers ended since."""


def _of_then(now: Any, then: Any, intervals: bool = False) -> Any:
    """Of what is said now what was said then too, which has fields that were added since."""
    if isinstance(now, dict) and isinstance(then, dict):
        lasting = {key: value for key, value in then.items() if intervals or _lasts(key)}
        return {key: _of_then(now.get(key), value, intervals) for key, value in lasting.items()}
    if isinstance(now, list) and isinstance(then, list) and len(now) == len(then):
        return [_of_then(*pair, intervals) for pair in zip(now, then, strict=True)]
    return now


def _plain(then: Any, intervals: bool = False) -> Any:
    return _of_then(then, then, intervals)


def _lasts(key: str) -> bool:
    """Intervals are made by a better method since, and what is certain follows from them."""
    return key not in ("ci95", "certain")


def test_figures_of_a_run_of_format_1_are_what_they_were(tmp_path: Path) -> None:
    folder = tmp_path / "20261126-113116-sim-rag-e158"
    shutil.copytree(DATA / "run_format_1", folder)
    then = json.loads((folder / "summary.json").read_text())
    report(folder)
    now = json.loads((folder / "summary.json").read_text())
    assert now["verdict"] == "VALID" and round(now["latency"]["ttft_ms"]["p50"]["value"], 4) == 9.4045
    then["cache"]["yardstick"]["reason"] = now["cache"]["yardstick"]["reason"]  # its words were bettered
    for part in PARTS:
        assert _of_then(now[part], then[part]) == _plain(then[part]), part
    assert (folder / "dashboard.html").stat().st_size > 100_000
    assert read_run(folder).manifest.counts.arrivals_queued == 4, "it was called found_nobody"


def test_the_figures_that_an_earlier_version_wrote_are_read() -> None:
    then, folder = json.loads((DATA / "run_format_1" / "summary.json").read_text()), DATA / "run_format_1"
    summary = read_summary(folder)
    written = json.loads(summary_json(summary))
    for part in PARTS:
        assert _of_then(written[part], then[part], intervals=True) == _plain(then[part], intervals=True), part
    assert summary.latency["ttft_ms"]["p50"].value == then["latency"]["ttft_ms"]["p50"]["value"]


def test_a_newer_format_is_said_and_what_is_known_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(DATA / "run_format_1", folder)
    manifest = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(manifest | {"format": 99}))
    assert any("format 99" in note and "newer one" in note for note in report(folder).notes)
