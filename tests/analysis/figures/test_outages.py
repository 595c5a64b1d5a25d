"""When the engine was away, and how long it took to come back: from the rows alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenswarm.analysis.figures.outages import find_outages
from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.render import terminal_summary
from tokenswarm.analysis.render.dashboard import look_at, time_section
from tokenswarm.analysis.render.markdown import markdown
from tokenswarm.analysis.summary import summarise

from tests.analysis.make_run import START, manifest, row, write_run
from tokenswarm.contract.summary.time_records import OutagePeriod


def ok(at: float, **cells: Any) -> dict[str, Any]:
    """A request whose first token came `at` seconds after START; sent 0.1 s earlier."""
    return row(sent_at=START + at - 0.1, ttft_ms=100.0, last_token_ms=300.0, e2e_ms=300.0, **cells)


def lost(at: float, error: str = "connect_refused", **cells: Any) -> dict[str, Any]:
    return row(
        sent_at=START + at,
        status="failed",
        error=error,
        ttft_ms=None,
        ttfo_ms=None,
        last_token_ms=None,
        e2e_ms=None,
        headers_ms=None,
        completion_tokens=None,
        http_status=None,
        **cells,
    )


def outages(folder: Path, rows: list[dict[str, Any]]) -> list[tuple[float, float, bool, int]]:
    found = find_outages(read_run(write_run(folder, rows)).requests)
    return [(round(o.start - START, 3), round(o.seconds, 3), o.recovered, o.failed) for o in found]


def test_recovery_is_from_the_first_failure_to_the_first_token_after_it(tmp_path: Path) -> None:
    rows = [ok(1.0), ok(9.9), lost(10.0), lost(11.0), lost(12.0), ok(14.5), ok(15.0)]
    assert outages(tmp_path, rows) == [(10.0, 4.5, True, 3)]


def test_a_stream_that_was_cut_failed_when_it_was_cut(tmp_path: Path) -> None:
    cut = lost(8.0, "reset_mid_stream") | {"ttft_ms": 500.0, "last_token_ms": 2000.0}
    assert outages(tmp_path, [ok(1.0), cut, lost(10.5), ok(13.0)]) == [(10.0, 3.0, True, 2)]


def test_what_else_fails_meanwhile_is_counted_and_only_a_success_is_the_end(tmp_path: Path) -> None:
    rows = [ok(1.0), lost(10.0), lost(11.0, "overloaded"), lost(12.0, "server_error"), ok(13.0), lost(13.5, "rejected")]
    assert outages(tmp_path, rows) == [(10.0, 3.0, True, 3)]


def test_each_restart_is_an_outage_of_its_own(tmp_path: Path) -> None:
    rows = [ok(1.0), lost(5.0), ok(7.0), ok(8.0), lost(20.0), lost(21.0), ok(26.0)]
    assert outages(tmp_path, rows) == [(5.0, 2.0, True, 1), (20.0, 6.0, True, 2)]


def test_an_engine_that_stays_away_has_not_recovered(tmp_path: Path) -> None:
    assert outages(tmp_path, [ok(1.0), lost(5.0), lost(9.0)]) == [(5.0, 4.0, False, 2)]


@pytest.mark.parametrize(
    "rows",
    [
        [ok(1.0), lost(5.0, "server_error"), lost(6.0, "timeout_first_token"), ok(9.0)],  # it was there, and answered
        [ok(1.0), lost(5.0, "reset_mid_stream"), ok(9.0)],  # one cut connection under light load
        [ok(1.0), lost(5.0), lost(5.1), ok(5.4)],  # shorter than can be told from the pause between two answers
        [ok(1.0), ok(2.0)],
        [],
    ],
)
def test_errors_that_are_no_outage(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    assert outages(tmp_path, rows) == []


def test_another_replica_that_answers_all_the_while_means_that_nothing_was_out(tmp_path: Path) -> None:
    rows = [item for second in range(20) for item in (ok(second + 0.5), lost(second + 0.6, "reset_before_headers"))]
    rows = [item for item in rows if item["status"] == "failed" or item["sent_at"] > 0]
    assert outages(tmp_path, [*rows, *(ok(second + 0.9) for second in range(20))]) == []


def test_the_summary_lists_outages_of_the_measure_phase_and_says_them_everywhere(tmp_path: Path) -> None:
    rows = [lost(-4.0, phase="warmup"), lost(-2.0, phase="warmup"), ok(0.5), lost(10.0), lost(12.0), ok(13.0)]
    summary = summarise(read_run(write_run(tmp_path, rows, manifest())))
    away = summary.outages
    assert (away.count, away.failed, away.longest.value, away.total.value) == (
        1,
        2,
        pytest.approx(3.0),
        pytest.approx(3.0),
    )
    assert away.periods == [OutagePeriod(START + 10, 10.0, pytest.approx(3.0), True, 2, {"connect_refused": 2})]
    words = "The engine was away once"
    assert any(words in line.plain for line in terminal_summary.outage_lines(summary))
    assert words in markdown(summary)


def test_the_time_charts_show_when_the_engine_was_away(tmp_path: Path) -> None:
    rows = [ok(n / 4) for n in range(1, 40)] + [lost(10.0), lost(12.0)] + [ok(13.0 + n / 4) for n in range(40)]
    run = read_run(write_run(tmp_path, rows, manifest(seconds=30.0)))
    layout = {chart.id: chart.layout for chart in time_section(look_at(run, summarise(run))).charts}["latency-time"]
    bands = [(shape["x0"], shape["x1"]) for shape in layout["shapes"] if shape.get("fillcolor") == "c:outage"]
    assert bands == [(pytest.approx(10.0), pytest.approx(13.0))]
    assert "engine away" in [note["text"] for note in layout["annotations"]]


def test_a_run_whose_engine_was_never_away_says_nothing(tmp_path: Path) -> None:
    summary = summarise(read_run(write_run(tmp_path, [ok(1.0)], manifest())))
    assert summary.outages.count == 0 and summary.outages.longest.value is None
    assert terminal_summary.outage_lines(summary) == [] and "away" not in markdown(summary)
