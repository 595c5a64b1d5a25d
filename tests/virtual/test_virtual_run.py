"""A run in virtual time: users, sessions, arrivals and phases as on the wall clock, the same to the last digit."""

from __future__ import annotations

import gc
from collections import Counter, defaultdict

import msgspec
import pytest

from tokenswarm.base.config_text import parse_set
from tokenswarm.contract.tables import REQUEST_COLUMNS, format_rows
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.virtual.run import VirtualRun, run
from tokenswarm.virtual.simulated_engine import Exchange, simulated
from tokenswarm.workloads.corpus import load_corpus

CORPUS = load_corpus()


def played(name: str, settings: str, *flags: str, seed: int = 1) -> VirtualRun:
    """A run of a scenario of ours."""
    return run(load_scenario(name, parse_set(f"load.drain_s=20 {settings}")), simulated(*flags), CORPUS, seed=seed)


def in_flight(rows: list[dict]) -> list[int]:
    """Requests in flight at each moment at which one is sent."""
    return [
        sum(row["sent_at"] <= at < row["sent_at"] + (row["e2e_ms"] or 1e9) / 1e3 for row in rows)
        for at in (row["sent_at"] for row in rows)
    ]


def test_the_same_settings_give_the_same_rows_and_another_seed_others() -> None:
    one, again, other = (played("rag", "load.duration_s=5 load.warmup_s=1", seed=seed) for seed in (1, 1, 2))
    assert one.rows == again.rows
    assert [row["ttft_ms"] for row in one.rows] != [row["ttft_ms"] for row in other.rows]


@pytest.mark.parametrize("load", ["load.users=4", "load.rate=10"])
def test_a_run_leaves_no_requests_to_the_garbage_collector(load: str) -> None:
    """A study has thousands of runs, and to look for the cycles of each was a tenth of its time."""
    gc.collect()
    gc.disable()
    try:
        found = played("rag", f"{load} load.duration_s=4 load.warmup_s=1 output.max_tokens=8")
        left = sum(isinstance(each, Exchange) for each in gc.get_objects())
    finally:
        gc.enable()
    assert len(found.rows) > 4 and left == 0


def test_an_open_loop_whose_sessions_go_on_from_the_warm_up_is_the_same_each_time() -> None:
    one, again = (played("rag", "load.rate=40 load.duration_s=4 load.warmup_s=4 output.max_tokens=8") for _ in range(2))
    assert any(row["continuing"] for row in one.measured())
    assert one.rows == again.rows


def test_an_engine_whose_clock_goes_twice_as_fast_answers_in_half_the_time() -> None:
    settings = "load.users=1 load.duration_s=3 load.warmup_s=0 user.think_time_s=1 output.max_tokens=16"
    one, quick = (next(iter(played("rag", settings, "--time-scale", scale).rows)) for scale in ("1", "2"))
    assert [quick[name] for name in ("ttft_ms", "e2e_ms")] == pytest.approx([one["ttft_ms"] / 2, one["e2e_ms"] / 2])


@pytest.mark.parametrize("name", ["rag", "chat", "batch", "reasoning"])
def test_rows_are_those_of_requests_csv_and_tell_a_whole_story(name: str) -> None:
    found = played(name, "load.users=4 load.duration_s=6 load.warmup_s=1 output.max_tokens=40")
    format_rows(REQUEST_COLUMNS, found.rows)  # raises if a column is not there
    assert {row["status"] for row in found.rows} == {"ok"} and len(found.rows) > 4
    timeline = found.timeline
    for row in found.rows:
        assert row["phase"] == timeline.phase_at(row["sent_at"])
        assert 0 < row["ttft_ms"] <= row["last_token_ms"] == row["e2e_ms"]
        assert row["chunks"] == row["completion_tokens"] and 0 <= row["cached_tokens"] < row["prompt_tokens"]
    turns = defaultdict(list)
    for row in sorted(found.rows, key=lambda row: row["sent_at"]):
        turns[row["conversation"]].append(row["turn"])
    assert all(seen == list(range(seen[0], seen[0] + len(seen))) for seen in turns.values())
    assert all(seen[0] == 1 for name, seen in turns.items() if not name.startswith("before"))


def test_a_closed_loop_has_each_user_ask_one_request_at_a_time_after_thinking() -> None:
    found = played("rag", "load.users=5 load.duration_s=10 load.warmup_s=0 user.think_time_s=0.25")
    rows = sorted(found.rows, key=lambda row: row["sent_at"])
    assert max(in_flight(rows)) <= 5
    free = sorted(row["sent_at"] + row["e2e_ms"] / 1e3 + 0.25 for row in rows)
    asked = [row["sent_at"] for row in rows[5:]]
    assert asked == pytest.approx(free[: len(asked)], abs=1e-6), "each asks a quarter of a second after an answer"


def test_in_a_closed_loop_a_user_s_sessions_are_the_same_work_whatever_the_engine_does() -> None:
    settings = "load.users=6 load.duration_s=30 load.warmup_s=4 output.max_tokens=8 rag.documents=3 load.answer_s=0.3"
    quick, slow = (played("rag", settings, "--profile", "flat", "--ttft-ms", ttft) for ttft in ("20", "700"))

    def work(one: VirtualRun) -> dict[tuple[str, int], tuple[str, int]]:
        return {
            (row["conversation"], row["turn"]): (row["document"], row["prompt_tokens"])
            for row in one.measured()
            if not row["continuing"]
        }

    mine, theirs = work(quick), work(slow)
    both = mine.keys() & theirs.keys()
    assert len(both) > 0.9 * len(theirs) > 50
    assert all(mine[each] == theirs[each] for each in both)
    assert len({document for document, _ in mine.values()}) > 15, "one is replaced each second"


