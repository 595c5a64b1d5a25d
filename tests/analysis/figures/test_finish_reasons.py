"""How answers ended, and what that says of validity."""

from __future__ import annotations

from pathlib import Path

from tokenswarm.analysis.figures.finish_reasons import cut_notes, finish_reasons
from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.summary import summarise

from tests.analysis.make_run import row, write_run


def test_answers_are_counted_by_how_they_ended(tmp_path: Path) -> None:
    rows = [
        row(finish_reason="length", valid_output=False),
        row(finish_reason="length", valid_output=False),
        row(finish_reason="stop", valid_output=True),
        row(finish_reason=None, valid_output=None),
        row(status="failed", error="truncated", finish_reason=None, valid_output=None),
    ]
    found = finish_reasons(read_run(write_run(tmp_path, rows)).requests)
    assert [(each.reason, each.count, each.checked, each.valid) for each in found] == [
        ("length", 2, 2, 0),
        ("stop", 1, 1, 1),
        ("none given", 1, 0, 0),
    ]
    assert sum(each.share.value or 0 for each in found) == 1


def test_it_is_told_where_invalid_answers_were_cut(tmp_path: Path) -> None:
    rows = [row(finish_reason="length", valid_output=False)] * 3 + [row(finish_reason="stop", valid_output=False)]
    run = read_run(write_run(tmp_path, rows))
    assert cut_notes(finish_reasons(run.requests)) == [
        "3 of 4 invalid answers were cut by length: raise output.max_tokens before you judge what is valid."
    ]
    stopped = [each for each in finish_reasons(run.requests) if each.reason == "stop"]
    assert cut_notes(stopped) == []


def test_a_share_of_valid_answers_can_be_a_gate(tmp_path: Path) -> None:
    rows = [row(valid_output=number % 2 == 0) for number in range(40)]
    run = read_run(write_run(tmp_path, rows))
    run.manifest.scenario.values["slo"] = {"valid_output_min": 0.9}
    gates = summarise(run).slo
    assert [(gate.key, gate.state, gate.figure.value) for gate in gates] == [("valid_output_min", "missed", 0.5)]
