"""One load-generating process: each request sent becomes one row, whatever happens to it."""

from __future__ import annotations

import csv
import errno
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest

from tests.client.events import delta, finish, sse, stream
from tests.client.servers import END, STREAM, STREAM_HEAD, ByteServer, Peer, answering, chunk
from tests.waiting import for_ever, until
from tokenswarm.base.config_text import parse_set
from tokenswarm.base.environment import KEY_VARIABLE
from tokenswarm.contract.phases import Timeline
from tokenswarm.contract.tables import HOST_METRICS_CSV, REQUESTS_CSV
from tokenswarm.generator import sinks
from tokenswarm.generator.load_process import LoadProcess, Outlets
from tokenswarm.generator.plan import ClassPlan, Plan
from tokenswarm.generator.sinks import FileSink
from tokenswarm.live.live_stats import LiveStats
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.workloads.base import Prompt
from tokenswarm.workloads.corpus import load_corpus

PROMPT = Prompt([{"role": "user", "content": "hello"}], "measure-000001", 1, 0)
ENDLESS = [STREAM_HEAD, chunk(sse(delta(content="a")))]


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    with gevent.Timeout(40, AssertionError("the test hangs")):
        yield


class Bench:
    """A load process against a byte-level server, with a run folder."""

    def __init__(self, folder: Path, script: Callable[[Peer], None], settings: str = "", shift_s: float = 0.0) -> None:
        self.folder = folder
        self.server = ByteServer(script)
        self.failures: list[OSError] = []
        plan = Plan(
            folder=folder,
            run_id="run-1",
            base_url=self.server.url,
            model="m",
            scenario=load_scenario("rag", parse_set(settings)),
            corpus=load_corpus(),
            seed=1,
            salt="a1",
            workers=1,
            controlled=True,
        )
        timeline = Timeline(time.time())
        timeline.set_window(time.time(), 60.0, 5.0)
        self.live = LiveStats(timeline, bounded=lambda _: True, open_loop=False)
        self.process = LoadProcess(
            plan, 0, timeline, Outlets(FileSink(folder), self.failures.append, self.live.merge), clock_shift_s=shift_s
        )

    def send(self, prompt: Prompt = PROMPT) -> object:
        return self.process.send(prompt, "measure", "RagReader", None)

    def rows(self) -> list[dict[str, str]]:
        """What stands in requests.csv."""
        with (self.folder / REQUESTS_CSV).open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def close(self) -> None:
        self.process.end()
        self.process.close()
        self.server.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(script: Callable[[Peer], None], settings: str = "", shift_s: float = 0.0) -> Bench:
        folder = tmp_path / f"run-{len(made)}"
        folder.mkdir()
        made.append(Bench(folder, script, settings, shift_s))
        return made[-1]

    yield make
    for one in made:
        one.close()


class Endless:
    """A server whose answers have a first token and no end. `begun`: how many have begun."""

    def __init__(self) -> None:
        self.begun = 0

    def __call__(self, peer: Peer) -> None:
        peer.request()
        peer.send_apart(*ENDLESS)
        self.begun += 1
        for_ever()


def test_a_row_belongs_to_the_level_in_which_it_was_sent(bench: Callable[..., Bench]) -> None:
    bench = bench(answering(STREAM))
    bench.send()
    bench.process.timeline.level_starts = [time.time()]
    bench.send()
    bench.process.send(PROMPT, "warmup", "RagReader", None)
    bench.process.flush()
    assert [row["level"] for row in bench.rows()] == ["1", "2", ""]


def test_rows_of_a_worker_whose_clock_is_ahead_are_in_the_master_s_time(bench: Callable[..., Bench]) -> None:
    bench = bench(answering(STREAM), shift_s=1000.0)
    begin = time.time()
    bench.process.send(PROMPT, "measure", "RagReader", begin)
    end = time.time()
    bench.process.flush()
    [row] = bench.rows()
    assert begin <= float(row["sent_at"]) + 1000.0 <= end
    assert float(row["scheduled_at"]) + 1000.0 == pytest.approx(begin, abs=0.001)


def test_an_open_loop_s_sessions_come_in_the_proportion_of_the_user_classes(bench: Callable[..., Bench]) -> None:
    process = bench(answering(STREAM), "load.rate=200 load.warmup_s=0").process
    sent: list[tuple[float, str]] = []
    begun: list[str] = []

    def user(name: str) -> None:
        begun.append(name)
        while True:
            arrival = process.next_arrival(None, name)
            assert arrival is not None
            sent.append((arrival.due, name))

    names = ("Agent",) * 320 + ("Manager",) * 80
    for name in names:
        process.next_user(name)
    users = [gevent.spawn(user, name) for name in names]
    until(lambda: len(begun) == len(users))
    all_wait = time.time()  # what was due before waited for users, and the first one took it
    after: list[str] = []

    def enough() -> bool:
        after[:] = [name for due, name in sent if due > all_wait]
        return len(after) >= 50

    until(enough)
    gevent.killall(users)
    assert Counter(after[:50])["Manager"] == pytest.approx(10, abs=2)


