"""A folder whose files do not belong together is not the record of a run, even if its counts agree."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.summary import summarise

from tests.analysis.make_run import START, calm_host, manifest, row, write_run
from tokenswarm.contract.summary.summary_record import Summary

Rows = list[dict[str, Any]]


def told(folder: Path, change: Callable[[Rows], Rows] = list, **facts: Any) -> Summary:
    rows = change([row(sent_at=START + i, request_id=f"r{i}") for i in range(30)])
    return summarise(read_run(write_run(folder, rows, manifest(seconds=30.0, **facts), host=calm_host(30))))


def other_run(rows: Rows) -> Rows:
    return [each | {"run_id": "another"} for each in rows]


def twice(rows: Rows) -> Rows:
    return rows[:15] + rows[:15]


def clock_set(rows: Rows) -> Rows:
    return rows[:15] + [each | {"sent_at": each["sent_at"] - 3600} for each in rows[15:]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (other_run, "30 of 30 rows name another run"),
        (twice, "15 rows have the request_id of another row"),
        (clock_set, "15 of 30 measured requests were sent outside the measure phase"),
    ],
)
def test_rows_that_are_not_those_of_the_run_make_it_incomplete(
    change: Callable[[Rows], Rows], words: str, tmp_path: Path
) -> None:
    found = told(tmp_path, change)
    assert (found.verdict, found.reasons[0].rule) == ("INCOMPLETE", "rows_misfit")
    assert words in found.reasons[0].sentence


def test_a_measure_phase_that_ends_after_the_run_makes_it_incomplete(tmp_path: Path) -> None:
    ended = datetime.fromtimestamp(START + 5, UTC).isoformat()
    phases = [{"name": "measure", "start": START, "end": START + 10_000}]
    found = told(tmp_path, phases=phases, ended_at=ended)
    assert (found.verdict, found.reasons[0].rule) == ("INCOMPLETE", "rows_misfit")


def test_the_order_of_rows_and_a_second_attempt_at_a_request_say_nothing(tmp_path: Path) -> None:
    def retried(rows: Rows) -> Rows:
        return [each | {"attempt": 1 + i % 2, "request_id": f"r{i // 2}"} for i, each in enumerate(reversed(rows))]

    assert told(tmp_path, retried).verdict == "VALID"


def test_ids_of_another_tool_are_its_own_matter(tmp_path: Path) -> None:
    found = told(tmp_path, twice, imported={"tool": "bench"})
    assert "rows_misfit" not in [each.rule for each in found.reasons]


def test_more_rows_than_were_counted_are_not_called_missing(tmp_path: Path) -> None:
    found = told(tmp_path, counts={"sent": 20, "rows_lost": 0})
    assert "10 requests fewer than its file holds" in found.reasons[0].sentence


def test_another_attempt_may_leave_after_the_measure_phase(tmp_path: Path) -> None:
    def retried(rows: Rows) -> Rows:
        return [*rows, *(each | {"attempt": 2, "sent_at": START + 50} for each in rows[-5:])]

    assert "rows_misfit" not in [each.rule for each in told(tmp_path, retried).reasons]
