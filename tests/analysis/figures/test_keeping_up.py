"""Whether the engine kept up: what a run's summary, page and exit code say of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenswarm.analysis.figures.overload import judge_overload
from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.render.markdown import markdown
from tokenswarm.analysis.summary import summarise

from tests.analysis.make_run import START, manifest, row, write_run
from tokenswarm.base.errors import Exit

SECONDS = 60.0


def host_row(**cells) -> dict:
    return {
        "at": START + 1,
        "source": "worker 0",
        "cpu_share": 0.1,
        "loop_lag_ms": 0.1,
        "read_lag_p99_ms": 0.1,
        "rss_mb": 90.0,
    } | cells


def open_loop(tmp_path: Path, *, rate: float, capacity: float):
    """One server that takes 1/capacity s a request, fed evenly at `rate`."""
    count = int(rate * SECONDS)
    due = np.arange(count) / rate + np.random.default_rng(1).uniform(0, 0.5 / rate, count)
    end = np.zeros(count)
    for number in range(count):
        end[number] = max(due[number], end[number - 1] if number else 0.0) + 1.0 / capacity
    rows = [
        row(
            sent_at=START + sent,
            scheduled_at=START + sent,
            lateness_ms=0.0,
            request_id=f"r{number}",
            ttft_ms=1000 * (ended - sent) + number * 7 % 100 / 1000,
            ttfo_ms=1000 * (ended - sent),
            e2e_ms=1000 * (ended - sent) + 10,
            last_token_ms=1000 * (ended - sent) + 10,
        )
        for number, (sent, ended) in enumerate(zip(due, end, strict=True))
    ]
    told = manifest(seconds=SECONDS)
    told["load"] |= {"mode": "open", "rate": rate, "users": None}
    return summarise(read_run(write_run(tmp_path, rows, told, host=[host_row()])))


def test_beyond_capacity_the_run_is_overloaded_and_gives_no_latency_but_throughput(tmp_path: Path) -> None:
    summary = open_loop(tmp_path, rate=20.0, capacity=12.0)
    found = summary.keeping_up
    assert found.overloaded
    assert found.offered_s == pytest.approx(20.0, rel=0.02)
    assert found.completed_s == pytest.approx(12.0, rel=0.02)
    assert found.in_flight_a_s == pytest.approx(8.0, rel=0.05)
    assert (summary.verdict, summary.outcome.name, summary.outcome.code) == (
        "OVERLOADED",
        "OVERLOADED",
        Exit.OVERLOADED,
    )
    assert "20 requests/s were offered, 12 were completed" in summary.outcome.sentence
    figure = summary.latency["ttft_ms"]["p95"]
    assert (figure.value, figure.why) == (None, "the engine was overloaded")
    for figure in summary.per_user_tok_s.values():  # 1 over a latency that is not given
        assert (figure.value, figure.why) == (None, "the engine was overloaded")
    assert "whole phase" not in (summary.steady_part.sentence or "")
    assert summary.rates["requests_s"].value == pytest.approx(12.0, rel=0.02)
    assert "OVERLOADED" in markdown(summary)


def test_below_capacity_it_is_not(tmp_path: Path) -> None:
    summary = open_loop(tmp_path, rate=10.0, capacity=12.0)
    assert summary.keeping_up.overloaded is False
    assert summary.outcome.name != "OVERLOADED"
    assert summary.latency["ttft_ms"]["p95"].value is not None


def test_few_requests_tell_nothing() -> None:
    at = np.linspace(0, 10, 20)
    assert judge_overload(at, at + 1, np.full(20, 100.0), 0.0, 10.0).overloaded is None


def test_a_guard_on_requests_in_flight_hides_no_overload() -> None:
    # 8 at once and no more: what is in flight stays, and what waits before it grows.
    due = np.arange(600) / 10.0
    done = np.arange(600) / 6.0
    found = judge_overload(due, done, 1000.0 * (done - due), 0.0, 60.0)
    assert found.overloaded
    assert found.in_flight_a_s == pytest.approx(4.0, rel=0.05)


def test_arrivals_that_were_held_back_until_the_end_count_as_offered(tmp_path: Path) -> None:
    """Eight requests in flight at most, so that a third of the arrivals was never sent and has no row."""
    count = int(12.0 * SECONDS)
    due, sent = np.arange(count) / 20.0, np.maximum(np.arange(count) / 20.0, np.arange(count) / 12.0)
    rows = [
        row(
            sent_at=START + at,
            scheduled_at=START + wanted,
            lateness_ms=1000 * (at - wanted),
            ttft_ms=300.0 + number * 7 % 100 / 1000,
            ttfo_ms=300.0,
            last_token_ms=600.0,
            e2e_ms=600.0,
            request_id=f"r{number}",
        )
        for number, (wanted, at) in enumerate(zip(due, sent, strict=True))
    ]
    told = manifest(seconds=SECONDS)
    told["load"] |= {"mode": "open", "rate": 20.0, "users": None, "max_in_flight": 8}
    told["counts"] = {"sent": count, "ok": count, "failed": 0, "cancelled": 0, "rows_lost": 0, "arrivals_queued": 480}
    summary = summarise(read_run(write_run(tmp_path, rows, told, host=[host_row()])))
    assert summary.keeping_up.overloaded
    assert summary.keeping_up.offered_s == pytest.approx(20.0, rel=0.02)
    assert summary.outcome.name == "OVERLOADED"  # not INVALID: the engine made them late, not the load generator


def closed_loop(tmp_path: Path, *, e2e_ms: float, held_ms: float):
    """Four users, each held for so long after an answer before it is free to ask anew."""
    turn_s = (e2e_ms + held_ms) / 1000.0
    rows = [
        row(
            sent_at=START + user * turn_s / 4 + turn * turn_s,
            e2e_ms=e2e_ms,
            ttft_ms=e2e_ms / 2,
            ttfo_ms=e2e_ms / 2,
            last_token_ms=e2e_ms,
            request_id=f"{user}-{turn}",
        )
        for user in range(4)
        for turn in range(int(SECONDS / turn_s))
    ]
    samples = [host_row(at=START + 0.5 * number, in_flight=4) for number in range(1, 120)]
    return summarise(read_run(write_run(tmp_path, rows, manifest(seconds=SECONDS), host=samples)))


def test_in_a_closed_loop_that_wastes_no_time_littles_law_holds(tmp_path: Path) -> None:
    law = closed_loop(tmp_path, e2e_ms=500.0, held_ms=0.0).keeping_up.littles_law
    assert law.holds
    assert law.by_answers == pytest.approx(4.0, rel=0.03)
    assert law.sentence is None


def test_users_who_are_held_after_their_answers_are_told(tmp_path: Path) -> None:
    summary = closed_loop(tmp_path, e2e_ms=500.0, held_ms=2000.0)
    law = summary.keeping_up.littles_law
    assert not law.holds
    assert law.lost_s == pytest.approx(2.0, rel=0.05)
    assert "Each user was held for 2,0" in law.sentence
    assert law.sentence in summary.notes
