"""Several runs under one Locust: what they share, as the command line that started it knows it (`tokenswarm ui`).

Under plain Locust there is none, and each run finds out for itself what it needs.
"""

from __future__ import annotations

import os

import msgspec

from tokenswarm.base.environment import SESSION_VARIABLE
from tokenswarm.contract.manifest import CostRecord, EngineRecord, PreflightRecord


class UiSession(msgspec.Struct):
    """`scenario` and `scenarios` are what the start form offers, by name or path; `overrides` are scenario values by
    dotted name; the rest is for the run.json of each run."""

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
    """Where the log of an engine that was started here lies."""
    engines: list[str] = []
    engine_titles: dict[str, str] = {}
    """What people call them, by the names that commands have for them."""
    """Engines that a comparison can start, by name."""
    workers: int = 1
    asked_model: str | None = None
    """The model that was asked for by hand, for engines that are started."""

    def to_environment(self) -> dict[str, str]:
        """The variable that hands it to a Locust process."""
        return {SESSION_VARIABLE: msgspec.json.encode(self).decode()}


def session_from_environment() -> UiSession | None:
    """The session of this Locust process; None under plain Locust."""
    text = os.environ.get(SESSION_VARIABLE)
    return msgspec.json.decode(text, type=UiSession) if text else None
