"""Timeouts and the end of a run: every request ends, with the right outcome."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import gevent
import pytest

from tests.waiting import for_ever, until
from tokenswarm.client import client as client_module
from tokenswarm.client.client import LLMClient, Timeouts

from .events import ROLE, delta, finish, sse
from .servers import STREAM, STREAM_HEAD, ByteServer, Peer, ask, chunk

Serve = Callable[..., ByteServer]
Connect = Callable[..., LLMClient]

LONG = 30.0
"""Seconds: a limit that must not be the one that strikes."""
TOKEN = chunk(sse(delta(content="a")))
PING = chunk(b": ping\n\n")


def then_repeat(*first: bytes, again: bytes = b"") -> Callable[[Peer], None]:
    """Answer the first request with these bytes and go on with `again` every 20 ms, for ever."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send_apart(*first)
        while True:
            gevent.sleep(0.02)
            if again:
                peer.send(again)

    return script


@pytest.fixture
def full_backlog() -> Iterator[str]:
    """An address at which nobody accepts and the queue of the kernel is full: a connection there waits."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            fillers.append(filler)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        for filler in fillers:
            filler.close()


def test_no_connection_within_the_limit(full_backlog: str, connect: Connect) -> None:
    answer = ask(connect(full_backlog, Timeouts(connect_s=0.2, first_token_s=LONG, gap_s=LONG, total_s=LONG)))
    assert (answer.status, answer.error, answer.connect_ms) == ("failed", "connect_timeout", None)


@pytest.mark.parametrize(
    "script",
    [
        then_repeat(),
        then_repeat(b"HTTP/1.1 200 OK\r\nX-Slow:"),
        then_repeat(STREAM_HEAD),
        then_repeat(STREAM_HEAD + chunk(sse(ROLE))),
        then_repeat(STREAM_HEAD + chunk(sse(ROLE)), again=PING),
        then_repeat(STREAM_HEAD, again=chunk(sse(delta(content="")))),
    ],
    ids=["silence", "half-a-head", "head", "role", "role-and-pings", "empty-deltas"],
)
def test_no_token_within_the_limit(serve: Serve, connect: Connect, script: Callable[[Peer], None]) -> None:
    answer = ask(connect(serve(script).url, Timeouts(LONG, first_token_s=0.1, gap_s=LONG, total_s=LONG)))
    assert (answer.status, answer.error) == ("failed", "timeout_first_token")
    assert (answer.ttft_ms, answer.e2e_ms) == (None, None)


@pytest.mark.parametrize("again", [b"", PING, chunk(sse(delta(content="")))], ids=["silence", "pings", "empty-deltas"])
def test_no_further_token_within_the_limit_although_the_first_had_a_long_one(
    serve: Serve, connect: Connect, again: bytes
) -> None:
    server = serve(then_repeat(STREAM_HEAD, TOKEN, again=again))
    answer = ask(connect(server.url, Timeouts(LONG, first_token_s=LONG, gap_s=0.1, total_s=LONG)))
    assert (answer.status, answer.error, answer.chunks, answer.http_status) == ("failed", "timeout_gap", 1, 200)
    assert answer.ttft_ms is not None


def test_a_gap_limit_does_not_strike_before_the_first_token(serve: Serve, connect: Connect) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(STREAM_HEAD)
        gevent.sleep(0.25)
        peer.send(STREAM[len(STREAM_HEAD) :])

    assert ask(connect(serve(script).url, Timeouts(LONG, first_token_s=LONG, gap_s=0.05, total_s=LONG))).ok


def test_a_slow_stream_whose_gaps_are_within_the_limit_is_left_alone(serve: Serve, connect: Connect) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send_apart(STREAM_HEAD, *[TOKEN] * 8, pause_s=0.1)
        peer.send(chunk(sse(finish())) + b"0\r\n\r\n")

    answer = ask(connect(serve(script).url, Timeouts(LONG, first_token_s=LONG, gap_s=0.6, total_s=LONG)))
    assert (answer.status, answer.chunks) == ("ok", 8)


@pytest.mark.parametrize("stream", [True, False])
def test_a_request_that_is_not_finished_within_the_limit(serve: Serve, connect: Connect, stream: bool) -> None:
    server = serve(then_repeat(STREAM_HEAD, TOKEN, again=TOKEN))
    answer = ask(connect(server.url, Timeouts(LONG, LONG, LONG, total_s=0.4)), stream=stream)
    assert (answer.status, answer.error, answer.http_status) == ("failed", "timeout_total", 200)
    if stream:
        assert answer.chunks > 1
        assert answer.e2e_ms == answer.last_token_ms


def test_a_plain_answer_has_no_first_token_and_no_gap_to_wait_for(serve: Serve, connect: Connect) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        gevent.sleep(0.25)
        body = b'{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}]}'
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    client = connect(serve(script).url, Timeouts(LONG, first_token_s=0.05, gap_s=0.05, total_s=LONG))
    assert ask(client, stream=False).ok


def test_a_server_that_does_not_read_the_request(serve: Serve, connect: Connect) -> None:
    server = serve(for_ever)
    client = connect(server.url, Timeouts(LONG, first_token_s=0.3, gap_s=LONG, total_s=LONG))
    answer = ask(client, messages=[{"role": "user", "content": "x" * 20_000_000}])
    assert (answer.status, answer.error) == ("failed", "timeout_first_token")


def test_an_answer_that_is_done_is_a_success_even_if_its_body_never_ends(serve: Serve, connect: Connect) -> None:
    server = serve(then_repeat(STREAM[:-5], again=PING))
    answer = ask(connect(server.url, Timeouts(LONG, LONG, gap_s=0.3, total_s=LONG)))
    assert (answer.status, answer.error, answer.text) == ("ok", None, "Hello")


def test_a_broken_body_is_named_so_although_a_limit_brought_it_to_light(serve: Serve, connect: Connect) -> None:
    server = serve(then_repeat(STREAM_HEAD, TOKEN, b"not-hex\r\nxxxx", again=b"xxxx"))
    answer = ask(connect(server.url, Timeouts(LONG, LONG, gap_s=0.3, total_s=LONG)))
    assert (answer.status, answer.error) == ("failed", "malformed_http")


def test_a_timed_out_connection_is_not_used_again(serve: Serve, connect: Connect) -> None:
    server = serve(then_repeat(STREAM_HEAD, TOKEN))
    client = connect(server.url, Timeouts(LONG, LONG, gap_s=0.1, total_s=LONG))
    assert [ask(client).error for _ in range(2)] == ["timeout_gap"] * 2
    assert server.connections == 2


# ---- the end of a run


def test_cancel_all_ends_everything_in_flight(serve: Serve, connect: Connect, full_backlog: str) -> None:
    streaming = connect(serve(then_repeat(STREAM_HEAD, TOKEN, again=TOKEN)).url)
    stuck = connect(serve(for_ever).url)
    connecting = connect(full_backlog)
    jobs = [
        gevent.spawn(ask, streaming),
        gevent.spawn(ask, streaming, stream=False),
        gevent.spawn(ask, stuck),
        gevent.spawn(ask, stuck, messages=[{"role": "user", "content": "x" * 20_000_000}]),
        gevent.spawn(ask, connecting),
    ]
    for _ in range(40):  # turns of the event loop, however long the large body keeps it
        gevent.sleep(0.005)
    assert [client.in_flight for client in (streaming, stuck, connecting)] == [2, 2, 1]
    assert [client.cancel_all() for client in (streaming, stuck, connecting)] == [2, 2, 1]
    gevent.joinall(jobs, raise_error=True)
    assert [(job.value.status, job.value.error) for job in jobs] == [("cancelled", None)] * 5
    assert [client.in_flight for client in (streaming, stuck, connecting)] == [0, 0, 0]
    assert jobs[0].value.ttft_ms is not None  # what was measured is kept


def test_nothing_is_sent_after_cancel_all(serve: Serve, connect: Connect) -> None:
    server = serve(then_repeat(STREAM))
    client = connect(server.url)
    client.cancel_all()
    assert ask(client).status == "cancelled"
    gevent.sleep(0.05)
    assert server.requests == []


def test_a_killed_greenlet_leaves_nothing_behind(serve: Serve, connect: Connect) -> None:
    server = serve(then_repeat(STREAM_HEAD, TOKEN, again=TOKEN))
    client = connect(server.url)
    job = gevent.spawn(ask, client)
    until(lambda: server.requests)
    job.kill()
    assert client.in_flight == 0
    assert not client._idle


def test_somebody_elses_timeout_is_not_taken_for_the_connect_limit(full_backlog: str, connect: Connect) -> None:
    client = connect(full_backlog, Timeouts(connect_s=LONG))
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.1):
        ask(client)
    assert client.in_flight == 0


def test_the_watchdog_looks_often_enough() -> None:
    assert client_module._WATCH_INTERVAL_S <= 0.1
