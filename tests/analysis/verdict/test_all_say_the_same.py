"""Exit code, summary.json, junit.xml, summary.md, terminal, page and comparison report the same outcome."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tokenswarm.analysis.compare.groups import usable
from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.summary import summarise
from tokenswarm.analysis.verdict import gates
from tokenswarm.analysis.verdict.outcome import BY_NAME, COMPARABLE, OUTCOMES, VALID

from tests.analysis.make_run import START, manifest, row, write_run
from tokenswarm.base.errors import Exit
from tokenswarm.cli import main
from tokenswarm.contract import tables as schema

ENDED = {"rule": "engine_gone", "code": 21, "sentence": "no request succeeded for 300 s"}
GATES = {
    "met": {"ttft_p50_ms": 500},
    "missed": {"ttft_p50_ms": 50, "e2e_p50_ms": 9000},
    "undetermined": {"ttft_p50_ms": 500, "ttft_p999_ms": 500, "e2e_p999_ms": 9000},
}


def rows(count: int = 60, **cells: Any) -> list[dict[str, Any]]:
    return [row(request_id=f"r{i}", sent_at=START + i / 2, ttft_ms=100.0 + i % 9, **cells) for i in range(count)]


def folder_of(folder: Path, of: list[dict], cpu: float = 0.2, slo: str = "met", **facts: Any) -> Path:
    host = [{"at": START + i, "source": "worker 0", "cpu_share": cpu, "read_lag_p99_ms": 0.1} for i in range(31)]
    told = manifest(seconds=30.0, scenario={"name": "rag", "values": {"slo": GATES[slo]}}, **facts)
    return write_run(folder, of, told, host=host)


def without_manifest(folder: Path) -> Path:
    (folder_of(folder, rows()) / schema.MANIFEST_JSON).unlink()
    return folder


CANCELLED = {"status": "cancelled", "e2e_ms": None, "last_token_ms": None}
REFUSED = {"status": "failed", "error": "connect_refused"}
MADE: dict[str, tuple[str, int, bool, Callable[[Path], Path]]] = {
    "the engine failed before the load": (
        "COULD_NOT_RUN",
        13,
        False,
        lambda folder: folder_of(
            folder, [], status="failed", ended_early={"rule": "engine_gone", "code": 13, "sentence": "the engine ended"}
        ),
    ),
    "nothing was sent": ("COULD_NOT_RUN", 18, False, lambda folder: folder_of(folder, [], status="failed")),
    "given up": (
        "ENDED_EARLY",
        21,
        False,
        lambda folder: folder_of(folder, rows(), status="aborted", ended_early=ENDED),
    ),
    "interrupted": ("ENDED_EARLY", 130, False, lambda folder: folder_of(folder, rows(), status="interrupted")),
    "killed": ("ENDED_EARLY", 19, False, lambda folder: folder_of(folder, rows(), status="running")),
    "interrupted, by a busy generator": (
        "ENDED_EARLY",
        130,
        False,
        lambda folder: folder_of(folder, rows(), cpu=0.99, status="interrupted"),
    ),
    "no run.json": ("INCOMPLETE", 6, False, without_manifest),
    "rows lost": ("INCOMPLETE", 6, False, lambda folder: folder_of(folder, rows(), counts={"sent": 70})),
    "rows lost, and a gate missed": (
        "INCOMPLETE",
        6,
        False,
        lambda folder: folder_of(folder, rows(), slo="missed", counts={"sent": 70}),
    ),
    "all failed": ("NO_SUCCESS", 5, False, lambda folder: folder_of(folder, rows(**REFUSED))),
    "none ended": ("NO_SUCCESS", 5, False, lambda folder: folder_of(folder, rows(**CANCELLED))),
    "none was sent": ("NO_SUCCESS", 5, False, lambda folder: folder_of(folder, [])),
    "a busy generator": ("INVALID", 4, False, lambda folder: folder_of(folder, rows(), cpu=0.99)),
    "a busy generator, and a gate missed": (
        "INVALID",
        4,
        False,
        lambda folder: folder_of(folder, rows(), cpu=0.99, slo="missed"),
    ),
    "overloaded": (
        "OVERLOADED",
        7,
        False,
        lambda folder: folder_of(
            folder,
            rows(),
            validity={"verdict": "OVERLOADED", "reasons": [{"rule": "queue", "sentence": "The queue grew."}]},
        ),
    ),
    "measured by another tool": (
        "UNCHECKED",
        8,
        False,
        lambda folder: folder_of(folder, rows(), imported={"tool": "vllm bench"}),
    ),
    "a gate missed": ("SLO_MISSED", 3, False, lambda folder: folder_of(folder, rows(), slo="missed")),
    "a gate undetermined": ("UNDETERMINED", 8, True, lambda folder: folder_of(folder, rows(), slo="undetermined")),
    "a gate undetermined, judged leniently": (
        "PASSED",
        0,
        False,
        lambda folder: folder_of(folder, rows(), slo="undetermined"),
    ),
    "all is well": ("PASSED", 0, True, lambda folder: folder_of(folder, rows())),
}


def test_every_outcome_is_among_these() -> None:
    assert {name for name, *_ in MADE.values()} == {outcome.name for outcome in OUTCOMES} == set(BY_NAME)


@pytest.mark.parametrize("kind", MADE)
def test_all_tell_the_same_outcome(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    name, code, strict, make = MADE[kind]
    folder = make(tmp_path / "run")
    returned = main(["report", str(folder), "--gate", *(["--strict"] if strict else [])])
    terminal = capsys.readouterr().out
    outcome = json.loads((folder / schema.SUMMARY_JSON).read_text())["outcome"]
    headline = BY_NAME[name].headline

    assert (returned, outcome["name"], outcome["code"], outcome["headline"]) == (code, name, code, headline)
    assert terminal.startswith(headline) and outcome["sentence"] in terminal

    page = re.sub(r"<script.*?</script>", "", (folder / schema.DASHBOARD_HTML).read_text(), flags=re.DOTALL)
    assert f"<title>{headline} · " in page and f">{headline}</span>" in page
    assert (f"<b>{headline}.</b>" in page) is (code != 0)

    junit = ElementTree.parse(folder / schema.JUNIT_XML).getroot()[0]
    assert (int(junit.get("failures")) > 0) is (code != 0)
    [valid] = [case for case in junit if case.get("name") == "valid"]
    failure = valid.find("failure")
    assert (failure is None) is (BY_NAME[name].verdict == VALID)
    assert failure is None or failure.get("message") == f"{headline}: {outcome['sentence']}"

    told = (folder / schema.SUMMARY_MD).read_text().splitlines()[2]
    assert told.startswith(f"{'❌' if code else '✅'} **{headline}**: ")

    summary = summarise(read_run(folder))
    good, left_out = usable([summary])
    assert summary.verdict == BY_NAME[name].verdict
    assert bool(good) is (summary.verdict in COMPARABLE)
    assert [run.why for run in left_out] == ([] if good else [f"{headline}: {outcome['sentence']}"])


def test_the_code_of_report_is_0_where_no_gate_was_asked_for(tmp_path: Path) -> None:
    assert main(["report", str(folder_of(tmp_path, rows(), slo="missed")), "--quiet"]) == Exit.PASSED


@pytest.mark.parametrize(
    ("slo", "words"),
    [
        ("met", "The one gate is met."),
        ("undetermined", "1 of 3 gates is met, 2 are undetermined."),
        ("missed", "1 of 2 gates is met, 1 is missed. TTFT p50: "),
    ],
)
def test_no_more_gates_are_called_met_than_are(slo: str, words: str, tmp_path: Path) -> None:
    found = summarise(read_run(folder_of(tmp_path, rows(), slo=slo)))
    assert gates.judged(found).sentence.startswith(words)


def test_the_table_says_the_verdict_and_the_gates_in_the_terminal(tmp_path: Path) -> None:
    from tokenswarm.analysis.render.terminal_summary import summary_table

    console = Console(file=StringIO(), width=200)
    console.print(summary_table(summarise(read_run(folder_of(tmp_path, rows(), slo="missed")))))
    assert console.file.getvalue().startswith("SLO MISSED  figures VALID")
