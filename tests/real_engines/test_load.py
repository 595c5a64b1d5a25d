"""`tokenswarm load` against real engines: all four scenarios, checked against the engine's own counters."""

from __future__ import annotations

import math

import pytest

from tests.real_engines.real import API_KEY, ROOT, Run, Server, run_load, token_id
from tokenswarm.base.errors import Exit

# The load of these tests is far below any real one, and a tiny model on one CPU core answers it.
COMMON = {"load.warmup_s": 2, "load.drain_s": 60, "user.think_time_s": 0.05}
SCENARIOS = {
    "rag": {"rag.documents": 4, "rag.document_tokens": 900, "output.max_tokens": 16},
    "chat": {"chat.history_limit_tokens": 1500, "chat.answer_tokens": 24, "chat.message_tokens": 40},
    "batch": {"batch.document_tokens": 200},
}
DURATION = "8s"
USERS = 4

# A missed objective or a generator that a busy machine slowed down is a verdict about speed: not the subject here.
FINE = {Exit.PASSED, Exit.SLO_MISSED, Exit.INVALID}


def check(run: Run, server: Server) -> None:
    """What must hold of every scenario on every engine."""
    assert run.code in FINE, run.output
    assert run.manifest["status"] == "complete"
    assert run.manifest["simulated"] is False
    assert (run.manifest["engine"]["name"], run.manifest["engine"]["version"]) == (server.name, server.engine.version)
    assert any(row["phase"] == "measure" for row in run.requests)
    assert {(row["status"], row["error"]) for row in run.requests} == {("ok", "")}
    assert {row["token_source"] for row in run.requests} == {"usage"}
    counts = run.manifest["counts"]
    assert counts["sent"] == counts["ok"] == len(run.requests)
    assert run.total("prompt_tokens") == run.engine_total("prompt_tokens")
    assert run.total("completion_tokens") == run.engine_total("generation_tokens")
    assert run.total("cached_tokens") == run.engine_total("prefix_hit_tokens")
    assert run.manifest["cache_reset"]["done"] is True


def check_first_tokens(run: Run) -> None:
    """Each first token was seen after the engine says that it was made: never earlier, on the whole."""
    timed = [float(row["ttft_ms"]) for row in run.requests if row["ttft_ms"]]
    assert len(timed) == run.engine_total("server_ttft_count")
    assert sum(timed) / 1000 >= run.engine_total("server_ttft_sum_s")
    assert all(float(row["e2e_ms"]) >= float(row["ttft_ms"]) > 0 for row in run.requests)


def check_server_view(run: Run) -> None:
    """The engine's histograms over the measured phase hold the very first tokens that the client saw in it."""
    latency = run.manifest["server_latency"]
    assert latency["why"] is None
    measure = next(phase for phase in run.manifest["phases"] if phase["name"] == "measure")
    assert measure["start"] <= latency["start_at"] < measure["start"] + 6
    assert measure["end"] <= latency["end_at"] < measure["end"] + 6
    seen = [
        float(row["ttft_ms"])
        for row in run.requests
        if row["ttft_ms"]
        and latency["start_at"] <= float(row["sent_at"]) + float(row["ttft_ms"]) / 1000 <= latency["end_at"]
    ]
    ttft = latency["histograms"]["ttft"]
    # A token can be counted by the engine just before a reading and be seen by the client just after it.
    assert abs(ttft["count"] - len(seen)) <= USERS
    assert 0 < ttft["sum_s"] / ttft["count"] < 1.5 * sum(seen) / len(seen) / 1000
    assert latency["histograms"]["e2e"]["count"] > 0


