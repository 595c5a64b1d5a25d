"""Fixtures of the engine tests."""

from __future__ import annotations

import pytest

from tokenswarm.engines.docker.docker_engine import DockerEngine
from tokenswarm.engines.started import StartedEngine


@pytest.fixture(autouse=True)
def _looked_at_more_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fake engine is ready within milliseconds, and is not looked for as rarely as a real one."""
    for kind in (StartedEngine, DockerEngine):
        monkeypatch.setattr(kind, "poll_s", 0.02)
