"""Each fault of the simulator gives one answer of the right kind, and harms no other request."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import gevent
import pytest

from tokenswarm.client.answer import Answer
from tokenswarm.client.client import LLMClient, Timeouts
from tokenswarm.contract.tables import ERROR_KINDS
from tokenswarm.sim.faults import KINDS

from .servers import Simulator, ask

Connect = Callable[..., LLMClient]
PATIENT = Timeouts(connect_s=30, first_token_s=30, gap_s=30, total_s=30)
# One short limit each, so that a busy machine cannot make another one strike.
NO_FIRST = Timeouts(connect_s=30, first_token_s=0.3, gap_s=30, total_s=30)
NO_GAP = Timeouts(connect_s=30, first_token_s=30, gap_s=0.5, total_s=30)
NO_TIME = Timeouts(connect_s=30, first_token_s=30, gap_s=30, total_s=0.8)
TOKENS = 6

FAULTS = [
    # fault, limits, (status, error, http_status), events with text or None
    ("status:401", PATIENT, ("failed", "unauthorized", 401), None),
    ("status:403", PATIENT, ("failed", "unauthorized", 403), None),
    ("status:404", PATIENT, ("failed", "not_found", 404), None),
    ("status:422", PATIENT, ("failed", "rejected", 422), None),
    ("status:429,3", PATIENT, ("failed", "rate_limited", 429), None),
    ("status:500", PATIENT, ("failed", "server_error", 500), None),
    ("status:503", PATIENT, ("failed", "overloaded", 503), None),
    ("status:302", PATIENT, ("failed", "unexpected_status", 302), None),
    ("reset_before_headers", PATIENT, ("failed", "reset_before_headers", None), None),
    ("close_before_headers", PATIENT, ("failed", "reset_before_headers", None), None),
    ("no_headers", NO_FIRST, ("failed", "timeout_first_token", None), None),
    ("invalid_http", PATIENT, ("failed", "malformed_http", None), None),
    ("no_first_token", NO_FIRST, ("failed", "timeout_first_token", 200), 0),
    ("stall:1", NO_GAP, ("failed", "timeout_gap", 200), 1),
    ("stall:3", NO_GAP, ("failed", "timeout_gap", 200), 3),
    ("reset_mid_stream:3", PATIENT, ("failed", "reset_mid_stream", 200), None),  # a reset may destroy unread tokens
    ("close_mid_stream:3", PATIENT, ("failed", "reset_mid_stream", 200), 3),
    ("bad_chunk:3", PATIENT, ("failed", "malformed_http", 200), 3),
    ("truncate:3", PATIENT, ("failed", "truncated", 200), 3),
    ("error_event:3", PATIENT, ("failed", "engine_error", 200), 3),
    ("error_event:0", PATIENT, ("failed", "engine_error", 200), 0),
    ("endless_tokens", NO_TIME, ("failed", "timeout_total", 200), None),
    ("endless_pings", NO_GAP, ("failed", "timeout_gap", 200), TOKENS),
    ("malformed_json:3", PATIENT, ("failed", "malformed_event", 200), TOKENS - 1),
    ("no_usage", PATIENT, ("ok", None, 200), TOKENS),
    ("no_done", PATIENT, ("ok", None, 200), TOKENS),
    ("no_finish_reason", PATIENT, ("ok", None, 200), TOKENS),
    ("huge_event", PATIENT, ("ok", None, 200), TOKENS),
    ("split_utf8", PATIENT, ("ok", None, 200), TOKENS),
    ("dribble:29", PATIENT, ("ok", None, 200), TOKENS),
    ("coalesce:4", PATIENT, ("ok", None, 200), TOKENS),
    ("merge_tokens:4", PATIENT, ("ok", None, 200), 2),
    ("crlf", PATIENT, ("ok", None, 200), TOKENS),
    ("comments", PATIENT, ("ok", None, 200), TOKENS),
    ("multi_line", PATIENT, ("ok", None, 200), TOKENS),
    ("no_space", PATIENT, ("ok", None, 200), TOKENS),
    ("close_delimited", PATIENT, ("ok", None, 200), TOKENS),
]


@pytest.fixture(scope="module", params=["vllm", "sglang"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    server = Simulator(
        tmp_path_factory.mktemp("sim"),
        "--profile",
        "flat",
        "--ttft-ms",
        "5",
        "--token-gap-ms",
        "2",
        "--style",
        request.param,
    )
    yield server
    server.close()


def outcome(answer: Answer) -> tuple[str, str | None, int | None]:
    return answer.status, answer.error, answer.http_status


def test_every_fault_of_the_simulator_is_tried() -> None:
    assert {fault.partition(":")[0] for fault, *_ in FAULTS} == set(KINDS)


def test_every_fault_at_once_gives_one_right_answer_each_and_harms_no_other_request(
    engine: Simulator, connect: Connect
) -> None:
    clients = {id(limits): connect(engine.url, limits) for limits in (PATIENT, NO_FIRST, NO_GAP, NO_TIME)}
    faulty, healthy = [], []
    for number, (fault, limits, *_) in enumerate(FAULTS):
        faulty.append(gevent.spawn(ask, clients[id(limits)], f"fault-{number}", fault=fault, max_tokens=TOKENS))
        healthy.append(gevent.spawn(ask, clients[id(PATIENT)], f"healthy-{number}", max_tokens=40))
    gevent.joinall(faulty + healthy, raise_error=True)

    wrong = []
    for job, (fault, _, expected, chunks) in zip(faulty, FAULTS, strict=True):
        answer = job.value
        if outcome(answer) != expected or (chunks is not None and answer.chunks != chunks):
            wrong.append((fault, outcome(answer), answer.chunks, answer.error_detail[:80]))
    assert wrong == []
    for job in healthy:
        assert (outcome(job.value), job.value.chunks, job.value.usage.completion_tokens) == (("ok", None, 200), 40, 40)
    assert all(client.in_flight == 0 for client in clients.values())


@pytest.mark.parametrize("fault", ["no_first_token:0.1", "stall:1,0.1", "no_headers:0.1"])
def test_a_pause_within_the_limits_is_no_failure(simulator: Simulator, connect: Connect, fault: str) -> None:
    answer = ask(connect(simulator.url), fault=fault, max_tokens=TOKENS)
    assert (outcome(answer), answer.chunks) == (("ok", None, 200), TOKENS)


def test_every_error_kind_given_is_one_of_the_closed_set() -> None:
    assert {expected[1] for _, _, expected, _ in FAULTS} - {None} <= set(ERROR_KINDS)


def test_retry_after_is_kept(simulator: Simulator, connect: Connect) -> None:
    assert ask(connect(simulator.url), fault="status:429,3").retry_after_s == 3


def test_an_error_event_says_what_the_engine_said(simulator: Simulator, connect: Connect) -> None:
    assert "simulated failure" in ask(connect(simulator.url), fault="error_event").error_detail


def test_without_usage_events_are_counted_and_the_source_says_so(simulator: Simulator, connect: Connect) -> None:
    with_usage = ask(connect(simulator.url), max_tokens=TOKENS)
    without = ask(connect(simulator.url), fault="no_usage", max_tokens=TOKENS)
    assert (with_usage.completion_tokens, with_usage.token_source) == (TOKENS, "usage")
    assert (without.completion_tokens, without.token_source) == (TOKENS, "chunks")
    assert without.usage.prompt_tokens is None


def test_merged_tokens_are_counted_by_usage_not_by_events(simulator: Simulator, connect: Connect) -> None:
    answer = ask(connect(simulator.url), fault="merge_tokens:4", max_tokens=12)
    assert (answer.chunks, answer.completion_tokens, answer.token_source) == (3, 12, "usage")


@pytest.mark.parametrize(
    "kind",
    [
        "dribble:40",
        "coalesce",
        "crlf",
        "comments",
        "multi_line",
        "no_space",
        "close_delimited",
        "merge_tokens",
        "no_done",
    ],
)
def test_the_text_is_the_same_however_it_is_sent(simulator: Simulator, connect: Connect, kind: str) -> None:
    client = connect(simulator.url)
    expected = ask(client, "same", max_tokens=10)
    assert len(expected.text) > 10
    assert ask(client, "same", fault=kind, max_tokens=10).text == expected.text


def test_characters_cut_in_two_arrive_whole(simulator: Simulator, connect: Connect) -> None:
    assert ask(connect(simulator.url), fault="split_utf8", max_tokens=5).text == "né漢🙂" * 5


def test_an_event_of_8_mb_arrives_whole(simulator: Simulator, connect: Connect) -> None:
    answer = ask(connect(simulator.url), fault="huge_event", max_tokens=3)
    assert answer.ok
    assert answer.text.count("huge ") == 1_600_000


@pytest.mark.parametrize("fault", ["reset_mid_stream", "close_mid_stream", "truncate", "error_event", "bad_chunk"])
def test_the_next_request_after_a_fault_is_a_clean_one(simulator: Simulator, connect: Connect, fault: str) -> None:
    client = connect(simulator.url)
    assert ask(client, fault=fault).status == "failed"
    answer = ask(client, max_tokens=TOKENS)
    assert (outcome(answer), answer.chunks) == (("ok", None, 200), TOKENS)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("reset_mid_stream", ("failed", "reset_mid_stream", 200)),
        ("close_mid_stream", ("failed", "reset_mid_stream", 200)),
        ("malformed_json", ("failed", "malformed_event", 200)),
        ("error_event", ("failed", "engine_error", 200)),
        ("huge_event", ("ok", None, 200)),
        ("split_utf8", ("ok", None, 200)),
        ("no_usage", ("ok", None, 200)),
        ("close_delimited", ("ok", None, 200)),
    ],
)
def test_faults_of_answers_that_are_not_streamed(
    simulator: Simulator, connect: Connect, fault: str, expected: tuple
) -> None:
    answer = ask(connect(simulator.url), fault=fault, stream=False)
    if fault == "reset_mid_stream":  # the reset may destroy what was not read yet, the head included
        assert (answer.status, answer.error) in {("failed", "reset_mid_stream"), ("failed", "reset_before_headers")}
    else:
        assert outcome(answer) == expected
    assert answer.ttft_ms is None
