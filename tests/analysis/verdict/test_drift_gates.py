"""A series that got worse over a long run fails it, if asked to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msgspec.structs import replace
from tokenswarm.analysis.figures.drift_series import drift_gates
from tokenswarm.analysis.run_report import report
from tokenswarm.analysis.verdict.gates import cases, judged

from tests.analysis.make_run import START, manifest, row, write_run
from tokenswarm.base.errors import Exit
from tokenswarm.commands.verdict import exit_code
from tokenswarm.contract import tables as schema
from tokenswarm.contract.summary.summary_file import read_summary
from tokenswarm.contract.summary.summary_record import Summary
from tokenswarm.contract.summary.time_records import DriftSeries, DriftStep


def _drifting(tmp_path: Path, mb_per_s: float) -> Path:
    """Ten minutes in which the engine's memory grows (or shrinks) steadily, and the load generator's does not."""
    rows = [row(sent_at=START + i, last_token_ms=1090.0) for i in range(600)]
    host = [
        {"at": START + i, "source": source, "rss_mb": mb, "cpu_share": 0.2}
        for i in range(600)
        for source, mb in (("engine", 4000.0 + mb_per_s * i), ("worker 0", 80.0))
    ]
    return write_run(tmp_path, rows, manifest(seconds=600.0, scenario={"name": "rag", "values": {}}), host=host)


def missed(summary: Summary, strict: bool = False) -> bool:
    return judged(summary, strict).name in ("SLO_MISSED", "UNDETERMINED")


def test_drift_is_a_gate_only_where_it_is_asked_for(tmp_path: Path) -> None:
    folder = _drifting(tmp_path, 2.0)
    assert report(folder, dashboard=False).drift["engine_memory"].state == "drifting"
    assert not missed(read_summary(folder))
    summary = report(folder, fail_on_drift=True, dashboard=False)
    assert missed(summary) and exit_code(summary) == Exit.SLO_MISSED
    found = {case.name: case for case in cases(summary)}
    assert found["drift.engine_memory"].state == "failed"
    assert "Engine memory: drifting: +" in found["drift.engine_memory"].message
    assert found["drift.generator_memory"].state == "passed"
    assert "drift.engine_memory" in (folder / schema.JUNIT_XML).read_text()


def test_what_became_better_fails_nothing_and_a_short_run_says_nothing(tmp_path: Path) -> None:
    assert not missed(report(_drifting(tmp_path / "better", -2.0), fail_on_drift=True, dashboard=False))
    short = report(
        write_run(
            tmp_path / "short",
            [row(sent_at=START + i) for i in range(30)],
            manifest(seconds=30.0, scenario={"name": "rag", "values": {}}),
        ),
        fail_on_drift=True,
        dashboard=False,
    )
    assert {gate.state for gate in short.drift_gates} == {"undetermined"}
    assert not missed(short) and missed(short, strict=True)


def test_fewer_tokens_a_second_are_worse_and_more_milliseconds_too() -> None:
    def gate(key: str, **cells: Any) -> str:
        plain = DriftSeries("x", "ms", "drifting", 10.0, 1.0, [0.5, 1.5], 0.1)
        return drift_gates({key: replace(plain, **cells)})[0].state

    assert (gate("ttft_p95"), gate("ttft_p95", per_hour=-1.0)) == ("missed", "met")
    assert (gate("output_tok_s"), gate("output_tok_s", per_hour=-1.0)) == ("met", "missed")
    step = DriftStep(60.0, 10.0, 8.0)
    assert (gate("tpot", state="stepped", step=step), gate("output_tok_s", state="stepped", step=step)) == (
        "met",
        "missed",
    )
