"""What a user typed to have a run; `run_plan.resolve` makes a plan of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class LoadOptions:
    """What `load`, `soak`, `ui` or one side of `compare` was asked for. `overrides` are scenario values by dotted name
    (see `scenario.parse_set`)."""

    engine: str = "sim"
    scenario: str = "rag"
    host: str | None = None
    model: str | None = None
    device: str | None = None
    runtime: str | None = None
    """local | docker, of an engine that is started here; None = see `engines.default_runtime`."""
    gpu_hourly_cost: float | None = None
    """$ per GPU and hour, for what tokens cost."""
    keep: bool = False
    """Leave an engine that is started here running when the run is complete."""
    workers: int = 1
    master: tuple[str, int] | None = None
    """Address at which workers from other machines are awaited; None = workers are started here."""
    corpus: str | None = None
    data: str | None = None
    """File of prompts, for a scenario that takes them from one."""
    results: Path = Path("results")
    label: str | None = None
    """The user's own name for the run, to find it by."""
    overrides: dict[str, str] = field(default_factory=dict)
    api_key: str | None = field(default=None, repr=False)
    argv: list[str] = field(default_factory=list)
