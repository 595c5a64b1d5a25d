"""The same scenario in virtual time and on the wall clock, through Locust, sockets and the simulator's server."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import pytest

from tests.e2e.support import Finished, load, simulator, started
from tokenswarm.base.config_text import parse_set
from tokenswarm.generator.session_stream import prime_from
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.sim.truth import read_truth
from tokenswarm.virtual.run import VirtualRun, run
from tokenswarm.virtual.simulated_engine import simulated
from tokenswarm.workloads.corpus import load_corpus

pytestmark = pytest.mark.slow

SETTINGS = (
    "load.rate=4 load.warmup_s=2 load.drain_s=5 prompts.state=cold prompts.salt=fixed "
    "prompts.chars_per_token=4 output.max_tokens=12 rag.documents=5"
)
FLAGS = ("--seed", "3")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Finished, VirtualRun, Path]:
    """An open loop of 12 s at 4 requests/s: on the wall clock, in virtual time, and the simulator's truth log."""
    folder = tmp_path_factory.mktemp("wall")
    log = folder / "truth.csv"
    with simulator(folder / "sim", *FLAGS, "--truth-log", str(log)) as url:
        command = load(folder / "results", "--engine", "external", "--host", url, settings=SETTINGS, duration="12s")
        with started(command, folder / "results") as going:
            wall = going.finish()
    scenario = load_scenario("rag", parse_set(f"{SETTINGS} load.duration_s=12"))
    virtual = run(scenario, simulated(*FLAGS, "--model", wall.manifest["model"]), load_corpus(), salt="fixed")
    return wall, virtual, log


def test_both_send_the_same_prompts_at_the_same_arrivals_and_get_the_same_tokens(both) -> None:
    """Exactly, also on a machine that is late: what arrival n sends depends on nothing that takes time."""
    wall, virtual, _ = both
    start = next(phase["start"] for phase in wall.manifest["phases"] if phase["name"] == "measure")
    names = ("conversation", "turn", "prompt_tokens", "completion_tokens", "prompt_chars", "document", "finish_reason")
    sent = sorted(
        (row for row in wall.table() if row["phase"] == "measure"), key=lambda row: float(row["scheduled_at"])
    )
    planned = sorted(virtual.measured(), key=lambda row: row["scheduled_at"])
    assert len(sent) > 30
    assert [[row[name] for name in names] for row in sent] == [[str(row[name]) for name in names] for row in planned]
    assert [float(row["scheduled_at"]) - start for row in sent] == pytest.approx(
        [row["scheduled_at"] - virtual.timeline.measure_start for row in planned], abs=1e-4
    )


def test_the_model_s_times_agree_with_those_of_the_simulator_s_own_log(both) -> None:
    """By the simulator's truth, not by the client's clock: a busy machine moves single requests, so by the median."""
    wall, virtual, log = both
    truths = {truth["request_id"]: truth for truth in read_truth(log)}
    planned = {(row["phase"], row["conversation"], row["turn"]): row for row in virtual.measured()}
    ttft, e2e, cached = [], [], []
    for row in wall.table():
        mine = planned.get((row["phase"], row["conversation"], int(row["turn"])))
        if mine is not None:
            truth = truths[row["request_id"]]
            ttft.append((truth["first_model_ns"] - truth["submitted_ns"]) / 1e6 / mine["ttft_ms"])
            e2e.append((truth["last_model_ns"] - truth["submitted_ns"]) / 1e6 / mine["e2e_ms"])
            cached.append(int(row["cached_tokens"]) == mine["cached_tokens"])
    assert len(ttft) > 30
    assert median(ttft) == pytest.approx(1.0, abs=0.05) and median(e2e) == pytest.approx(1.0, abs=0.05)
    assert sum(cached) / len(cached) > 0.9


CLOSED = (
    "load.users=4 load.spawn_rate=4 load.warmup_s=2 load.drain_s=5 load.answer_s=0.2 prompts.salt=fixed "
    "prompts.chars_per_token=4 output.max_tokens=12 rag.documents=5"
)


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Finished, VirtualRun, Path]:
    """A closed loop of 4 users for 12 s, with documents that come and go: on both clocks, and the truth log."""
    folder = tmp_path_factory.mktemp("closed")
    log = folder / "truth.csv"
    with simulator(folder / "sim", *FLAGS, "--truth-log", str(log)) as url:
        command = load(folder / "results", "--engine", "external", "--host", url, settings=CLOSED, duration="12s")
        with started(command, folder / "results") as going:
            wall = going.finish()
    scenario = load_scenario("rag", parse_set(f"{CLOSED} load.duration_s=12"))
    virtual = run(scenario, simulated(*FLAGS, "--model", wall.manifest["model"]), load_corpus(), salt="fixed")
    return wall, virtual, log


def test_in_a_closed_loop_session_k_of_user_u_is_the_same_on_both_clocks(closed) -> None:
    """A machine that is late has had fewer of them; what both had is the same, to the last token."""
    wall, virtual, _ = closed
    names = ("prompt_tokens", "completion_tokens", "prompt_chars", "document", "finish_reason")
    sent, planned = (
        {
            (row["conversation"], int(row["turn"])): [str(row[name]) for name in names]
            for row in rows
            if row["phase"] == "measure" and row["status"] == "ok" and row["conversation"].startswith("measure-")
        }
        for rows in (wall.table(), virtual.rows)
    )
    both = sent.keys() & planned.keys()
    assert len(both) > 20
    assert {each: sent[each] for each in both} == {each: planned[each] for each in both}
    for had in (sent, planned):
        begun: dict[int, list[int]] = {}
        for conversation, turn in had:
            if turn == 1:
                number = int(conversation.removeprefix("measure-"))
                begun.setdefault(number % prime_from(4), []).append(number // prime_from(4))
        assert len(begun) == 4 and all(sorted(places) == list(range(len(places))) for places in begun.values())


def test_in_a_closed_loop_the_model_s_times_agree_with_those_of_the_simulator_s_own_log(closed) -> None:
    wall, virtual, log = closed
    truths = {truth["request_id"]: truth for truth in read_truth(log)}
    planned = {(row["conversation"], row["turn"]): row for row in virtual.measured()}
    ttft, e2e = [], []
    for row in wall.table():
        mine = planned.get((row["conversation"], int(row["turn"])))
        if mine is not None and row["phase"] == "measure" and row["status"] == "ok":
            truth = truths[row["request_id"]]
            ttft.append((truth["first_model_ns"] - truth["submitted_ns"]) / 1e6 / mine["ttft_ms"])
            e2e.append((truth["last_model_ns"] - truth["submitted_ns"]) / 1e6 / mine["e2e_ms"])
    assert len(ttft) > 20
    assert median(ttft) == pytest.approx(1.0, abs=0.05) and median(e2e) == pytest.approx(1.0, abs=0.05)
