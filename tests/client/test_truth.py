"""The client against the server's own log of when each token was written.

Both read the same monotonic clock, and the client's stamp of an arrival can never be earlier than the server's stamp
of the write: that is cause and effect, and holds on any machine, however busy. How much later it is depends on the
machine and is measured by a benchmark, not asserted here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest

from tokenswarm.client.answer import Answer
from tokenswarm.client.client import LLMClient
from tokenswarm.sim.truth import read_truth

from .servers import PATIENT, Simulator, ask

REQUESTS = 40
CLOCK_SLACK_NS = 20_000
"""The kernel stamps arrivals on another clock than the server stamps writes; converting costs some microseconds."""


class Observed(LLMClient):
    """A client that lets a test see the exact moment from which it counts."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        self.sent_ns: dict[int, int] = {}

    def _exchange(
        self, connection: object, request: bytes, streamed: bool, answer: Answer, sent_ns: int, ready_ns: int
    ) -> Answer:
        self.sent_ns[id(answer)] = sent_ns
        return super()._exchange(connection, request, streamed, answer, sent_ns, ready_ns)


@pytest.fixture(
    scope="module",
    params=[("vllm",), ("sglang",), ("vllm", "--role-with-first-token")],
    ids=lambda options: "+".join(options),
)
def observed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[dict[str, Answer], dict[str, dict], dict[str, int]]]:
    """(answers, rows of the truth log, sent_at on the monotonic clock in ns) of a small load, by request id."""
    style, *options = request.param
    server = Simulator(
        tmp_path_factory.mktemp("truth"),
        "--profile",
        "flat",
        "--ttft-ms",
        "20",
        "--token-gap-ms",
        "3",
        "--style",
        style,
        *options,
    )
    client = Observed(server.url, PATIENT)

    def one(number: int) -> Answer:
        gevent.sleep(number * 0.004)
        return ask(client, f"r-{number}", max_tokens=1 + number % 20, stream=number % 8 != 7)

    jobs = [gevent.spawn(one, number) for number in range(REQUESTS)]
    gevent.joinall(jobs, raise_error=True)
    client.close()
    server.close()
    answers = {f"r-{number}": job.value for number, job in enumerate(jobs)}
    yield (
        answers,
        {row["request_id"]: row for row in read_truth(server.truth_log)},
        {request_id: client.sent_ns[id(answer)] for request_id, answer in answers.items()},
    )


def streamed(observed: tuple) -> Iterator[tuple[Answer, dict, int]]:
    answers, truth, sent_ns = observed
    for request_id, answer in answers.items():
        if answer.chunks is not None:
            yield answer, truth[request_id], sent_ns[request_id]


def test_every_request_is_in_both_records(observed: tuple) -> None:
    answers, truth, _ = observed
    assert len(answers) == REQUESTS
    assert set(answers) == set(truth)
    assert all(answer.ok for answer in answers.values())
    assert {row["outcome"] for row in truth.values()} == {"ok"}


def test_token_counts_are_the_servers(observed: tuple) -> None:
    answers, truth, _ = observed
    for request_id, answer in answers.items():
        row = truth[request_id]
        assert answer.usage.prompt_tokens == row["prompt_tokens"]
        assert answer.usage.completion_tokens == row["completion_tokens"] == row["tokens"]
        assert answer.usage.cached_tokens == row["cached_tokens"]


def test_every_write_with_text_is_one_chunk(observed: tuple) -> None:
    pairs = list(streamed(observed))
    assert len(pairs) > REQUESTS / 2
    for answer, row, _ in pairs:
        assert answer.chunks == row["writes"] == len(answer.token_gaps_ms) + 1


def test_no_token_is_stamped_before_it_was_written(observed: tuple) -> None:
    for answer, row, sent_ns in streamed(observed):
        assert sent_ns + answer.ttft_ms * 1e6 >= row["first_write_ns"] - CLOCK_SLACK_NS
        assert sent_ns + answer.last_token_ms * 1e6 >= row["last_write_ns"] - CLOCK_SLACK_NS
        arrived_ns = sent_ns + answer.ttft_ms * 1e6
        for gap_ms, written_ns in zip(answer.token_gaps_ms, row["write_ns"][1:], strict=True):
            arrived_ns += gap_ms * 1e6
            assert arrived_ns >= written_ns - CLOCK_SLACK_NS


def test_a_request_is_sent_before_the_server_reads_it(observed: tuple) -> None:
    answers, truth, sent_ns = observed
    for request_id in answers:
        assert sent_ns[request_id] <= truth[request_id]["arrival_ns"] + CLOCK_SLACK_NS


def test_the_first_token_is_not_the_role_event(observed: tuple) -> None:
    # The role is written when the request comes in, 20 ms before the first token: a client that took it for a token
    # would report less than the model's own time, which no token can.
    for answer, row, sent_ns in streamed(observed):
        assert sent_ns + answer.ttft_ms * 1e6 >= row["first_model_ns"] - CLOCK_SLACK_NS


def test_the_times_of_an_answer_are_in_order(observed: tuple) -> None:
    for answer, _, _ in streamed(observed):
        assert 0 <= (answer.connect_ms or 0) <= answer.headers_ms <= answer.ttft_ms <= answer.last_token_ms
        assert answer.e2e_ms == answer.last_token_ms
        assert answer.ttft_ms == answer.ttfo_ms  # there is no reasoning
        assert answer.ttft_uncertainty_ms >= 0
        assert sum(answer.token_gaps_ms) == pytest.approx(answer.last_token_ms - answer.ttft_ms, abs=1e-6)


def test_an_answer_that_was_not_streamed_ends_after_its_write(observed: tuple) -> None:
    answers, truth, sent_ns = observed
    plain = {request_id: answer for request_id, answer in answers.items() if answer.chunks is None}
    assert len(plain) == REQUESTS // 8
    for request_id, answer in plain.items():
        end_ns = sent_ns[request_id] + answer.e2e_ms * 1e6
        assert end_ns >= truth[request_id]["last_write_ns"] - CLOCK_SLACK_NS
        assert answer.ttft_ms is None


@pytest.mark.parametrize(
    "options",
    [("--style", "vllm"), ("--style", "sglang"), ("--style", "vllm", "--think-tags")],
    ids=lambda options: "+".join(options[1:]),
)
def test_reasoning_means_the_same_in_every_dialect(
    tmp_path: Path, connect: Callable[..., LLMClient], options: tuple[str, ...]
) -> None:
    server = Simulator(tmp_path, "--profile", "instant", "--reasoning", "always", "--answer-tokens", "20", *options)
    try:
        answer = ask(connect(server.url), "why", max_tokens=400, ignore_eos=False)
    finally:
        server.close()
    assert answer.ok
    assert answer.reasoning
    assert answer.text
    assert "think>" not in answer.text + answer.reasoning
    assert answer.ttft_ms <= answer.ttfo_ms <= answer.last_token_ms
