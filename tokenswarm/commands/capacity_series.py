"""One capacity search, from the request to the typed result. Used by every command that needs one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.files import make_folder
from tokenswarm.series.capacity_runs import Budget

if TYPE_CHECKING:
    from tokenswarm.contract.capacity_record import Capacity, CapacityRun
    from tokenswarm.contract.summary.summary_record import Summary
    from tokenswarm.run.monitor import RunOutcome
    from tokenswarm.run.options import LoadOptions
    from tokenswarm.run.run_plan import RunPlan
    from tokenswarm.run.shared_engine import SharedEngine
    from tokenswarm.series.pairs import SeriesTools


@dataclass(frozen=True, slots=True)
class CapacityAsked:
    """The request for a search. `of`: users | rate, None for the scenario's; `target`: share of requests that must meet
    every limit; `resume`: continue the search in the folder; `engine`: an engine shared with other runs, which the
    caller stops; `tiers`: name of a file of tiers, None for the scenario's; `at_least`: a load to compare with;
    `series`: makes the runs, by its own clock, instead of `run_load`; `plan`: the resolved options, if they were
    resolved before."""

    folder: Path
    of: str | None = None
    target: float = 0.95
    precision: float = 0.10
    budget: Budget = field(default_factory=Budget)
    resume: bool = False
    engine: SharedEngine | None = None
    tiers: str | None = None
    at_least: float | None = None
    series: SeriesTools | None = None
    plan: RunPlan | None = None


def capacity_of(options: LoadOptions, question: CapacityAsked, console: Console) -> Capacity:
    """Search the capacity of a scenario on an engine. Writes capacity.json, its page and other files into
    `asked.folder`, beside the runs. Raises UserError for faults before the first run: no limits, the wrong kind of
    load, no engine.
    """
    from tokenswarm.analysis.capacity.judge import CapacityJudge
    from tokenswarm.analysis.capacity_files import write_capacity_files
    from tokenswarm.analysis.render.capacity_words import progress_lines
    from tokenswarm.commands.series_runs import reported
    from tokenswarm.contract.capacity_record import read_resumable_capacity
    from tokenswarm.run.run_plan import resolve
    from tokenswarm.series.capacity_runs import CapacityPlan, CapacityRule, search_capacity

    plan = question.plan or resolve(options)
    record = new_record(plan, question)
    if question.resume:
        record = _same_question(read_resumable_capacity(question.folder), record, question.folder)
    make_folder(question.folder)
    judge = CapacityJudge(record, question.folder)

    def after(outcome: RunOutcome, run: CapacityRun) -> int:
        _note_facts(record, reported(outcome.folder, dashboard=False))
        return judge.add(run)

    rule = CapacityRule(judge.next_step, after, judge.answer, progress_lines)
    search = CapacityPlan(
        options, question.folder, plan.scenario.prompts.seed, first_run_s(plan), question.budget, question.engine
    )
    if question.series is not None:
        search = replace(search, run=question.series.run, now=question.series.now)
    record = search_capacity(search, rule, record, console)
    for run in record.runs:
        reported(question.folder / run.run)  # the run's page; no level had to wait for it
    write_capacity_files(record, question.folder)
    return record


def first_run_s(plan: RunPlan) -> float:
    """Seconds that the first run measures, when the request rate is still unknown."""
    return min(15.0, plan.scenario.load.duration_s)


def _note_facts(record: Capacity, summary: Summary) -> None:
    """Copy facts common to all runs into the record, from any of them."""
    record.simulated = record.simulated or bool(summary.simulated)
    record.model = record.model or summary.run.model or ""
    if record.engine_title in ("", record.engine):  # such as external: the engine that was recognized
        record.engine_title = summary.run.engine.title or record.engine_title
    if summary.cost is not None:
        record.gpus, record.gpu_hour_usd = int(summary.cost.gpus), float(summary.cost.gpu_hour_usd)
    elif summary.run.gpus:
        record.gpus = len(summary.run.gpus)


def new_record(plan: RunPlan, question: CapacityAsked) -> Capacity:
    """The record of a new search. Raises UserError (USAGE)."""
    from tokenswarm.analysis.capacity.judge import new_tier
    from tokenswarm.analysis.search.load_levels import RATE, USERS
    from tokenswarm.contract.capacity_record import Capacity, CapacityFigure
    from tokenswarm.contract.objectives import bounds_of
    from tokenswarm.scenario.slo_tiers import tiers_of

    load = plan.scenario.load
    unit = {"users": USERS, "rate": RATE, None: RATE if plan.scenario.open_loop else USERS}[question.of]
    if (unit == RATE) is not plan.scenario.open_loop:
        raise UserError(
            Exit.USAGE,
            "--of rate needs a scenario with load.rate, and --of users one without: give "
            "--rate R to begin with, or leave --of out",
        )
    bounds = bounds_of(plan.scenario.values().get("slo"))
    if not bounds:
        raise UserError(
            Exit.USAGE,
            f"scenario {plan.scenario.name} bounds no latency in [slo], so every load passes: "
            'give one, such as --set "slo.ttft_p95_ms=500"',
        )
    start = float(load.users if load.rate is None else load.rate)
    tiers = [
        new_tier(name, limits, target, unit)
        for name, (limits, target) in tiers_of(question.tiers or plan.scenario.tiers, question.target).items()
    ]
    return Capacity(
        capacity=CapacityFigure(unit),
        slo=bounds,
        target=question.target,
        precision=question.precision,
        start=start,
        engine=plan.engine_name,
        engine_title=plan.engine_title,
        scenario=plan.scenario.name,
        series=question.folder.name,
        tiers=tiers,
        at_least=question.at_least,
    )


def _same_question(earlier: Capacity, now: Capacity, folder: Path) -> Capacity:
    """The earlier record, if it answers the same question: runs for another question are no evidence for this one."""
    for name in ("engine", "scenario", "slo"):
        if getattr(earlier, name) != getattr(now, name):
            raise UserError(
                Exit.USAGE,
                f"{folder} asked for {name} {getattr(earlier, name)}, not "
                f"{getattr(now, name)}: resume it with what it began with",
            )
    earlier.at_least = now.at_least
    if now.engine_title != now.engine:
        earlier.engine_title = now.engine_title
    if earlier.capacity.unit != now.capacity.unit:
        raise UserError(Exit.USAGE, f"{folder} searched {earlier.capacity.unit}: resume it with the same kind of load")
    return earlier
