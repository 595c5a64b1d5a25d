"""A connection that was kept open, and that the server closes just as the next request is sent on it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.client.servers import STREAM, Peer, ask, reset
from tokenswarm.client import client as module
from tokenswarm.client.client import SENT_AGAIN, LLMClient

_TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
Serve, Connect = Callable, Callable[..., LLMClient]
ENDS: dict[str, Callable[[Peer], object]] = {
    "closed": lambda peer: None,
    "reset": lambda peer: reset(peer.socket),
    "408": lambda peer: peer.send(_TIMED_OUT),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_the_request_is_sent_again_on_a_new_one_and_that_is_noted(
    serve: Serve, connect: Connect, end: Callable[[Peer], object]
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(STREAM)
        if peer.request() is not None:
            end(peer)

    server = serve(script)
    client = connect(server.url)
    first, second = ask(client, "r-1"), ask(client, "r-2")
    assert (first.ok, first.oddities, second.ok, second.oddities) == (True, (), True, (SENT_AGAIN,))
    assert (second.http_status, second.text, server.connections) == (200, "Hello", 2)
    ids = [head.lower().partition(b"x-request-id: ")[2][:3] for _, head, _ in server.requests]
    assert ids == [b"r-1", b"r-2", b"r-2"]
    assert second.ttft_ms is not None and second.connect_ms is not None and second.ttft_ms >= second.connect_ms


def test_on_a_new_connection_it_is_a_failure(serve: Serve, connect: Connect) -> None:
    server = serve(lambda peer: peer.request())
    assert (ask(connect(server.url)).error, server.connections) == ("reset_before_headers", 1)


def test_the_second_end_is_a_failure(serve: Serve, connect: Connect) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        if peer.number == 0:
            peer.send(STREAM)
            peer.request()

    client = connect(serve(script).url)
    assert ask(client).ok
    answer = ask(client)
    assert (answer.error, answer.oddities) == ("reset_before_headers", (SENT_AGAIN,))


@pytest.mark.parametrize("sent", [b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"])
def test_of_which_a_byte_came_it_is_not_sent_again(serve: Serve, connect: Connect, sent: bytes) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(STREAM)
        peer.request()
        peer.send_apart(sent)

    server = serve(script)
    client = connect(server.url)
    assert ask(client).ok and not ask(client).ok and server.connections == 1


def test_a_server_that_had_it_for_a_while_has_failed(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(STREAM)
        peer.request()

    monkeypatch.setattr(module, "_STALE_S", 0.0)  # whatever time passed is a while
    server = serve(script)
    client = connect(server.url)
    assert ask(client).ok and ask(client).error == "reset_before_headers" and server.connections == 1
