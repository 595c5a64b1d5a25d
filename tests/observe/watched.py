"""One run with failures, scraped by a real Prometheus with the files of compose/observe, and the means to ask it."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.support import CLI, PATIENCE_S, PROJECT, environment
from tokenswarm.contract.tables import MANIFEST_JSON, REQUESTS_CSV, SUMMARY_JSON

CONFIG = PROJECT / "compose" / "observe" / "prometheus.yml"
DASHBOARD = PROJECT / "compose" / "observe" / "grafana" / "dashboards" / "tokenswarm.json"
LOAD = (
    "--engine",
    "external",
    "--scenario",
    "chat",
    "--rate",
    "15",
    "--duration",
    "25s",
    "--workers",
    "2",
    "--set",
    "load.warmup_s=6 load.drain_s=20 slo.error_rate=0.5",
)
FAULTS = ("--fault", "status:503@0.06", "--fault", "error_event@0.04")


def program(name: str) -> str | None:
    """Where it is: on the PATH, or where need_prometheus.sh unpacks it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return shutil.which(name) or shutil.which(name, path=str(cache / "tokenswarm/prometheus/usr/bin"))


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def fetch_bytes(url: str, body: bytes | None = None) -> bytes:
    """An answer's body."""
    asked = urllib.request.Request(url, body, {"Content-Type": "application/json"} if body else {})
    with urllib.request.urlopen(asked, timeout=20) as answer:
        return answer.read()


def fetch(url: str, body: bytes | None = None) -> Any:
    """A JSON answer."""
    return json.loads(fetch_bytes(url, body))


@dataclass
class Watched:
    """A finished run and the Prometheus that watched it. `page`: what it scrapes, early in the run.
    `at`: when it last scraped the load generator."""

    prometheus: str
    engine: str
    idle_engine: str
    load_generator: str
    folder: Path
    page: bytes = b""
    at: float = 0.0

    @property
    def summary(self) -> dict[str, Any]:
        return json.loads((self.folder / SUMMARY_JSON).read_text("utf-8"))

    @property
    def manifest(self) -> dict[str, Any]:
        return json.loads((self.folder / MANIFEST_JSON).read_text("utf-8"))

    @property
    def rows(self) -> list[dict[str, str]]:
        with (self.folder / REQUESTS_CSV).open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def ask(self, expression: str, at: float | None = None) -> list[dict[str, Any]]:
        """The answer to an instant query, as the HTTP API gives it."""
        asked = urllib.parse.urlencode({"query": expression, "time": f"{self.at if at is None else at:.3f}"})
        return fetch(f"{self.prometheus}/api/v1/query?{asked}")["data"]["result"]

    def value(self, expression: str) -> float:
        """The one value of an instant query."""
        [found] = self.ask(expression)
        return float(found["value"][1])

    def samples(self, selector: str, seconds: int = 300) -> list[tuple[float, float]]:
        """All samples of one series up to the last scrape, as (moment, value)."""
        [found] = self.ask(f"{selector}[{seconds}s]")
        return [(moment, float(value)) for moment, value in found["values"]]


def queries(interval_s: int) -> Iterator[tuple[str, str, str]]:
    """(kind and title of the panel, legend, expression) of every query of the dashboard, as Grafana sends it with
    everything selected and this rate interval."""
    for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"]:
        for target in panel.get("targets", []):
            yield f"{panel['type']} {panel['title']}", target["legendFormat"], sent(target["expr"], interval_s)


def sent(expression: str, interval_s: int) -> str:
    """An expression with Grafana's variables filled in."""
    filled = expression.replace("$__rate_interval", f"{interval_s}s").replace("$instance", ".*")
    filled = filled.replace("$user_class", ".*")
    assert "$" not in filled, filled
    return filled


@contextlib.contextmanager
def watched_run(place: Path) -> Iterator[Watched]:
    """Play it. The engine under load is found by service discovery alone; another one by its port."""
    metrics, prometheus, loaded, idle = free_ports(4)
    (place / "prometheus.yml").write_text(_with_targets({9646: metrics, 30000: idle}), encoding="utf-8")
    with contextlib.ExitStack() as stack:
        start = _Starter(stack, place)
        start("sim", *CLI, "sim", "--port", str(loaded), *FAULTS)
        start("idle", *CLI, "sim", "--port", str(idle), "--style", "sglang")
        start(
            "prometheus",
            str(program("prometheus")),
            f"--config.file={place / 'prometheus.yml'}",
            f"--storage.tsdb.path={place / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{prometheus}",
        )
        watched = Watched(
            f"http://127.0.0.1:{prometheus}", f"127.0.0.1:{loaded}", f"127.0.0.1:{idle}", f"127.0.0.1:{metrics}", place
        )
        for url in (
            f"{watched.prometheus}/-/ready",
            f"http://{watched.engine}/health",
            f"http://{watched.idle_engine}/health",
        ):
            _await(url)
        _ask_a_little(watched.idle_engine)
        start(
            "load",
            *CLI,
            "load",
            *LOAD,
            "--host",
            f"http://{watched.engine}",
            "--metrics-port",
            str(metrics),
            "--results",
            str(place / "results"),
        )
        _await(f"http://{watched.load_generator}/metrics")
        watched.page = fetch_bytes(f"http://{watched.load_generator}/metrics")
        assert start.processes["load"].wait(2 * PATIENCE_S) is not None
        [watched.folder] = (place / "results").iterdir()
        assert (watched.folder / SUMMARY_JSON).is_file(), (place / "load.log").read_text()
        watched.at = time.time()
        ups = watched.samples(f'up{{job="tokenswarm",instance="{watched.load_generator}"}}')
        watched.at = max(moment for moment, up in ups if up == 1)
        yield watched


def _with_targets(ports: dict[int, int]) -> str:
    """The file that is delivered, with other ports; those that are not named lead nowhere."""

    def other(found: re.Match[str]) -> str:
        return f"127.0.0.1:{ports.get(int(found[1]), 1)}"

    return re.sub(r"127\.0\.0\.1:(\d+)", other, CONFIG.read_text("utf-8"))


class _Starter:
    """Starts processes that end with the stack; what they say is in NAME.log."""

    def __init__(self, stack: contextlib.ExitStack, place: Path) -> None:
        self._stack, self._place = stack, place
        self.processes: dict[str, subprocess.Popen] = {}

    def __call__(self, name: str, *command: str) -> None:
        log = self._stack.enter_context((self._place / f"{name}.log").open("wb"))
        process = subprocess.Popen(command, cwd=PROJECT, env=environment(), stdout=log, stderr=log)
        self._stack.callback(process.wait, 20)
        self._stack.callback(process.terminate)
        self.processes[name] = process


def _await(url: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        assert time.monotonic() < deadline, url
        time.sleep(0.1)


def _ask_a_little(engine: str) -> None:
    body = {"model": "sim-8b", "messages": [{"role": "user", "content": "say it again " * 60}], "max_tokens": 8}
    for _ in range(3):
        fetch(f"http://{engine}/v1/chat/completions", json.dumps(body).encode())
