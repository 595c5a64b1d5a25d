"""An open loop with two load-generating processes (Locust master and workers)."""

from __future__ import annotations

from collections import Counter

from tokenswarm.base.errors import Exit

from .support import Finished

RATE, SECONDS = 20.0, 4.0
"""Of `open_run`: requests a second, and warm-up and measured seconds together."""


def test_a_run_in_an_open_loop_ends_complete_and_leaves_no_process(open_run: Finished) -> None:
    assert open_run.code in (Exit.PASSED, Exit.SLO_MISSED, Exit.INVALID), open_run.err
    assert open_run.manifest["status"] == "complete"
    assert open_run.manifest["load"]["mode"] == "open" and open_run.manifest["load"]["rate"] == RATE
    assert open_run.left == []


def test_both_workers_rows_are_in_one_file(open_run: Finished) -> None:
    rows, counts = open_run.table(), open_run.manifest["counts"]
    assert {row["worker"] for row in rows} == {"0", "1"}
    assert counts["rows"] == counts["sent"] == len(rows)
    assert counts["workers_lost"] == 0
    assert {row["source"] for row in open_run.table("host_metrics.csv")} >= {"worker 0", "worker 1"}


def test_request_ids_and_sessions_are_unique_among_workers(open_run: Finished) -> None:
    rows = open_run.table()
    assert max(Counter(row["request_id"] for row in rows).values()) == 1
    turns = Counter((row["phase"], row["conversation"], row["turn"]) for row in rows)
    assert max(turns.values()) == 1, "two workers played the same session"


def test_arrivals_follow_the_schedule(open_run: Finished) -> None:
    rows, counts = open_run.table(), open_run.manifest["counts"]
    assert all(row["scheduled_at"] and row["lateness_ms"] for row in rows)
    # No request is sent before its time; a ms of rounding between two clocks is allowed.
    assert min(float(row["lateness_ms"]) for row in rows) > -1.0
    # Poisson: 80 arrivals are expected with a standard deviation of 9. What a busy machine could not send is counted.
    scheduled = len(rows) + counts["unsent"]
    assert 0.5 * RATE * SECONDS < scheduled < 2 * RATE * SECONDS


def test_locusts_totals_agree_with_the_rows_of_all_workers(open_run: Finished) -> None:
    total = next(row for row in open_run.table("locust_stats.csv") if row["Name"] == "Aggregated")
    ended = [row for row in open_run.table() if row["status"] in ("ok", "failed")]
    assert int(total["Request Count"]) == len(ended)


def test_both_workers_hash_with_one_key(open_run: Finished) -> None:
    told = open_run.table("prompts.csv")
    assert len(told) == len(open_run.table())
    first = [{row["prompt"][:8] for row in told if row["worker"] == worker} for worker in ("0", "1")]
    assert first[0] & first[1], "no beginning that both sent is known to be the same"
    assert open_run.summary["cache"]["yardstick"]["requests_lost"] == 0
