"""The whole of summary.json."""

from __future__ import annotations

from typing import ClassVar

from msgspec import field

from tokenswarm.contract.manifest import Reason
from tokenswarm.contract.summary.adapter_records import Adapters
from tokenswarm.contract.summary.cache_records import Cache
from tokenswarm.contract.summary.engine_records import Energy, ServerFigures, ServerMeans, ServerTtft, Speculation
from tokenswarm.contract.summary.figure import Figure, Record
from tokenswarm.contract.summary.header_records import Header
from tokenswarm.contract.summary.interference_records import Interference
from tokenswarm.contract.summary.level_records import LevelFigures
from tokenswarm.contract.summary.replay_records import Fidelity
from tokenswarm.contract.summary.request_records import (
    ClassFigures,
    ConstraintUse,
    ControlArm,
    Cost,
    Counts,
    Errors,
    FinishReason,
    Goodput,
    Tokens,
)
from tokenswarm.contract.summary.task_records import TaskFigures
from tokenswarm.contract.summary.time_records import DriftSeries, KeepingUp, Outages, SteadyPart
from tokenswarm.contract.summary.verdict_records import Baseline, Gate, Generator, OutcomeRecord, SloGate

SUMMARY_FORMAT = 1
"""Version of the format of summary.json, written as `format`."""


class Summary(Record):
    """Every figure of a run. `baseline` and `drift_gates` are there where they were asked for, `replay` in a
    replay; `interference` is null where no class of a mix is said to disturb the others.

    Figures of metrics are kept by the metric's name, for the registry of metrics is open: `latency` by key (`ttft_ms`)
    and percentile (`p95`), `rates` by name.
    """

    may_be_left_out: ClassVar[frozenset[str]] = frozenset({"baseline", "drift_gates", "replay"})

    format: int = SUMMARY_FORMAT
    run_id: str = ""
    verdict: str = "INCOMPLETE"
    """VALID | INVALID | INCOMPLETE."""
    reasons: list[Reason] = field(default_factory=list)
    simulated: bool | None = None
    notes: list[str] = field(default_factory=list)
    run: Header = field(default_factory=Header)
    latency: dict[str, dict[str, Figure]] = field(default_factory=dict)
    gaps: dict[str, Figure] = field(default_factory=dict)
    rates: dict[str, Figure] = field(default_factory=dict)
    per_user_tok_s: dict[str, Figure] = field(default_factory=dict)
    goodput: Goodput = field(default_factory=Goodput)
    slo: list[SloGate] = field(default_factory=list)
    errors: Errors = field(default_factory=Errors)
    valid_output: Figure = field(default_factory=Figure)
    finish_reasons: list[FinishReason] = field(default_factory=list)
    control_arm: ControlArm | None = None
    constraints: list[ConstraintUse] = field(default_factory=list)
    interference: Interference | None = None
    tasks: TaskFigures | None = None
    adapters: Adapters | None = None
    tokens: Tokens = field(default_factory=Tokens)
    cache: Cache = field(default_factory=Cache)
    server: ServerMeans = field(default_factory=ServerMeans)
    server_ttft: ServerTtft = field(default_factory=ServerTtft)
    server_latency: dict[str, ServerFigures] = field(default_factory=dict)
    speculation: Speculation | None = None
    keeping_up: KeepingUp = field(default_factory=KeepingUp)
    steady_part: SteadyPart = field(default_factory=SteadyPart)
    drift: dict[str, DriftSeries] = field(default_factory=dict)
    outages: Outages = field(default_factory=Outages)
    cost: Cost | None = None
    energy: Energy = field(default_factory=Energy)
    counts: Counts = field(default_factory=Counts)
    generator: Generator = field(default_factory=Generator)
    user_classes: dict[str, ClassFigures] = field(default_factory=dict)
    levels: list[LevelFigures] = field(default_factory=list)
    """The levels of a run with several loads; figures that depend on the load are then only here."""
    outcome: OutcomeRecord = field(default_factory=OutcomeRecord)
    baseline: Baseline | None = None
    drift_gates: list[Gate] | None = None
    replay: Fidelity | None = None

    def of_class(self, name: str) -> Summary:
        """The figures of one user class, as a summary."""
        figures = self.user_classes[name]
        return Summary(
            run_id=self.run_id,
            run=self.run,
            latency=figures.latency,
            rates=figures.rates,
            counts=Counts(measured=figures.counts),
            goodput=Goodput(
                figures.goodput_rps,
                figures.attainment,
                bounds=self.goodput.bounds if figures.bounds is None else figures.bounds,
            ),
            errors=Errors(figures.error_rate),
            valid_output=figures.valid_output,
        )

    def percentile(self, latency: str, percentile: str) -> Figure:
        """A percentile (`p95`) of the latency of that key (`ttft_ms`); without a value if it was not measured."""
        return self.latency.get(latency, {}).get(percentile) or Figure()
