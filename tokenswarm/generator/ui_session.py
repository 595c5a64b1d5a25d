"""What the runs under one Locust share, as set by the command line (`tokenswarm ui`). Under plain Locust there is no
such session, and each run determines what it needs itself.
"""

from __future__ import annotations

import os

import msgspec

from tokenswarm.base.environment import SESSION_VARIABLE
from tokenswarm.contract.manifest import CostRecord, EngineRecord, PreflightRecord


class UiSession(msgspec.Struct):
    """`scenario` and `scenarios`: offered in the start form, by name or path; `overrides`: scenario values by dotted
    name; the rest is for each run's run.json."""

    engine: EngineRecord
    model: str
    scenario: str
    scenarios: list[str]
    results: str
    corpus: str | None = None
    overrides: dict[str, str] = {}
    notes: list[str] = []
    gpus: list[str] = []
    preflight: PreflightRecord | None = None
    cost: CostRecord | None = None
    simulated: bool = False
    engine_log: str | None = None
    """Folder with the log of an engine started here."""
    engines: list[str] = []
    engine_titles: dict[str, str] = {}
    """Titles of engines, by the names used in commands."""
    """Engines that a comparison can start, by name."""
    workers: int = 1
    asked_model: str | None = None
    """The model that the user requested, for engines that are started."""

    def to_environment(self) -> dict[str, str]:
        """The environment variable that passes it to a Locust process."""
        return {SESSION_VARIABLE: msgspec.json.encode(self).decode()}


def session_from_environment() -> UiSession | None:
    """The session of this Locust process; None under plain Locust."""
    text = os.environ.get(SESSION_VARIABLE)
    return msgspec.json.decode(text, type=UiSession) if text else None
