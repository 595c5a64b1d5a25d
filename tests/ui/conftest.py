"""Locust's web UI as a person uses it: a real `tokenswarm ui` on the simulator, in headless Chromium."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from socket import socket

import pytest

from tests.browser.conftest import browser  # noqa: F401  (the fixture)
from tests.e2e.support import CLI, Started, started


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "ui: needs Chromium, and runs Locust's web UI")


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens at."""
    with closing(socket()) as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


class WebUi:
    """A UI that runs. `folders()` are the run folders that were made in it."""

    def __init__(self, command: Started, url: str) -> None:
        self.command, self.url = command, url

    def folders(self) -> list[Path]:
        return sorted(path for path in self.command.results.iterdir() if (path / "run.json").exists())

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=60) as answer:
            return answer.read().decode()


@contextmanager
def web_ui(
    results: Path, *arguments: str, host: str = "127.0.0.1", port: int | None = None, **extra: str
) -> Iterator[WebUi]:
    """`tokenswarm ui` on the simulator."""
    port = port or free_port(host)
    command = [*CLI, "ui", "--web-host", host, "--web-port", str(port), "--results", str(results), *arguments]
    with started(command, results, **extra) as run:
        run.wait_until(lambda: re.search(r"web UI: http", run._texts()[0]), "the web UI to listen")
        yield WebUi(run, f"http://{host}:{port}")


@pytest.fixture
def ui(tmp_path: Path) -> Iterator[Callable[..., object]]:
    """Makes UIs that do not outlive the test."""
    yield lambda *arguments, **more: web_ui(tmp_path / "results", *arguments, **more)
