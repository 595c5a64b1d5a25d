"""The verdict on the load generator: each rule, at its limit and beyond."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.summary import summarise

from tests.analysis.make_run import START, manifest, row, write_run
from tokenswarm.contract import tables as schema
from tokenswarm.contract.summary.summary_record import Summary


def host(cpu: float | list[float], seconds: int = 30, **cells: Any) -> list[dict[str, Any]]:
    shares = cpu if isinstance(cpu, list) else [cpu] * seconds
    return [{"at": START + i + 1, "source": "worker 0", "cpu_share": c} | cells for i, c in enumerate(shares)]


def judged(
    tmp_path: Path, rows: list[dict] | None = None, host_rows: list[dict] | None = None, **facts: Any
) -> Summary:
    rows = rows or [row(sent_at=START + i) for i in range(30)]
    told = manifest(seconds=30.0, **facts)
    return summarise(read_run(write_run(tmp_path, rows, told, host=host(0.4) if host_rows is None else host_rows)))


def rules(summary: Summary, verdict: str | None = None) -> list[str]:
    return [r.rule for r in summary.reasons if verdict in (None, r.verdict)]


def test_calm_run_is_valid_and_gives_no_reasons(tmp_path: Path) -> None:
    summary = judged(tmp_path)
    assert summary.verdict == "VALID"
    assert summary.reasons == []


@pytest.mark.parametrize(("cpu", "verdict"), [(0.90, "VALID"), (0.91, "INVALID")])
def test_worker_above_ninety_percent_of_a_core_invalidates(tmp_path: Path, cpu: float, verdict: str) -> None:
    summary = judged(tmp_path, host_rows=host(cpu))
    assert summary.verdict == verdict


def test_ten_busy_seconds_invalidate_and_a_short_peak_does_not(tmp_path: Path) -> None:
    busy = judged(tmp_path / "busy", host_rows=host([0.3] * 10 + [0.97] * 12 + [0.3] * 8))
    peak = judged(tmp_path / "peak", host_rows=host([0.3] * 10 + [0.99] * 3 + [0.3] * 17))
    assert (busy.verdict, peak.verdict) == ("INVALID", "VALID")


def test_busiest_worker_decides(tmp_path: Path) -> None:
    rows = host(0.2) + [r | {"source": "worker 1"} for r in host(0.95)] + [{"at": START + 3, "source": "gpu 0"}]
    assert rules(judged(tmp_path, host_rows=rows)) == ["worker_cpu"]


def test_busy_worker_outside_the_window_does_not_matter(tmp_path: Path) -> None:
    late = [r | {"at": r["at"] + 40} for r in host(0.99)]
    assert judged(tmp_path, host_rows=host(0.4) + late).verdict == "VALID"


@pytest.mark.parametrize(
    ("ttft_ms", "uncertainty_ms", "verdict"),
    [(30.0, 1.9, "VALID"), (30.0, 2.1, "INVALID"), (100.0, 4.9, "VALID"), (100.0, 5.2, "INVALID")],
)
def test_timing_error_may_reach_two_ms_or_five_percent(
    tmp_path: Path, ttft_ms: float, uncertainty_ms: float, verdict: str
) -> None:
    rows = [row(sent_at=START + i, ttft_ms=ttft_ms + i / 1000, ttft_uncertainty_ms=uncertainty_ms) for i in range(30)]
    summary = judged(tmp_path, rows)
    assert summary.verdict == verdict
    assert summary.generator.timing_error_bound_ms.value == pytest.approx(uncertainty_ms)


def test_read_lag_stands_in_where_answers_were_not_streamed(tmp_path: Path) -> None:
    rows = [row(sent_at=START + i, ttft_ms=None, ttft_uncertainty_ms=None, e2e_ms=100.0) for i in range(30)]
    assert rules(judged(tmp_path / "a", rows, host(0.4, read_lag_p99_ms=8.0))) == ["timing_error"]
    assert judged(tmp_path / "b", rows, host(0.4, read_lag_p99_ms=1.0)).verdict == "VALID"


def test_late_arrivals_invalidate_an_open_loop(tmp_path: Path) -> None:
    rows = [row(sent_at=START + i, scheduled_at=START + i - 0.05, lateness_ms=50.0) for i in range(30)]
    assert rules(judged(tmp_path, rows, load={"mode": "open", "rate": 1.0})) == ["arrivals_late"]


def test_lost_rows_make_the_run_incomplete(tmp_path: Path) -> None:
    summary = judged(tmp_path, counts={"sent": 33, "rows_lost": 0})
    assert (summary.verdict, rules(summary)) == ("INCOMPLETE", ["rows_missing"])
    assert summary.reasons[0].value == 3


@pytest.mark.parametrize("status", ["running", "interrupted", "failed"])
def test_run_that_did_not_end_as_planned_is_incomplete(tmp_path: Path, status: str) -> None:
    summary = judged(tmp_path, status=status)  # its rows are of another day
    assert (summary.verdict, rules(summary)) == ("INCOMPLETE", ["run_ended"])
    assert summary.run.going is False


def test_run_that_still_writes_its_rows_is_going_on_rather_than_dead(tmp_path: Path) -> None:
    now = time.time()
    rows = [row(sent_at=now - 30 + i) for i in range(30)]
    host_rows = [{"at": now - 30 + i, "source": "worker 0", "cpu_share": 0.4} for i in range(31)]
    phases = [{"name": "measure", "start": now - 30, "end": now + 3600}]
    summary = judged(tmp_path, rows, host_rows, status="running", phases=phases, counts=None)
    assert (summary.verdict, rules(summary)) == ("INCOMPLETE", ["still_going"])
    assert summary.run.going is True


def test_run_that_was_ended_by_a_rule_says_which(tmp_path: Path) -> None:
    ended = {"rule": "engine_gone", "code": 21, "sentence": "no request succeeded for 300 s: the {engine} is gone"}
    summary = judged(tmp_path, status="aborted", ended_early=ended)
    assert (summary.verdict, rules(summary)) == ("INCOMPLETE", ["run_ended"])
    assert ended["sentence"] in summary.reasons[0].sentence
    assert msgspec.to_builtins(summary.run.ended_early) == ended


def test_ended_early_outranks_untrustworthy_and_both_are_told_the_gravest_first(tmp_path: Path) -> None:
    summary = judged(tmp_path, host_rows=host(0.99), status="interrupted")
    assert summary.verdict == "INCOMPLETE"
    assert rules(summary) == ["run_ended", "worker_cpu"]


@pytest.mark.parametrize(("status", "words"), [("failed", "see the errors"), ("cancelled", "none ended before")])
def test_run_without_success_is_incomplete_and_says_whether_any_ended(tmp_path: Path, status: str, words: str) -> None:
    rows = [row(status=status, error="connect_refused", ttft_ms=None, ttft_uncertainty_ms=None)] * 3
    summary = judged(tmp_path, rows)
    assert (summary.verdict, rules(summary, "NO_SUCCESS")) == ("INCOMPLETE", ["successes"])
    assert words in summary.reasons[0].sentence


@pytest.mark.parametrize("content", [None, "", "{", "[1]", "{}"])
def test_a_folder_without_a_whole_manifest_is_incomplete(tmp_path: Path, content: str | None) -> None:
    judged(tmp_path)
    (tmp_path / schema.MANIFEST_JSON).unlink()
    if content is not None:
        (tmp_path / schema.MANIFEST_JSON).write_text(content)
    summary = summarise(read_run(tmp_path))
    assert (summary.verdict, rules(summary)) == ("INCOMPLETE", ["files_missing"])
    assert "run.json is missing or damaged" in summary.reasons[0].sentence


def test_a_folder_without_rows_is_incomplete(tmp_path: Path) -> None:
    judged(tmp_path, counts=None)
    (tmp_path / schema.REQUESTS_CSV).unlink()
    assert rules(summarise(read_run(tmp_path)), "INCOMPLETE") == ["files_missing"]


@pytest.mark.parametrize("status", [None, "done", 3])
def test_a_manifest_that_does_not_tell_how_the_run_ended_is_incomplete(tmp_path: Path, status: object) -> None:
    assert rules(judged(tmp_path, status=status)) == ["end_known"]


def test_a_run_that_failed_before_anything_was_sent_could_not_run(tmp_path: Path) -> None:
    ended = {"rule": "load_generator", "code": 18, "sentence": "no worker came"}
    judged(tmp_path, status="failed", ended_early=ended, counts=None)
    write_run(tmp_path, [], manifest(seconds=30.0, status="failed", ended_early=ended, counts=None))
    summary = summarise(read_run(tmp_path))
    assert rules(summary)[0] == "began" and summary.reasons[0].verdict == "COULD_NOT_RUN"
    assert "no worker came" in summary.reasons[0].sentence


def test_a_reason_for_an_early_end_counts_whatever_the_status_says(tmp_path: Path) -> None:
    ended = {"rule": "stopped", "code": 18, "sentence": "somebody stopped it"}
    assert rules(judged(tmp_path, status="complete", ended_early=ended)) == ["run_ended"]


def test_unwatched_load_generator_is_not_vouched_for(tmp_path: Path) -> None:
    rows = [row(sent_at=START + i, ttft_uncertainty_ms=None) for i in range(30)]
    assert rules(judged(tmp_path, rows, host_rows=[])) == ["health_known"]


def test_cancelled_tail_and_damaged_lines_are_remarks_only(tmp_path: Path) -> None:
    rows = [row(sent_at=START + i) for i in range(30)] + [row(status="cancelled")] * 2
    judged(tmp_path, rows)
    with (tmp_path / schema.REQUESTS_CSV).open("a") as file:
        file.write("torn")
    summary = summarise(read_run(tmp_path))
    assert summary.verdict == "VALID"
    assert rules(summary, "NOTE") == ["damaged_lines", "cancelled"]


def test_reason_that_the_run_recorded_itself_is_kept_once(tmp_path: Path) -> None:
    told = {
        "verdict": "INVALID",
        "reasons": [{"rule": "worker_died", "sentence": "Worker 1 died."}, {"rule": "worker_cpu", "sentence": "stale"}],
    }
    summary = judged(tmp_path, validity=told)
    assert summary.verdict == "INVALID"
    assert [r.sentence for r in summary.reasons] == ["Worker 1 died."]


def test_a_constraint_that_was_not_enforced_makes_the_run_invalid_in_the_engines_words(tmp_path: Path) -> None:
    told = {"enforced": False, "enforced_words": "choice: Yesterday we went to the sea"}
    summary = judged(tmp_path / "ignored", preflight=told)
    assert summary.verdict == "INVALID" and rules(summary, "INVALID") == ["not_enforced"]
    assert "by kind of constraint: choice: Yesterday we went to the sea" in summary.reasons[0].sentence
    assert judged(tmp_path / "enforced", preflight={"enforced": True}).verdict == "VALID"


def test_each_reason_says_what_was_found_and_what_to_do(tmp_path: Path) -> None:
    (reason,) = judged(tmp_path, host_rows=host(0.97)).reasons
    assert "97% of a core" in reason.sentence and "WORKERS" in reason.sentence
    assert (reason.value, reason.limit, reason.unit) == (pytest.approx(0.97), 0.9, "share")


def test_guard_on_requests_in_flight_is_reported_when_it_binds(tmp_path: Path) -> None:
    load = {"mode": "open", "rate": 1.0, "max_in_flight": 64}
    assert rules(judged(tmp_path, host_rows=host(0.4, in_flight=64), load=load)) == ["in_flight_limit"]


@pytest.mark.parametrize(("held", "seen", "words"), [(3, 10, ["3 arrivals"]), (0, 64, [])])
def test_a_guard_that_bound_between_two_looks_is_reported_by_the_arrivals_that_it_held_back(
    tmp_path: Path, held: int, seen: int, words: list[str]
) -> None:
    load = {"mode": "open", "rate": 1.0, "max_in_flight": 64}
    rows = [row(sent_at=START + i) for i in range(30)]
    summary = judged(
        tmp_path,
        rows,
        host_rows=host(0.4, in_flight=seen),
        load=load,
        counts={"sent": len(rows), "arrivals_queued": held},
    )
    assert rules(summary) == ["in_flight_limit"] * len(words)
    assert all(word in summary.reasons[0].sentence for word in words)


def test_a_lost_worker_makes_the_run_invalid(tmp_path: Path) -> None:
    rows = [row(sent_at=START + i) for i in range(30)]
    summary = judged(tmp_path, rows, counts={"sent": len(rows), "workers_lost": 1})
    assert rules(summary) == ["workers_lost"] and summary.verdict == "INVALID"


def test_arrivals_that_were_never_sent_make_the_run_invalid(tmp_path: Path) -> None:
    rows = [row(sent_at=START + i) for i in range(30)]
    summary = judged(tmp_path, rows, counts={"sent": len(rows), "unsent": 3}, load={"mode": "open", "rate": 5.0})
    assert rules(summary) == ["unsent"] and "3 requests that were due" in summary.reasons[0].sentence


@pytest.mark.parametrize("kind", schema.GENERATOR_KINDS)
def test_a_failure_of_the_load_generator_s_own_makes_the_run_invalid_and_is_not_the_engine_s(
    tmp_path: Path, kind: str
) -> None:
    rows = [row(sent_at=START + i) for i in range(30)] + [row(sent_at=START + 5, status="failed", error=kind)]
    summary = judged(tmp_path, rows)
    assert rules(summary) == ["generator_failures"] and summary.verdict == "INVALID"
    assert summary.errors.rate.value == 0


@pytest.mark.parametrize(("errors", "found"), [({}, []), ({"KeyError: 'x'": 1}, ["user_errors"])])
def test_tasks_that_raise_make_the_run_invalid_where_they_are_many(
    tmp_path: Path, errors: dict[str, int], found: list[str]
) -> None:
    rows = [row(sent_at=START + i) for i in range(30)]
    assert rules(judged(tmp_path, rows, counts={"sent": 30, "user_errors": errors})) == found


@pytest.mark.parametrize(
    ("lags_ms", "found"), [([1990.0], ["stalled"]), ([290.0], []), ([499.0] * 3, []), ([510.0], ["stalled"])]
)
def test_a_load_generator_that_stood_still_makes_the_run_invalid(
    tmp_path: Path, lags_ms: list[float], found: list[str]
) -> None:
    watched = host(0.4)
    for sample, lag_ms in zip(watched[3:], lags_ms, strict=False):
        sample["loop_lag_ms"] = lag_ms
    assert rules(judged(tmp_path, host_rows=watched), "INVALID") == found