@pytest.mark.parametrize("state", ["steady", "cold"])
def test_an_open_loop_sends_the_same_work_at_each_arrival_whatever_the_engine_does(state: str) -> None:
    """Who comes out of the warm-up in the middle of a session takes the places of such sessions. Where there are fewer
    than in a steady state, others are begun in their stead, and a few arrivals are not the same."""
    settings = f"load.rate=20 load.duration_s=10 load.warmup_s=8 output.max_tokens=8 prompts.state={state}"
    quick, slow = (played("rag", settings, "--profile", "flat", "--ttft-ms", ttft) for ttft in ("1", "300"))
    assert [len(run.rows) for run in (quick, slow)] == [len(quick.rows)] * 2
    for one in (quick, slow):
        assert max(abs(row["lateness_ms"]) for row in one.rows) == 0.0 and one.unsent == 0 and one.moved == 0

    def work(one: VirtualRun) -> list[tuple[float, str, int, int] | float]:
        rows = sorted(one.measured(), key=lambda row: row["scheduled_at"])
        return [
            row["scheduled_at"]
            if row["continuing"]
            else (row["scheduled_at"], row["conversation"], row["turn"], row["prompt_tokens"])
            for row in rows
        ]

    same = [one == other for one, other in zip(work(quick), work(slow), strict=True)]
    assert sum(same) / len(same) >= (1.0 if state == "cold" else 0.95)
    assert any(row["continuing"] for row in quick.measured()) == (state == "steady")


def test_more_than_the_engine_can_do_waits_for_max_in_flight_and_what_is_left_is_unsent() -> None:
    found = played(
        "rag",
        "load.rate=50 load.duration_s=5 load.warmup_s=0 load.max_in_flight=4 load.drain_s=1",
        "--profile",
        "flat",
        "--ttft-ms",
        "1000",
        "--token-gap-ms",
        "1",
    )
    assert found.unsent > 100 and found.arrivals_queued > found.unsent
    sent = [row for row in found.rows if row["phase"] == "measure"]
    assert max(in_flight(sent)) <= 4


def test_the_warm_up_ends_when_ttft_is_steady_or_at_its_limit() -> None:
    steady = played("batch", "load.users=4 load.duration_s=2", "--profile", "flat")
    assert steady.warmup.steady is True and steady.timeline.measure_start == pytest.approx(7.3)
    fixed = played("batch", "load.users=4 load.duration_s=2 load.warmup_s=3", "--profile", "flat")
    assert fixed.timeline.measure_start == pytest.approx(3.3)
    assert {row["phase"] for row in fixed.rows} == {"warmup", "measure"}


def test_users_come_and_go_in_steps_and_what_leavers_have_in_flight_is_cancelled() -> None:
    found = played(
        "batch",
        "load.users_steps=[2,8,1] load.duration_s=9 load.warmup_s=1 load.spawn_rate=100",
        "--profile",
        "flat",
        "--ttft-ms",
        "400",
    )
    begin = found.timeline.measure_start
    users = Counter()
    for row in found.rows:
        if row["phase"] == "measure":
            users[int((row["sent_at"] - begin) // 3)] += 1
    assert users[1] > 3 * users[0] > 3 * users[2] > 0
    assert 0 < sum(row["status"] == "cancelled" for row in found.rows) <= 7


def test_what_is_in_flight_when_the_drain_ends_is_cancelled_and_patience_ends_a_request() -> None:
    hopeless = played(
        "rag",
        "load.users=3 load.duration_s=2 load.warmup_s=0 load.drain_s=1",
        "--profile",
        "flat",
        "--ttft-ms",
        "60000",
    )
    assert [row["status"] for row in hopeless.rows] == ["cancelled"] * 3
    late = played(
        "rag",
        "load.users=3 load.duration_s=9 load.warmup_s=0 timeouts.first_token_s=2",
        "--profile",
        "flat",
        "--ttft-ms",
        "60000",
    )
    assert Counter((row["status"], row["error"]) for row in late.rows) == {("failed", "timeout_first_token"): 12}


def test_a_prompt_that_is_too_long_is_refused_as_the_simulator_does() -> None:
    found = played("rag", "load.users=1 load.duration_s=2 load.warmup_s=0", "--kv-tokens", "500")
    assert {(row["status"], row["error"], row["http_status"]) for row in found.rows} == {("failed", "rejected", 400)}
    assert len(found.rows) == 5, "a failure is followed by a pause of half a second: 0.3 s of lead, and 2 s"


@pytest.mark.parametrize("style", ["vllm", "sglang"])
def test_a_shared_document_is_cached_after_its_first_reader(style: str) -> None:
    found = played(
        "rag", "load.users=1 load.duration_s=20 load.warmup_s=0 rag.documents=1 prompts.state=cold", "--style", style
    )
    first, *others = sorted(found.measured(), key=lambda row: row["sent_at"])
    assert first["cached_tokens"] < 0.01 * first["prompt_tokens"] and others
    assert all(row["cached_tokens"] > 0.9 * row["prompt_tokens"] for row in others)


@pytest.mark.parametrize("loop", ["load.users=4", "load.rate=6"])
def test_a_warm_up_ends_by_ttft_hit_rate_and_requests_in_flight_as_the_real_one_does(loop: str) -> None:
    settings = f"{loop} load.duration_s=2 load.warmup_max_s=60 output.max_tokens=16"
    series = played("rag", settings).warmup.series
    assert isinstance(series, dict) and series.keys() == {"TTFT", "hit rate", "requests in flight"}
    cold = played("rag", f"{settings} prompts.state=cold").warmup.series
    assert isinstance(cold, msgspec.UnsetType), "of a fresh cache neither could be steady"
