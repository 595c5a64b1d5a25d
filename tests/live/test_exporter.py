"""The pages that Prometheus reads: what they hold, who waits for whom, and what is told about the engine."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from flask import Flask

from tests.analysis import make_run
from tests.live.test_prometheus import stats
from tokenswarm.base.environment import METRICS_VARIABLE
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.cli import main
from tokenswarm.contract.phases import Timeline
from tokenswarm.live import exporter
from tokenswarm.live.exporter import Exporter, attach, serve
from tokenswarm.scenario.loading import load_scenario

SECRET = "sk-planted-secret"


class _Hook(list):
    """One of Locust's events."""

    def add_listener(self, listener: Any) -> None:
        self.append(listener)

    def fire(self, **facts: Any) -> None:
        for listener in self:
            listener(**facts)


@pytest.fixture
def part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """As much of a directing part as an exporter looks at, in the middle of a run."""
    monkeypatch.setenv("API_KEY", SECRET)
    (tmp_path / "run.json").write_text(
        json.dumps(
            {
                "run_id": "r1",
                "engine": {"name": "vllm", "base_url": "http://gpu1:8000/v1"},
                "model": "m",
                "scenario": {"name": "chat"},
                "simulated": False,
            }
        )
    )
    return SimpleNamespace(
        environment=SimpleNamespace(
            events=SimpleNamespace(quitting=_Hook()), user_classes=[Exporter], runner=SimpleNamespace(user_count=7)
        ),
        plan=SimpleNamespace(folder=tmp_path, scenario=load_scenario("chat", {}), controlled=True, api_key=SECRET),
        live=stats(make_run.row()),
        timeline=Timeline(make_run.START, make_run.START),
        process=None,
        director=SimpleNamespace(stopped=False),
        in_flight=lambda: Counter(RagReader=2),
    )


def asked(served: Exporter, path: str, method: str = "GET") -> tuple[str, str, bytes]:
    """(status, content type, body) of a request to the WSGI application."""
    heard: list[Any] = []
    body = b"".join(
        served.wsgi(
            {"PATH_INFO": path, "REQUEST_METHOD": method},
            lambda status, headers: heard.append((status, dict(headers)["Content-Type"])),
        )
    )
    return *heard[0], body


def test_the_page_is_prometheus_text_about_this_run_without_a_secret(part: SimpleNamespace) -> None:
    status, kind, body = asked(Exporter(part), "/metrics")
    assert (status, kind) == ("200 OK", "text/plain; version=0.0.4; charset=utf-8")
    assert b'tokenswarm_requests_total{phase="measure",status="ok",user_class="RagReader"} 1.0' in body
    assert b'user_class="Exporter"' in body  # a class of the locustfile that has sent nothing yet
    assert b"tokenswarm_users 7.0" in body and b'model="m"' in body and b'simulated="false"' in body
    assert SECRET.encode() not in body


def test_other_paths_and_methods_get_a_sentence(part: SimpleNamespace) -> None:
    for path, method in (("/", "GET"), ("/metrics", "POST"), ("/metrics/", "GET")):
        status, _, body = asked(Exporter(part), path, method)
        assert status == "404 Not Found" and b"/metrics" in body


def test_before_the_first_run_there_are_users_and_no_engine(part: SimpleNamespace) -> None:
    part.live = part.plan = None
    served = Exporter(part)
    assert [line for line in asked(served, "/metrics")[2].splitlines() if not line.startswith(b"#")] == [
        b"tokenswarm_users 7.0"
    ]
    assert json.loads(asked(served, "/targets")[2]) == []


@pytest.mark.parametrize(
    ("engine", "target", "scheme", "path"),
    [
        ({"name": "vllm", "base_url": "http://gpu1:8000/v1"}, "gpu1:8000", "http", "/metrics"),
        ({"name": "sglang", "base_url": "https://llm.example/team"}, "llm.example:443", "https", "/team/metrics"),
        ({"name": "sim", "base_url": "http://[::1]:8088"}, "[::1]:8088", "http", "/metrics"),
        ({"name": "trtllm", "base_url": "http://127.0.0.1:8000"}, "127.0.0.1:8000", "http", "/prometheus/metrics"),
    ],
)
def test_service_discovery_gets_the_engine_under_load(
    part: SimpleNamespace, engine: dict[str, str], target: str, scheme: str, path: str
) -> None:
    (part.plan.folder / "run.json").write_text(json.dumps({"engine": engine}))
    _, kind, body = asked(Exporter(part), "/targets")
    assert kind == "application/json"
    assert json.loads(body) == [{"targets": [target], "labels": {"__scheme__": scheme, "__metrics_path__": path}}]


