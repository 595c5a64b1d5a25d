"""For all suites: the mark `slow`, hypothesis without a clock, Locust without its monkey-patching, and pandas' texts as
a plain installation has them.

Locust patches sockets and threads of whatever process imports it, and under that pytest-xdist's workers come to a stop.
Its processes, which the tests start, are patched as always.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says nothing on a busy machine.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark that every room may use."""
    config.addinivalue_line("markers", "slow: takes long, and is run by `make test-slow`")
    if not _hands_out_tests(config):
        _import_locust_unpatched()
        _texts_without_pyarrow()


def _hands_out_tests(config: pytest.Config) -> bool:
    """Whether this process only hands the tests to pytest-xdist's workers."""
    return bool(config.getoption("numprocesses", None)) and not hasattr(config, "workerinput")


def _import_locust_unpatched() -> None:
    os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"
    import locust  # noqa: F401

    del os.environ["LOCUST_SKIP_MONKEY_PATCH"]


def _texts_without_pyarrow() -> None:
    """pyarrow, which the package does not require, is installed for some tests; pandas would use it for all texts."""
    import pandas as pd

    pd.set_option("mode.string_storage", "python")


@pytest.fixture(autouse=True)
def _safe_path_ends_with_the_test() -> Iterator[None]:
    """A command that a test calls sets it for the processes that it starts, and would for those of later tests."""
    yield
    os.environ.pop("PYTHONSAFEPATH", None)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart() -> None:
    """Collect without looking for garbage: thousands of tests are made, and none goes."""
    gc.disable()


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """What is collected stays to the end: the garbage collector need not look through it during each test."""
    gc.enable()
    gc.freeze()
