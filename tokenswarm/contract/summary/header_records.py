"""What was measured, on what, when, with which load."""

from __future__ import annotations

from msgspec import field

from tokenswarm.contract.engine_title import engine_title
from tokenswarm.contract.manifest import EndedEarlyRecord, GitRecord, HostRecord, LoadRecord
from tokenswarm.contract.summary.figure import Number, Record


class EngineHeader(Record):
    """The engine that was measured."""

    name: str | None = None
    title: str | None = None
    version: str | None = None
    base_url: str | None = None
    runtime: str | None = None
    cold_start_s: Number | None = None
    image_digest: str | None = None

    @property
    def with_version(self) -> str:
        """Display name with version, such as `vLLM 0.9.1`."""
        return " ".join(part for part in (engine_title(self.title, self.name), self.version) if part)


class ScenarioHeader(Record):
    """The scenario that was run."""

    name: str | None = None
    title: str | None = None
    description: str | None = None
    workload: str | None = None


class WindowHeader(Record):
    """The measured stretch, in unix seconds, and what it was taken from."""

    start_unix_s: Number | None = None
    end_unix_s: Number | None = None
    seconds: Number | None = None
    source: str | None = None


class GpuState(Record):
    """How fast a GPU ran while it was measured: the median clock of its multiprocessors where it worked (None = not
    known), and the share of samples in which something lowered that clock, by cause (power, heat, hardware, sync)."""

    source: str = ""
    clock_mhz: Number | None = None
    throttled: dict[str, Number] = field(default_factory=dict)


class Header(Record):
    """What was measured, on what, when, with which load. The records of run.json are written as {} where nothing of
    them is known."""

    status: str | None = None
    label: str | None = None
    """The name that the user gave the run."""
    measured_by: str | None = None
    """The tool that measured an imported run; None for a run of tokenswarm."""
    going: bool = False
    ended_early: EndedEarlyRecord = field(default_factory=EndedEarlyRecord)
    engine: EngineHeader = field(default_factory=EngineHeader)
    effective: dict[str, object] = field(default_factory=dict)
    model: str | None = None
    scenario: ScenarioHeader = field(default_factory=ScenarioHeader)
    overrides: dict[str, object] = field(default_factory=dict)
    load: LoadRecord = field(default_factory=LoadRecord)
    started_at: str | None = None
    ended_at: str | None = None
    window: WindowHeader = field(default_factory=WindowHeader)
    seed: int | str | None = None
    salt: str | None = None
    chars_per_token: Number | None = None
    """Characters per token for this model, by the engine's own counts; None if not measured."""
    host: HostRecord = field(default_factory=HostRecord)
    gpus: list[str] = field(default_factory=list)
    gpu_states: list[GpuState] = field(default_factory=list)
    versions: dict[str, str | None] = field(default_factory=dict)
    git: GitRecord = field(default_factory=GitRecord)
