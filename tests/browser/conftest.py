"""A headless Chromium for tests that look at the dashboard as a reader does."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""No sandbox, since containers run as root; and nothing that talks to a network on its own."""


def chromium_path() -> str | None:
    """Where a Chromium lies; None where there is none."""
    names = (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if name and (found := shutil.which(name))), None)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "browser: needs Chromium (set CHROMIUM, or have it on the PATH)")


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    """A browser that all tests share; skips them, saying why, where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (the dev extra has it)")
    path = chromium_path()
    if path is None:
        pytest.skip("no Chromium found: install it (apt-get install chromium) or set CHROMIUM to its path")
    with playwright.sync_playwright() as run:
        started = run.chromium.launch(executable_path=path, args=list(FLAGS))
        yield started
        started.close()
