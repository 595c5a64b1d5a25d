"""One search for a capacity, from what was asked to the typed result: `capacity` and whoever else needs one use it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.files import make_folder
from tokenswarm.series.capacity import Budget

if TYPE_CHECKING:
    from tokenswarm.contract.capacity import Capacity
    from tokenswarm.run.options import LoadOptions
    from tokenswarm.run.run_plan import RunPlan
    from tokenswarm.run.shared_engine import SharedEngine


@dataclass(frozen=True, slots=True)
class CapacityAsked:
    """What is asked of a search. `of`: users | rate, None for what the scenario has; `target`: share of requests that
    must meet every limit; `resume`: the folder has a search that is gone on with; `engine`: one that is shared with
    other runs, and stopped by whoever shares it."""

    folder: Path
    of: str | None = None
    target: float = 0.95
    precision: float = 0.10
    budget: Budget = field(default_factory=Budget)
    resume: bool = False
    engine: SharedEngine | None = None


def capacity_of(options: LoadOptions, asked: CapacityAsked, console: Console) -> Capacity:
    """Search the capacity of a scenario on an engine; capacity.json is in `asked.folder`, with the runs beside it.

    Raises UserError for what is wrong before the first run: no limits, the wrong kind of load, no engine.
    """
    from tokenswarm.analysis.capacity import evidence_of, evidence_of_runs, with_answer
    from tokenswarm.analysis.read.run_folder import read_run
    from tokenswarm.analysis.render.capacity_words import progress_lines
    from tokenswarm.analysis.search.capacity_search import Evidence, next_step
    from tokenswarm.commands.series_runs import reported
    from tokenswarm.contract.capacity import read_capacity
    from tokenswarm.run.run_plan import resolve
    from tokenswarm.series.capacity import CapacityPlan, CapacityRule, search_capacity

    plan = resolve(options)
    record = new_record(plan, asked)
    if asked.resume:
        record = _same_question(read_capacity(asked.folder), record, asked.folder)
    make_folder(asked.folder)
    settings = settings_of(record)
    evidence: list[Evidence] = evidence_of_runs(record.runs, asked.folder, record.target)

    def after(outcome: Any, run: Any) -> int:
        summary = reported(outcome.folder, dashboard=False)
        record.simulated = record.simulated or bool(summary.simulated)
        record.model = record.model or summary.run.model or ""
        evidence.append(evidence_of(read_run(outcome.folder), run.load, record.target, run.died))
        return evidence[-1].blocks.requests

    rule = CapacityRule(lambda: next_step(settings, evidence), after,
                        lambda record, reason: with_answer(record, settings, evidence, reason), progress_lines)
    search = CapacityPlan(options, asked.folder, plan.scenario.prompts.seed, min(15.0, plan.scenario.load.duration_s),
                          asked.budget, asked.engine)
    record = search_capacity(search, rule, record, console)
    for run in record.runs:
        reported(asked.folder / run.run)  # its page; no level had to wait for it
    return record


def new_record(plan: RunPlan, asked: CapacityAsked) -> Capacity:
    """The record of a search that has not begun. Raises UserError (USAGE)."""
    from tokenswarm.analysis.search.capacity_search import RATE, USERS
    from tokenswarm.contract.capacity import Capacity, CapacityFigure
    from tokenswarm.contract.objectives import bounds_of

    load = plan.scenario.load
    unit = {"users": USERS, "rate": RATE, None: RATE if plan.scenario.open_loop else USERS}[asked.of]
    if (unit == RATE) is not plan.scenario.open_loop:
        raise UserError(Exit.USAGE, "--of rate needs a scenario with load.rate, and --of users one without: give "
                                    "--rate R to begin with, or leave --of out")
    bounds = bounds_of(plan.scenario.values().get("slo"))
    if not bounds:
        raise UserError(Exit.USAGE, f"scenario {plan.scenario.name} bounds no latency in [slo], so every load passes: "
                                    'give one, such as --set "slo.ttft_p95_ms=500"')
    start = float(load.users if load.rate is None else load.rate)
    return Capacity(capacity=CapacityFigure(unit), slo=bounds, target=asked.target, precision=asked.precision,
                    start=start, engine=plan.engine_name, scenario=plan.scenario.name, series=asked.folder.name)


def settings_of(record: Capacity) -> Any:
    """The settings of the search that a record is of."""
    from tokenswarm.analysis.search.capacity_search import SearchSettings

    return SearchSettings(record.start, record.capacity.unit, record.target, record.precision)


def _same_question(earlier: Capacity, now: Capacity, folder: Path) -> Capacity:
    """The earlier record, if it asked what is asked now: runs of another question are no evidence for this one."""
    for name in ("engine", "scenario", "slo"):
        if getattr(earlier, name) != getattr(now, name):
            raise UserError(Exit.USAGE, f"{folder} asked for {name} {getattr(earlier, name)}, not "
                                        f"{getattr(now, name)}: resume it with what it began with")
    if earlier.capacity.unit != now.capacity.unit:
        raise UserError(Exit.USAGE, f"{folder} searched {earlier.capacity.unit}: resume it with the same kind of load")
    return earlier
