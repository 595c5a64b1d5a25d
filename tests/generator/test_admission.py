"""Which workers a master lets in."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tokenswarm.generator.admission import gate_worker_registration


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
    runner.handle_message(client, SimpleNamespace(type=kind))


def test_newcomers_wait_until_the_reason_is_gone_and_nobody_else_is_held_up() -> None:
    runner, reason = Runner(), []
    gate_worker_registration(runner, lambda: reason[0] if reason else None)
    say(runner, "first", "client_ready")
    reason.append("a run is on")
    for client, kind in (("second", "client_ready"), ("first", "client_ready"), ("first", "heartbeat"),
                         ("second", "locustfile")):
        say(runner, client, kind)
    assert runner.heard == [("first", "client_ready"), ("first", "client_ready"), ("first", "heartbeat"),
                            ("second", "locustfile")]
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
