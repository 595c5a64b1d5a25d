"""The tab reports how a run came out exactly as its report does."""

from __future__ import annotations

from pathlib import Path

from tokenswarm.contract.summary.summary_file import write_summary
from tokenswarm.contract.summary.summary_record import Summary
from tokenswarm.contract.summary.verdict_records import OutcomeRecord
from tokenswarm.contract.tables import SUMMARY_JSON
from tokenswarm.ui.tab import outcome_of


def test_a_run_without_a_report_has_no_outcome_yet(tmp_path: Path) -> None:
    assert outcome_of(tmp_path) is None
    (tmp_path / SUMMARY_JSON).write_text("[1, 2")
    assert outcome_of(tmp_path) is None


def test_the_outcome_is_that_of_the_summary(tmp_path: Path) -> None:
    outcome = OutcomeRecord("INVALID", "INVALID", 6, "The load generator was the bottleneck.")
    write_summary(tmp_path, Summary(outcome=outcome))
    assert outcome_of(tmp_path) == {
        "headline": "INVALID",
        "code": 6,
        "sentence": "The load generator was the bottleneck.",
    }
