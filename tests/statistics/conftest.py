"""What the statistics promise, by simulation: minutes, so not among the default tests (make test-statistics)."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "statistics: thousands of simulated runs (make test-statistics)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/statistics" in item.nodeid:
            item.add_marker(pytest.mark.statistics)
