"""One quick capacity search: the measurement of a candidate in each round of a race by capacity."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from tokenswarm.analysis.capacity.judge import CapacityJudge
from tokenswarm.analysis.search.load_levels import LIMITED, REFUSED
from tokenswarm.analysis.search.quick_capacity import QuickSearch
from tokenswarm.base.files import make_folder
from tokenswarm.base.numbers import significant
from tokenswarm.commands.capacity_series import CapacityAsked, first_run_s, new_record
from tokenswarm.commands.series_runs import reported
from tokenswarm.contract.capacity_record import Capacity, CapacityFigure, CapacityRun, read_capacity
from tokenswarm.contract.search_progress import INTERRUPTED
from tokenswarm.run.monitor import RunOutcome
from tokenswarm.run.options import LoadOptions
from tokenswarm.run.run_plan import resolve
from tokenswarm.run.shared_engine import SharedEngine
from tokenswarm.series.capacity_runs import CapacityPlan, CapacityRule, search_capacity
from tokenswarm.series.pairs import SALT, SeriesTools
from tokenswarm.series.settings_race import MeasuredObjective, Trial

_SEEDS = 100
"""Distance between the seeds of two searches, since each run of a search has its own seed."""
_NOT_KNOWN = {
    "levels": "no load was found between one that passes and one that fails",
    LIMITED: "the load generator was the limit",
    REFUSED: "the endpoint's own rate limit refused requests (429)",
}


@dataclass(frozen=True, slots=True)
class CapacityTrials:
    """Makes the searches of a race, with the runs and the clock of its series."""

    series: SeriesTools
    console: Console

    def __call__(self, options: LoadOptions, folder: Path, engine: SharedEngine, known: float | None) -> Trial:
        """One search in `folder`, starting at `known` if given. Raises UserError if the engine does not start."""
        plan = resolve(options)
        record = new_record(plan, CapacityAsked(folder))
        record.start, record.salt = known or record.start, options.overrides.get(SALT, "")
        make_folder(folder)
        judge = CapacityJudge(record, folder)
        quick = QuickSearch(record.start, record.capacity.unit, record.target, known=known is not None)

        def after(outcome: RunOutcome, run: CapacityRun) -> int:
            reported(outcome.folder, dashboard=False)
            return judge.add(run)

        def answer(record: Capacity, reason: str) -> Capacity:
            """The search's levels and estimate, without an interval: the race makes its own."""
            record = judge.answer(record, reason)
            record.capacity = CapacityFigure(
                record.capacity.unit, quick.estimate(judge.evidence), reason=reason, cliff=record.capacity.cliff
            )
            return record

        rule = CapacityRule(lambda: quick.next_step(judge.evidence), after, answer)
        seed = _SEEDS * plan.scenario.prompts.seed
        search = CapacityPlan(options, folder, seed, first_run_s(plan), engine=engine)
        search = replace(search, run=self.series.run, now=self.series.now)
        record = search_capacity(search, rule, record, self.console)
        trial = trial_of(record, folder)
        self.console.print(
            f"  capacity {'not known' if trial.measured.figure is None else f'{significant(trial.measured.figure)}'} "
            f"{record.capacity.unit}, {len(record.runs)} runs  {folder}",
            highlight=False,
            soft_wrap=True,
        )
        return trial


def trial_of(record: Capacity, folder: Path) -> Trial:
    """The result of a quick search. If not even the lowest load passes, the capacity is 0."""
    figure = record.capacity
    if figure.reason == INTERRUPTED:
        return Trial(MeasuredObjective(None), ended=INTERRUPTED)
    if figure.estimate is not None:
        return Trial(MeasuredObjective(figure.estimate), folder)
    if figure.reason == "below_least":
        return Trial(MeasuredObjective(0.0), folder)
    why = _NOT_KNOWN.get(figure.reason, figure.reason)
    return Trial(MeasuredObjective(None, why, spoilt=figure.reason == LIMITED), folder)


def found_capacity(folder: Path) -> tuple[str, float | None]:
    """Seed and figure of a completed search, for pairs."""
    record = read_capacity(folder)
    return str(record.runs[0].seed if record.runs else ""), trial_of(record, folder).measured.figure
