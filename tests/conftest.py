"""For all suites: the mark `slow`, and Locust without its monkey-patching.

Locust patches sockets and threads of whatever process imports it, and under that pytest-xdist's workers come to a stop.
Its processes, which the tests start, are patched as always.
"""

from __future__ import annotations

import os

import pytest

os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"
import locust  # noqa: F401

del os.environ["LOCUST_SKIP_MONKEY_PATCH"]


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark that every room may use."""
    config.addinivalue_line("markers", "slow: takes long, and is run by `make test-slow`")