def test_an_endpoint_that_is_no_known_engine_is_not_scraped(part: SimpleNamespace) -> None:
    (part.plan.folder / "run.json").write_text(json.dumps({"engine": {"name": "external", "base_url": "http://x"}}))
    assert json.loads(asked(Exporter(part), "/targets")[2]) == []


def test_others_run_while_a_page_is_made(part: SimpleNamespace) -> None:
    pieces: list[bytes] = []
    turns: list[int] = []

    def other() -> None:
        while len(turns) < 10_000:
            turns.append(len(pieces))
            gevent.sleep(0.0005)  # by a timer, which comes only when the loop looks at timers and sockets

    greenlet = gevent.spawn(other)
    pieces.extend(Exporter(part).page())
    greenlet.kill()
    assert len(pieces) > 20 and len(set(turns)) > len(pieces) / 2


def test_the_web_ui_serves_the_same_pages(part: SimpleNamespace) -> None:
    app = Flask(__name__)
    attach(app, part)
    page, targets = app.test_client().get("/metrics"), app.test_client().get("/targets")
    assert page.content_type == "text/plain; version=0.0.4; charset=utf-8" and b"tokenswarm_run_info" in page.data
    assert targets.get_json() == [
        {"targets": ["gpu1:8000"], "labels": {"__scheme__": "http", "__metrics_path__": "/metrics"}}
    ]


class _Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return make_run.START + 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Clock]:
    clock = _Clock()
    monkeypatch.setattr(exporter, "time", clock)
    yield clock


def test_a_run_that_is_over_waits_for_the_next_scrape(part: SimpleNamespace, clock: _Clock) -> None:
    served = Exporter(part)
    for _ in range(3):
        asked(served, "/metrics")
        clock.now += 5
    under_way = served.page()
    next(under_way)  # began before the end: it may miss the last figures
    leaving = gevent.spawn(part.environment.events.quitting.fire, environment=part.environment)
    gevent.sleep(0)
    list(under_way)
    gevent.sleep(0.01)
    assert not leaving.ready()
    asked(served, "/metrics")
    leaving.get(timeout=20)


@pytest.mark.parametrize(
    "why",
    [
        "nobody scrapes",
        "somebody looked twice",
        "somebody stopped the run",
        "the web UI goes on",
        "the next scrape is long due",
    ],
)
def test_nobody_waits_in_vain(part: SimpleNamespace, clock: _Clock, why: str) -> None:
    served = Exporter(part)
    for _ in range({"nobody scrapes": 0, "somebody looked twice": 2}.get(why, 4)):
        asked(served, "/metrics")
        clock.now += 500
    part.director.stopped = why == "somebody stopped the run"
    part.plan.controlled = why != "the web UI goes on"
    if why == "the next scrape is long due":
        clock.now += 5000
    leaving = gevent.spawn(part.environment.events.quitting.fire, environment=part.environment)
    gevent.sleep(0.01)
    assert leaving.ready()


def test_a_taken_port_is_one_sentence_and_its_code(
    part: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setenv(METRICS_VARIABLE, f"127.0.0.1:{port}")
        with pytest.raises(UserError, match=r"choose another METRICS_PORT \(--metrics-port\)") as raised:
            serve(part)
        assert raised.value.code is Exit.PORT
        assert main(["load", "--metrics-port", str(port)]) == Exit.PORT
        said = capsys.readouterr().err
    assert f"port {port} of 127.0.0.1: it is taken" in said and len(said.strip().splitlines()) == 1


def test_where_to_serve_must_be_an_address_of_this_machine(
    part: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv(METRICS_VARIABLE, "9646")
    with pytest.raises(UserError, match="HOST:PORT"):
        serve(part)
    assert main(["load", "--metrics-host", "0.0.0.0"]) == Exit.USAGE
    assert main(["load", "--metrics-port", "9646", "--metrics-host", "203.0.113.9"]) == Exit.USAGE
    assert "must be an address of this machine" in capsys.readouterr().err


def test_without_the_variable_nothing_is_served(part: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(METRICS_VARIABLE, raising=False)
    assert serve(part) is None
