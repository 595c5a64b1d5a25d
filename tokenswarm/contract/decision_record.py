"""decision.json: which engine to use, with which settings, its capacity and its price. Records, reader and writer."""

from __future__ import annotations

from pathlib import Path, PurePath

import msgspec
from msgspec import field

from tokenswarm.contract.capacity_record import UNITS, CapacityFigure
from tokenswarm.contract.series_file import read_record, read_to_go_on, write_record
from tokenswarm.contract.tune_record import Ratio

DECISION_FORMAT = 1
"""Version of the format of decision.json, written as `format`."""
DECISION_JSON = "decision.json"

RACE, SEARCH, PAIRS = "race", "capacity", "pairs"
"""Kinds of stages, in order."""
PENDING, DONE, STOPPED, FAILED, SKIPPED = "pending", "done", "stopped", "failed", "skipped"


class RatioToRunnerUp(Ratio):
    """The chosen engine's figure over the runner-up's. `of`: capacity (per GPU) or goodput (at `Decision.load`); `by`
    the figure that decided, where one did."""

    of: str = ""
    runner_up: str | None = None


class StageRecord(msgspec.Struct):
    """One stage. `kind`: race | capacity | pairs; `engine`: whose, "" for both; `allowed_s`: its share of the budget;
    `begun_with_s`: the same when it first began; `ended`: why it ended."""

    kind: str = ""
    engine: str = ""
    state: str = PENDING
    folder: str = ""
    allowed_s: float | None = None
    begun_with_s: float | None = None
    spent_s: float = 0.0
    ended: str = ""


class SideRecord(msgspec.Struct):
    """One engine. `candidate`: the settings that were taken on, by the name that the race gave them, with `because`;
    `winner`: who led the race, `tuned`: the winner's goodput over the default's on fresh seeds; `equal_to_winner`: who
    could not be told from it. `per_gpu`: the capacity of one of its `gpus`. `usd_per_million_output_tokens`,
    `joules_per_output_token`, `output_tok_s`: at `priced_load`, the highest load that surely passed, or else the one
    next to the estimate.
    `answers`: whether the settings may change the answers. `runs`: what all of it rests on, as paths in the series'
    folder. `failure`: why it was not measured."""

    engine: str = ""
    title: str = ""
    candidate: str = ""
    because: str = ""
    settings: dict[str, object] = field(default_factory=dict)
    flags: dict[str, object] = field(default_factory=dict)
    winner: str | None = None
    tuned: Ratio = field(default_factory=Ratio)
    equal_to_winner: list[str] = field(default_factory=list)
    answers: str = ""
    capacity: CapacityFigure = field(default_factory=CapacityFigure)
    gpus: int = 1
    per_gpu: Ratio = field(default_factory=Ratio)
    usd_per_million_output_tokens: Ratio = field(default_factory=Ratio)
    joules_per_output_token: Ratio = field(default_factory=Ratio)
    output_tok_s: Ratio = field(default_factory=Ratio)
    priced_load: float | None = None
    runs: list[str] = field(default_factory=list)
    failure: str | None = None


class PairsRecord(msgspec.Struct):
    """The interleaved pairs. `a`, `b`: run folders, as paths in the series' folder; `planned`: the most pairs that
    there could have been; `gone_through`: pairs that were made. `goodput`: the second engine's goodput per GPU over the
    first's; `verdict`: what the comparison of all figures says; `rule_of_thumb`: what the field's rule says of this
    workload, with the title of the engine that it names, if it names one."""

    a: list[str] = field(default_factory=list)
    b: list[str] = field(default_factory=list)
    planned: int = 0
    gone_through: int = 0
    goodput: Ratio = field(default_factory=Ratio)
    p: float | None = None
    verdict: str = ""
    rule_of_thumb: str = ""
    rule_of_thumb_engine: str | None = None


class Decision(msgspec.Struct):
    """The whole of decision.json. `engine`: the one to take, None where it is not decided; then `settings`, `capacity`
    and the price are those of nobody, and each side has its own. `state`: decided | equal | undecided | one_engine |
    none | going. `load`: of the pairs, in `load_unit` (users | requests_s), and why that one. `ratio`: the chosen
    engine's capacity per GPU (or its goodput) over the runner-up's; of engines that are not told apart, the second's
    over the first's. `virtual`: computed in virtual time; `clock`: what the stages' seconds are seconds of."""

    format: int = DECISION_FORMAT
    sentence: str = ""
    state: str = "going"
    engine: str | None = None
    settings: dict[str, object] = field(default_factory=dict)
    capacity: CapacityFigure | None = None
    usd_per_million_output_tokens: Ratio = field(default_factory=Ratio)
    ratio: RatioToRunnerUp = field(default_factory=RatioToRunnerUp)
    ratios: list[RatioToRunnerUp] = field(default_factory=list)
    reason: str = ""
    scenario: str = ""
    model: str = ""
    slo: dict[str, object] = field(default_factory=dict)
    started_at: str = ""
    simulated: bool = False
    virtual: bool = False
    load: float | None = None
    load_unit: str = "users"
    load_why: str = ""
    sides: list[SideRecord] = field(default_factory=list)
    pairs: PairsRecord = field(default_factory=PairsRecord)
    rule_of_thumb: str = ""
    """What the rule of thumb predicted, and whether the measurement agrees."""
    stages: list[StageRecord] = field(default_factory=list)
    budget_s: float | None = None
    notes: list[str] = field(default_factory=list)
    argv: list[str] = field(default_factory=list)


def read_decision(folder: Path) -> Decision:
    """The decision.json of a folder. Raises UserError (RUN_FOLDER) if it is missing or has a newer format."""
    return read_record(folder / DECISION_JSON, Decision, DECISION_FORMAT)


def read_resumable_decision(folder: Path) -> Decision:
    """The decision.json of a decision that is to be resumed. Raises UserError (RUN_FOLDER) also if its values cannot
    come from a decision."""
    return read_to_go_on(folder / DECISION_JSON, Decision, DECISION_FORMAT, _wrong)


def _wrong(decision: Decision) -> str | None:
    pairs = decision.pairs
    if decision.load_unit not in UNITS or not all(side.capacity.unit in UNITS for side in decision.sides):
        return "a unit of load is none"
    if any(value is not None and not value > 0.0 for value in (decision.load, decision.budget_s)):
        return "a load or budget is not above 0"
    if any(side.gpus < 1 for side in decision.sides):
        return "an engine has no GPU"
    if not 0 <= pairs.gone_through <= pairs.planned:
        return f"{pairs.gone_through} of {pairs.planned} pairs were made"
    if any(PurePath(run).is_absolute() or ".." in PurePath(run).parts for run in (*pairs.a, *pairs.b)):
        return "a run is not in its folder"
    for stage in decision.stages:
        if stage.state not in (PENDING, DONE, STOPPED, FAILED, SKIPPED):
            return f"a stage is {stage.state!r}"
        if any(time is not None and time < 0.0 for time in (stage.allowed_s, stage.begun_with_s, stage.spent_s)):
            return "a stage has a negative duration"
    return None


def write_decision(folder: Path, decision: Decision) -> None:
    """Replace the whole decision.json. Raises UserError (RESULTS)."""
    write_record(folder / DECISION_JSON, decision)
