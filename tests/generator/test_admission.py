"""Which workers a master lets in."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gevent
import msgpack
import pytest
import zmq.green as zmq
from hypothesis import given
from hypothesis import strategies as st
from locust.rpc.zmqrpc import Server

from tokenswarm.generator.admission import gate_worker_registration
from tokenswarm.generator.distributed import _are_rows


class Runner:
    """As much of Locust's master as matters here."""

    def __init__(self) -> None:
        self.clients: dict[str, str] = {}
        self.heard: list[tuple[str, str]] = []

    def handle_message(self, client_id: str, message: Any) -> None:
        self.heard.append((client_id, message.type))
        if message.type == "client_ready":
            self.clients[client_id] = "ready"


def say(runner: Runner, client: str, kind: str) -> None:
    runner.handle_message(client, SimpleNamespace(type=kind, node_id=client))


def test_newcomers_wait_until_the_reason_is_gone_and_nobody_else_is_held_up() -> None:
    runner, reason = Runner(), []
    gate_worker_registration(runner, lambda: reason[0] if reason else None)
    say(runner, "first", "client_ready")
    reason.append("a run is on")
    for client, kind in (
        ("second", "client_ready"),
        ("first", "client_ready"),
        ("first", "heartbeat"),
        ("second", "locustfile"),
    ):
        say(runner, client, kind)
    assert runner.heard == [
        ("first", "client_ready"),
        ("first", "client_ready"),
        ("first", "heartbeat"),
        ("second", "locustfile"),
    ]
    reason.clear()
    say(runner, "second", "client_ready")
    assert set(runner.clients) == {"first", "second"}


def test_a_worker_that_is_turned_away_is_told_of_once(caplog: Any) -> None:
    runner = Runner()
    gate_worker_registration(runner, lambda: "there are 2 workers")
    for _ in range(3):
        say(runner, "third", "client_ready")
    assert [record.getMessage() for record in caplog.records] == ["worker third is not let in: there are 2 workers"]


def test_a_worker_that_locust_forgot_when_its_users_had_stopped_is_let_in_again_before_the_run_is_closed() -> None:
    runner, reason = Runner(), []
    gate_worker_registration(runner, lambda: reason[0] if reason else None)
    say(runner, "first", "client_ready")
    reason.append("a run is on")
    runner.clients.clear()
    say(runner, "first", "client_ready")
    assert set(runner.clients) == {"first"}


@pytest.mark.parametrize("kind", ["tokenswarm_rows", "quit", "stats", "heartbeat", "exception", "client_stopped"])
def test_of_a_stranger_nothing_is_heard_but_that_it_wants_to_come_in(kind: str) -> None:
    runner = Runner()
    gate_worker_registration(runner, lambda: None)
    say(runner, "stranger", kind)
    assert runner.heard == []
    say(runner, "stranger", "client_ready")
    say(runner, "stranger", kind)
    assert runner.heard == [("stranger", "client_ready"), ("stranger", kind)]


def test_nobody_speaks_in_the_name_of_a_worker() -> None:
    runner = Runner()
    gate_worker_registration(runner, lambda: None)
    say(runner, "worker", "client_ready")
    runner.handle_message("stranger", SimpleNamespace(type="quit", node_id="worker"))
    runner.handle_message("worker", SimpleNamespace(type="quit", node_id="other"))
    assert runner.heard == [("worker", "client_ready")]


GARBAGE = [
    b"",
    b"\xc1",
    b"\xc1\xff garbage",
    msgpack.dumps([1, 2]),
    msgpack.dumps({"a": 1}),
    msgpack.dumps((None, None, None)),
    msgpack.dumps(7),
    b"\x00" * 1000,
]


def test_bytes_that_are_no_message_do_not_end_the_listener() -> None:
    gate_worker_registration(Runner(), lambda: None)
    server = Server("127.0.0.1", 0)
    dealer = zmq.Context.instance().socket(zmq.DEALER)
    try:
        dealer.setsockopt(zmq.IDENTITY, b"worker")
        dealer.connect(f"tcp://127.0.0.1:{server.port}")
        for garbage in GARBAGE:
            dealer.send(garbage)
        dealer.send(msgpack.dumps(("client_ready", "1", "worker")))
        with gevent.Timeout(20, AssertionError("the listener hangs")):
            client, message = server.recv_from_client()
        assert (client, message.type, message.node_id) == ("worker", "client_ready", "worker")
    finally:
        dealer.close(linger=0)
        server.close(linger=0)


@given(st.binary(max_size=200))
def test_whatever_bytes_a_stranger_sends_nobody_of_ours_is_disturbed(data: bytes) -> None:
    gate_worker_registration(Runner(), lambda: None)
    sent = [[b"stranger", data], [b"\xff", data], [b"worker", msgpack.dumps(("ok", None, "worker"))]]
    server = SimpleNamespace(socket=SimpleNamespace(recv_multipart=lambda: sent.pop(0)))
    client, message = Server.recv_from_client(server)
    assert (client, message.type) == ("worker", "ok") or isinstance(message.type, str)


@pytest.mark.parametrize(
    "data",
    [
        None,
        7,
        "nope",
        {},
        {"table": "../../x", "lines": "evil", "count": 1},
        {"table": ["x"], "lines": "a\n", "count": 1},
        {"table": "requests.csv", "lines": 5, "count": "x"},
        {"table": "requests.csv", "lines": "half a line", "count": 1},
        {"table": "requests.csv", "lines": "a\n", "count": 9},
        {"table": "requests.csv", "lines": "a\n", "count": True},
    ],
)
def test_what_is_no_rows_of_a_table_is_not_written(data: object) -> None:
    assert not _are_rows(data)


def test_rows_of_a_table_are() -> None:
    assert _are_rows({"table": "requests.csv", "lines": "a,b\nc,d\n", "count": 2})
