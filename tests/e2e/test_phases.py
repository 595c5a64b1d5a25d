"""The boundaries of a run's phases, seen in the folders of runs that other tests share."""

from __future__ import annotations

import pytest

from .support import Finished

# What lies between the choice of a request's phase and the stamp of its sending; on a busy machine it may be held up.
BETWEEN_S = 2.0


def check(run: Finished) -> None:
    """What must hold in a closed loop and an open one, with one worker and with several."""
    phases = {phase["name"]: phase for phase in run.manifest["phases"]}
    assert phases["warmup"]["end"] == phases["measure"]["start"]
    assert phases["measure"]["end"] == phases["drain"]["start"]
    rows = run.table()
    assert {row["phase"] for row in rows} == {"warmup", "measure"}
    for row in rows:
        phase = phases[row["phase"]]
        begun = row["conversation"].partition("-")[0]
        assert begun in ("before", "warmup", "measure")
        assert (begun != row["phase"]) == (row["continuing"] == "true"), "a session that goes on is not marked"
        assert phase["start"] <= float(row["sent_at"]) <= phase["end"] + BETWEEN_S
    assert run.summary["counts"]["measured"]["sent"] == sum(row["phase"] == "measure" for row in rows) > 0


def test_rows_are_of_the_phase_in_which_they_were_sent(scenario_run: Finished) -> None:
    check(scenario_run)


def test_sessions_go_on_from_the_warm_up_into_the_measured_phase(scenario_run: Finished) -> None:
    turns: dict[str, list[int]] = {}
    for row in sorted(scenario_run.table(), key=lambda row: float(row["sent_at"])):
        turns.setdefault(row["conversation"], []).append(int(row["turn"]))
    assert all(each == list(range(each[0], each[0] + len(each))) for each in turns.values()), "a turn was left out"
    if scenario_run.manifest["scenario"]["name"] in ("rag", "chat"):
        assert any(row["phase"] == "measure" and row["continuing"] == "true" for row in scenario_run.table())
        assert any(each[0] > 1 for each in turns.values()), "no session was under way when the run began"


def test_documents_of_the_warm_up_are_found_by_the_measured_phase(open_run: Finished) -> None:
    warm = {row["document"] for row in open_run.table() if row["phase"] == "warmup" and row["status"] == "ok"}
    found = [
        int(row["cached_tokens"]) / int(row["prompt_tokens"])
        for row in open_run.table()
        if row["phase"] == "measure" and row["status"] == "ok" and row["document"] in warm
    ]
    assert found and sum(share > 0.8 for share in found) > 0.9 * len(found)


def test_where_prompts_are_cold_no_session_goes_on_on_any_worker(cold_run: Finished) -> None:
    check(cold_run)
    assert {row["continuing"] for row in cold_run.table()} == {"false"}
    assert {row["worker"] for row in cold_run.table()} == {"0", "1"}


def test_session_k_of_a_user_is_the_same_whatever_happened_in_the_warm_up(series: dict[str, Finished]) -> None:
    def begun(run: Finished) -> set[str]:
        return {row["conversation"] for row in run.table() if row["conversation"].startswith("measure-")}

    first, second = begun(series["first"]), begun(series["second"])
    assert {f"measure-{user:06d}" for user in range(4)} <= first & second


def test_the_same_in_an_open_loop_with_two_workers(open_run: Finished) -> None:
    check(open_run)
    start = next(phase["start"] for phase in open_run.manifest["phases"] if phase["name"] == "measure")
    due = [float(row["scheduled_at"]) for row in open_run.table() if row["phase"] == "measure"]
    assert min(due) >= start - 0.001, "an arrival of the warm-up was measured"


def test_the_cache_was_emptied_and_the_warm_up_was_as_long_as_asked_for(scenario_run: Finished) -> None:
    assert scenario_run.manifest["cache_reset"]["done"] is True
    warmup = scenario_run.manifest["warmup"]
    assert (warmup["mode"], warmup["limit_s"]) == ("fixed", 1.0)


@pytest.mark.parametrize("name", ["ttft", "e2e"])
def test_engine_and_client_count_the_same_events(scenario_run: Finished, name: str) -> None:
    server = scenario_run.summary["server_latency"][name]
    assert server["mean"]["n"] > 0
    # A reading and a token of the same millisecond may pass one another.
    assert abs(server["mean"]["n"] - server["client"]["mean"]["n"]) <= 3


def test_documents_of_a_cold_measured_phase_are_in_no_cache(cold_run: Finished) -> None:
    least: dict[str, int] = {}
    for row in cold_run.table():
        if row["phase"] == "measure" and row["status"] == "ok":
            least[row["document"]] = min(int(row["cached_tokens"]), least.get(row["document"], 10**9))
    assert least
    assert max(least.values()) < 200, "a document was in the cache before its first request"
