"""Several runs under one Locust: what they share, as the command line that started it knows it (`tokenswarm ui`).

Under plain Locust there is none, and each run finds out for itself what it needs.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from typing import Any

SESSION_VARIABLE = "TOKENSWARM_SESSION"
"""Environment variable with the session as JSON. It holds no secret."""


@dataclass(slots=True)
class UiSession:
    """`engine`, `preflight`, `gpus` and `cost` are entries of run.json; `scenario` and `scenarios` are what the start
    form offers, by name or path; `overrides` are scenario values by dotted name."""

    engine: dict[str, Any]
    model: str
    preflight: dict[str, Any]
    scenario: str
    scenarios: list[str]
    results: str
    corpus: str | None = None
    overrides: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    gpus: list[str] = field(default_factory=list)
    cost: dict[str, Any] | None = None
    simulated: bool = False

    def to_environment(self) -> dict[str, str]:
        """The variable that hands it to a Locust process."""
        return {SESSION_VARIABLE: json.dumps(asdict(self))}


def session_from_environment() -> UiSession | None:
    """The session of this Locust process; None under plain Locust."""
    text = os.environ.get(SESSION_VARIABLE)
    return UiSession(**json.loads(text)) if text else None