def test_each_request_is_one_row_whose_id_is_the_header(bench: Callable[..., Bench]) -> None:
    bench = bench(answering(STREAM))
    for _ in range(3):
        assert bench.send().ok
    bench.process.flush()
    ids = [row["request_id"] for row in bench.rows()]
    sent = [
        line.partition(b": ")[2].decode()
        for _, head, _ in bench.server.requests
        for line in head.split(b"\r\n")
        if line.startswith(b"X-Request-Id")
    ]
    assert ids == sent
    assert len(set(ids)) == 3


def test_the_body_is_what_the_scenario_says(bench: Callable[..., Bench]) -> None:
    bench = bench(answering(STREAM), "output.max_tokens=77 output.temperature=0.25")
    bench.send()
    ((_, _, body),) = bench.server.requests
    assert b'"max_tokens":77' in body
    assert b'"temperature":0.25' in body
    assert b'"stream_options":{"include_usage":true}' in body


def test_rows_reach_the_file_by_themselves(bench: Callable[..., Bench]) -> None:
    bench = bench(answering(STREAM))
    bench.send()
    until(bench.rows)
    assert bench.rows()[0]["status"] == "ok"
    assert sinks.FLUSH_INTERVAL_S < 1.0


def test_a_user_that_is_killed_leaves_one_cancelled_row(bench: Callable[..., Bench]) -> None:
    endless = Endless()
    bench = bench(endless)
    job = gevent.spawn(bench.send)
    until(lambda: endless.begun == 1)
    job.kill()
    bench.process.flush()
    (row,) = bench.rows()
    assert (row["status"], row["error"]) == ("cancelled", "")
    assert float(row["sent_at"]) > 0
    assert float(row["ttft_ms"]) > 0, "what was measured is kept, or it would count as a request without an answer"


def test_a_user_that_is_killed_before_any_answer_leaves_a_row_without_a_first_token(
    bench: Callable[..., Bench],
) -> None:
    asked: list[Peer] = []

    def silent(peer: Peer) -> None:
        peer.request()
        asked.append(peer)
        for_ever()

    bench = bench(silent)
    job = gevent.spawn(bench.send)
    until(lambda: bool(asked))
    job.kill()
    bench.process.flush()
    (row,) = bench.rows()
    assert (row["status"], row["ttft_ms"]) == ("cancelled", "")


def test_the_end_of_a_run_gives_each_request_in_flight_one_cancelled_row(bench: Callable[..., Bench]) -> None:
    endless = Endless()
    bench = bench(endless)
    jobs = [gevent.spawn(bench.send) for _ in range(5)]
    until(lambda: endless.begun == 5)
    bench.process.end()
    gevent.joinall(jobs, raise_error=True)
    rows = bench.rows()
    assert [row["status"] for row in rows] == ["cancelled"] * 5
    assert all(row["ttft_ms"] for row in rows)  # what was measured is kept
    assert len({row["request_id"] for row in rows}) == 5


def test_sent_is_ok_and_failed_and_cancelled(bench: Callable[..., Bench]) -> None:
    def script(peer: Peer) -> None:
        kind = peer.number % 4
        peer.request()
        if kind == 0:
            peer.send(STREAM)
        elif kind == 1:
            peer.send(STREAM_HEAD + chunk(sse(finish())))  # and close: reset mid-stream, or rather cut
        elif kind == 2:
            return
        else:
            for_ever()

    bench = bench(script)
    jobs = [gevent.spawn(bench.send) for _ in range(40)]
    until(lambda: len(bench.server.requests) == 40 and bench.process.rows == 30)
    bench.process.end()
    gevent.joinall(jobs, raise_error=True)
    counts = Counter(row["status"] for row in bench.rows())
    assert counts == Counter(bench.live.counts)
    assert counts == {"ok": 10, "failed": 20, "cancelled": 10}
    assert sum(counts.values()) == len(bench.server.requests) == bench.process.rows == 40


def test_what_was_odd_of_good_answers_is_counted(bench: Callable[..., Bench]) -> None:
    body = stream(delta(content="a", tool_calls={}), delta(content="b", tool_calls={}), finish())
    load = bench(answering(STREAM_HEAD + chunk(body) + END))
    assert [load.send().text for _ in range(3)] == ["ab"] * 3
    assert load.process.account().kinds["odd"] == {"tool_calls is an object": 3}


def test_a_bug_of_the_client_costs_no_row(bench: Callable[..., Bench]) -> None:
    bench = bench(answering(STREAM))
    answer = bench.send(Prompt([{"role": "user", "content": "\ud800"}], "c", 1, 0))  # no UTF-8 for that
    bench.process.flush()
    (row,) = bench.rows()
    assert (answer.error, row["status"], row["error"]) == ("client_error", "failed", "client_error")
    assert bench.send().ok


