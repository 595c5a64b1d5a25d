"""Requests that hang until the run ends spoil the percentiles of the answers that came."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.summary import summarise

from tests.analysis.make_run import START, manifest, row, write_run
from tokenswarm.contract.summary.summary_record import Summary

HUNG = {"status": "cancelled", "finish_reason": None, "completion_tokens": 0, "chunks": 0}
UNBEGUN = HUNG | dict.fromkeys(("ttft_ms", "ttfo_ms", "last_token_ms", "e2e_ms"))
CUT = HUNG | dict.fromkeys(("e2e_ms",))


def run_of(tmp_path: Path, answered: int, hung: int, slo: dict | None = None, **cells: object) -> Summary:
    """60 s of answers (0.1 s to their first token, 1.09 s in all), beside requests that the end of the run cancels."""
    rows = [row(request_id=f"r{i}", sent_at=START + 50 * i / answered) for i in range(answered)]
    rows += [row(**{"request_id": f"h{i}", "sent_at": START + 20.0 + i} | UNBEGUN | cells) for i in range(hung)]
    told = manifest(scenario={"name": "rag", "values": {"slo": slo or {"ttft_p95_ms": 1000}}})
    return summarise(read_run(write_run(tmp_path, rows, told)))


def rules(summary: Summary) -> dict[str, str]:
    return {each.rule: each.verdict for each in summary.reasons if each.rule.startswith("never_")}


def test_more_hanging_requests_than_lie_above_the_p95_make_it_no_percentile_of_all(tmp_path: Path) -> None:
    found = run_of(tmp_path, answered=95, hung=6)
    assert rules(found) == {"never_begun": "INVALID", "never_ended": "INVALID"}
    assert found.verdict == "INVALID" and found.outcome.code != 0
    assert found.latency["ttft_ms"]["p95"].value is None and "never_begun" in found.latency["ttft_ms"]["p95"].why
    assert found.slo[0].state == "undetermined"
    [sentence] = [each.sentence for each in found.reasons if each.rule == "never_begun"]
    assert "6 requests still had no first token when the run ended, after 35 s or longer, and 95 had" in sentence


def test_fewer_of_them_leave_the_p95_what_it_is_and_not_a_p99_that_is_a_gate(tmp_path: Path) -> None:
    assert rules(run_of(tmp_path / "p95", answered=200, hung=4)) == {}
    p99 = run_of(tmp_path / "p99", answered=200, hung=4, slo={"ttft_p99_ms": 1000})
    assert rules(p99) == {"never_begun": "INVALID"}


def test_users_that_hang_since_the_warm_up_count(tmp_path: Path) -> None:
    found = run_of(tmp_path, answered=40, hung=4, phase="warmup", sent_at=START - 3.0)
    assert rules(found) == {"never_begun": "INVALID", "never_ended": "INVALID"}


def test_answers_on_their_way_at_the_end_are_no_fault_of_the_engine(tmp_path: Path) -> None:
    found = run_of(tmp_path, answered=95, hung=16, sent_at=START + 59.0, **CUT | {"ttft_ms": 100.0})
    assert rules(found) == {}


@pytest.mark.parametrize("answered", [1, 3])
def test_where_nearly_all_hang_the_few_answers_pass_nothing(answered: int, tmp_path: Path) -> None:
    found = run_of(tmp_path, answered=answered, hung=3)
    assert found.outcome.code != 0 and rules(found)["never_begun"] == "INVALID"
