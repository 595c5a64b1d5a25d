"""A real Prometheus beside a real run: `make test-observe`. Skipped with the reason where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.observe.watched import Watched, program, watched_run

HERE = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark."""
    config.addinivalue_line("markers", "observe: needs a Prometheus (make test-observe)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark everything here; skip it in a run of all tests, and where there is no Prometheus."""
    named = any("observe" in argument for argument in config.args)
    there = program("prometheus") and program("promtool")
    reason = None if named and there else "needs a Prometheus: make test-observe"
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("observe")
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """The run, over, with the Prometheus that watched it still up."""
    with watched_run(tmp_path_factory.mktemp("observe")) as run:
        yield run