class Runs:
    """Loads of the plain server, each made when it is first looked at."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._made: dict[str, Run] = {}

    def __getitem__(self, scenario: str) -> Run:
        if scenario not in self._made:
            values = COMMON | SCENARIOS[scenario]
            self._made[scenario] = run_load(self._server, scenario, values, DURATION, USERS)
        return self._made[scenario]


@pytest.fixture(scope="session")
def runs(server: Server) -> Runs:
    """By scenario."""
    return Runs(server)


@pytest.mark.parametrize("scenario", sorted(SCENARIOS))
def test_tokens_of_all_requests_add_up_to_the_engines_own_counters(runs: Runs, scenario: str, server: Server) -> None:
    check(runs[scenario], server)


@pytest.mark.parametrize("scenario", sorted(SCENARIOS))
def test_first_tokens_are_never_seen_before_the_engine_made_them(runs: Runs, scenario: str) -> None:
    check_first_tokens(runs[scenario])


@pytest.mark.parametrize("scenario", sorted(SCENARIOS))
def test_engine_and_client_view_are_of_the_same_first_tokens(runs: Runs, scenario: str) -> None:
    check_server_view(runs[scenario])


@pytest.mark.parametrize("scenario", sorted(SCENARIOS))
def test_api_key_is_in_nothing_that_the_run_left(runs: Runs, scenario: str) -> None:
    run, key = runs[scenario], API_KEY.encode()
    assert API_KEY not in run.output
    assert [path.name for path in run.folder.rglob("*") if path.is_file() and key in path.read_bytes()] == []


def test_later_requests_of_a_rag_document_come_from_the_cache(runs: Runs) -> None:
    run = runs["rag"]
    computed_at: dict[str, float] = {}
    later = []
    for row in sorted(run.requests, key=lambda each: float(each["sent_at"])):
        sent_at = float(row["sent_at"])
        if sent_at > computed_at.get(row["document"], math.inf):
            later.append(row)
        # What is sent while the document's first one is still computed may miss.
        computed_at.setdefault(row["document"], sent_at + float(row["ttft_ms"]) / 1e3)
    assert later
    hits = [row for row in later if int(row["cached_tokens"]) > 0.5 * int(row["prompt_tokens"])]
    assert len(hits) >= 0.8 * len(later)


def test_documents_that_the_warm_up_asked_about_are_in_the_cache_and_new_ones_are_not(runs: Runs) -> None:
    computed_at: dict[str, float] = {}
    first: dict[str, dict[str, str]] = {}
    for row in sorted(runs["rag"].requests, key=lambda each: float(each["sent_at"])):
        document, sent_at = row["document"], float(row["sent_at"])
        if row["phase"] == "measure":
            first.setdefault(document, row)
        elif row["ttft_ms"]:
            begun = sent_at + float(row["ttft_ms"]) / 1000
            computed_at[document] = min(begun, computed_at.get(document, begun))
    known = [
        int(row["cached_tokens"])
        for name, row in first.items()
        if computed_at.get(name, float("inf")) < float(row["sent_at"])
    ]
    new = [int(row["cached_tokens"]) for name, row in first.items() if name not in computed_at]
    assert known or new
    assert all(cached > 200 for cached in known)
    assert all(cached < 200 for cached in new)  # the chat template and the instruction, which all documents share


def test_telemetry_costs_less_than_a_hundredth_of_a_core(runs: Runs) -> None:
    telemetry = runs["rag"].manifest["telemetry"]
    seconds = float(runs["rag"].engine_metrics[-1]["at"]) - float(runs["rag"].engine_metrics[0]["at"])
    assert telemetry["failed"] == 0
    assert telemetry["cpu_s"] < 0.01 * seconds + 0.02  # the first reading has modules to load


def test_plain_answers_are_measured_without_a_first_token(server: Server) -> None:
    run = run_load(server, "batch", COMMON | SCENARIOS["batch"] | {"output.stream": "false"}, "5s", USERS)
    check(run, server)
    assert {row["ttft_ms"] for row in run.requests} == {""}
    assert all(float(row["e2e_ms"]) > 0 for row in run.requests)


def test_reasoning_is_told_from_the_answer(reasoner: Server, tmp_path_factory: pytest.TempPathFactory) -> None:
    # A random model closes its thought only if it is pushed to.
    text = (ROOT / "scenarios" / "reasoning.toml").read_text(encoding="utf-8")
    extra = "extra = { top_p = 0.95 }"
    assert extra in text
    biased = f'extra = {{ logit_bias = {{ "{token_id("</think>")}" = 5.5 }} }}'
    scenario = tmp_path_factory.mktemp("scenario") / "reasoning.toml"
    scenario.write_text(text.replace(extra, biased), encoding="utf-8")
    values = COMMON | {"output.max_tokens": 100, "output.temperature": 1.0, "output.ignore_eos": "true"}
    run = run_load(reasoner, str(scenario), values, DURATION, USERS)
    check(run, reasoner)
    check_first_tokens(run)
    answered = [row for row in run.requests if row["ttfo_ms"]]
    assert len(answered) >= 0.8 * len(run.requests)
    later = [row for row in answered if float(row["ttfo_ms"]) > float(row["ttft_ms"])]
    assert len(later) >= 0.5 * len(answered)
