"""A user's options for a run; `run_plan.resolve` turns them into a plan."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class LoadOptions:
    """The options of `load`, `soak`, `ui` or one side of `compare`. `overrides`: scenario values by dotted name (see
    `scenario.parse_set`)."""

    engine: str = "sim"
    scenario: str = "rag"
    host: str | None = None
    model: str | None = None
    device: str | None = None
    runtime: str | None = None
    """local | docker, for an engine started here; None = see `engines.default_runtime`."""
    gpu_hourly_cost: float | None = None
    """$ per GPU and hour, for the cost of tokens."""
    keep: bool = False
    """Leave an engine started here running after the run."""
    workers: int = 1
    master: tuple[str, int] | None = None
    """Address for workers on other machines; None = workers are started here."""
    corpus: str | None = None
    data: str | None = None
    """File of prompts, for scenarios that read them from one."""
    results: Path = Path("results")
    label: str | None = None
    """The user's own label for the run."""
    overrides: dict[str, str] = field(default_factory=dict)
    api_key: str | None = field(default=None, repr=False)
    argv: list[str] = field(default_factory=list)
