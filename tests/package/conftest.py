"""The package: what it declares, and what it installs."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "slow: takes long, and is run by `make test-slow`")