def test_a_check_that_fails_costs_no_row(bench: Callable[..., Bench]) -> None:
    bench = bench(answering(STREAM))
    assert bench.send(Prompt(PROMPT.messages, "c", 1, 0, check=lambda text: 1 / 0)).ok
    bench.process.flush()
    assert [row["valid_output"] for row in bench.rows()] == ["false"]


def test_a_private_prompt_that_the_server_gives_as_the_reason_of_an_end_is_not_written(
    bench: Callable[..., Bench],
) -> None:
    secret = "Mallory confides the merger of Zephyrine and Quobble"
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": secret}]}
    load = bench(answering(STREAM_HEAD + chunk(stream(delta(content="a"), last)) + END))
    assert load.send(Prompt([{"role": "user", "content": f"{secret}!"}], "c", 1, 0, private=True)).ok
    load.process.flush()
    (row,) = load.rows()
    assert "quotes the prompt" in row["finish_reason"] and "Mallory" not in row["finish_reason"]


def test_a_key_that_the_server_echoes_is_not_written(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "sk-planted-key")
    error = b'{"error":{"message":"Incorrect API key provided: sk-planted-key."}}'
    bench = bench(answering(b"HTTP/1.1 401 x\r\nContent-Length: %d\r\n\r\n%b" % (len(error), error)))
    bench.send()
    bench.process.flush()
    assert b"Bearer sk-planted-key" in bench.server.requests[0][1]
    assert bench.rows()[0]["error"] == "unauthorized"
    assert "sk-planted" not in (bench.folder / REQUESTS_CSV).read_text()


def test_a_full_disk_is_reported_once_and_keeps_what_was_written(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = bench(answering(STREAM))
    bench.send()
    bench.process.flush()

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sinks.os, "write", full)
    bench.send()
    for _ in range(3):
        bench.process.flush()
    assert [error.errno for error in bench.failures] == [errno.ENOSPC]
    assert len(bench.rows()) == 1
    monkeypatch.undo()  # room again before the end: nothing was thrown away
    bench.process.flush()
    assert len(bench.rows()) == 2


def test_the_load_generators_own_health_is_sampled(bench: Callable[..., Bench]) -> None:
    bench = bench(answering(STREAM))
    bench.send()
    path = bench.folder / HOST_METRICS_CSV

    def sampled() -> bool:
        bench.process.flush()
        return len(path.read_text().splitlines()) > 1

    until(sampled)
    row = next(csv.DictReader(path.read_text().splitlines()))
    assert row["source"] == "worker 0"
    assert float(row["cpu_share"]) >= 0
    assert float(row["rss_mb"]) > 1
    assert row["tokens"] == "2"


def test_each_user_class_has_the_workload_output_and_limits_of_its_own_plan(tmp_path: Path) -> None:
    server = ByteServer(answering(STREAM))
    reader = load_scenario("rag", parse_set("prompts.state=cold"))
    classifier = load_scenario("batch", parse_set("output.max_tokens=9 timeouts.total_s=7 prompts.state=cold"))
    plan = Plan(
        folder=tmp_path,
        run_id="run-1",
        base_url=server.url,
        model="m",
        scenario=reader,
        corpus=load_corpus(),
        seed=1,
        salt="a1",
        workers=1,
        controlled=True,
        classes={"BatchClassifier": ClassPlan(classifier)},
    )
    timeline = Timeline(time.time())
    timeline.set_window(time.time(), 60.0, 5.0)
    live = LiveStats(timeline, bounded=lambda _: True, open_loop=False)
    process = LoadProcess(plan, 0, timeline, Outlets(FileSink(tmp_path), [].append, live.merge))
    try:
        assert (plan.of("RagReader").limits, plan.of("BatchClassifier").limits.total_s) == (reader.timeouts, 7.0)
        for user_class in ("RagReader", "BatchClassifier", "RagReader"):
            prompt = next(iter(process.next_session("measure", user_class)))
            assert process.send(prompt, "measure", user_class, None).ok
    finally:
        process.end()
        process.close()
        server.close()
    bodies = [body for _, _, body in server.requests]
    assert [b'"max_tokens":9,' in body or b'"max_tokens":9}' in body for body in bodies] == [False, True, False]
    assert [b"Reference document" in body for body in bodies] == [True, False, True]
    with (tmp_path / REQUESTS_CSV).open(newline="", encoding="utf-8") as file:
        rows = [(row["user_class"], row["conversation"]) for row in csv.DictReader(file)]
    assert rows == [
        ("RagReader", "measure-000000"),
        ("BatchClassifier", "measure-000000"),
        ("RagReader", "measure-000017"),
    ]


def test_a_trace_context_goes_with_a_request_only_where_that_is_asked_for(bench: Callable[..., Bench]) -> None:
    heads: list[bytes] = []

    def note(peer: Peer) -> None:
        heads.append(peer.request())
        peer.send(STREAM)

    for settings in ("", "endpoint.traceparent=true"):
        load = bench(note, settings)
        load.send()
        load.process.end()
    assert b"traceparent" not in heads[0]
    [row] = load.rows()
    assert f"traceparent: 00-{row['trace_id']}-".encode() in heads[1]
