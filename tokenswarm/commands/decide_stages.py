"""The stages of `decide`: races of `tune`, searches of `capacity`, pairs of `compare`."""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from tokenswarm.analysis.compare.ab_test import Rules
from tokenswarm.analysis.compare.comparison_report import compare_runs
from tokenswarm.analysis.compare_files import write_comparison
from tokenswarm.analysis.decision_answer import (
    chosen_settings,
    interval_of,
    is_settled,
    judge,
    paired_goodput,
    take_rule_of_thumb,
    take_search,
)
from tokenswarm.analysis.decision_files import write_decision_files
from tokenswarm.analysis.search.decision import SHARES, allowance, candidates_that_fit, load_of_the_pairs
from tokenswarm.analysis.wording import number
from tokenswarm.base.errors import UserError
from tokenswarm.base.files import make_folder
from tokenswarm.commands.capacity_series import CapacityAsked, capacity_of
from tokenswarm.commands.series_runs import reported
from tokenswarm.commands.tune import START_S, RaceAsked, own_flags, race_settings, space_of_engine
from tokenswarm.contract.capacity_record import CAPACITY_JSON, UNITS
from tokenswarm.contract.decision_record import DECISION_JSON, DONE, RACE, Decision, SideRecord, StageRecord
from tokenswarm.contract.search_progress import INTERRUPTED
from tokenswarm.contract.series_file import damaged
from tokenswarm.contract.summary.summary_file import read_summary
from tokenswarm.contract.summary.summary_record import Summary
from tokenswarm.contract.tables import SERIES_JSON
from tokenswarm.contract.tune_record import Ratio
from tokenswarm.run.options import LoadOptions
from tokenswarm.run.run_plan import resolve
from tokenswarm.run.shared_engine import SharedEngine
from tokenswarm.series.capacity_runs import Budget
from tokenswarm.series.decision_stages import DecideTools
from tokenswarm.series.pairs import MOST_PAIRS, Ending, PairedRuns, PairSeries, SeriesTools
from tokenswarm.series.space import DEFAULT, Space
from tokenswarm.virtual.virtual_load import EngineClock, VirtualLoad

if TYPE_CHECKING:
    from tokenswarm.run.monitor import RunOutcome
    from tokenswarm.series.space import Candidate

_FRESH_PAIRS = 3
"""Pairs of a race's winner and the default: enough for an interval; the pairs of the engines come later."""
NO_RACE = "no_race"
_PAIRS_AT_LEAST = 12
"""Number of pairs that should fit into the last stage."""
_LONGEST_PAIR_RUN_S = 300.0
_AROUND_S = 30.0
"""Approximate overhead of a run, in seconds."""
_VIRTUAL_SPEED = (60.0, 240.0)
"""Simulated seconds per second of computing, slowest and fastest, including reports."""


def capacity_ratio(side: SideRecord) -> Ratio:
    """The capacity of all its GPUs together, or the highest load that certainly passes if there is no estimate."""
    if side.per_gpu.value is not None:
        return Ratio(side.per_gpu.value * side.gpus)
    return Ratio(side.capacity.sure_pass)


class Stages:
    """The stages of one decision. An engine stays up between stages if the settings allow it."""

    def __init__(
        self,
        options: argparse.Namespace,
        bases: Sequence[LoadOptions],
        decision: Decision,
        folder: Path,
        console: Console,
    ) -> None:
        self._options, self._bases, self._decision = options, bases, decision
        self._folder, self._console = folder, console
        self._plans = [resolve(base) for base in bases]
        self._spaces = [space_of_engine(plan, options.space) for plan in self._plans]
        self._refuse_unknown_settings()
        self._engine = SharedEngine()
        self._series = SeriesTools(engine=self._engine.tools)
        if decision.virtual:
            clock = EngineClock()
            self._series = SeriesTools(run=VirtualLoad(clock), now=clock.now, checks=False)

    def _refuse_unknown_settings(self) -> None:
        """Check the settings of a resumed decision. Raises UserError (RUN_FOLDER)."""
        raced = {stage.engine for stage in self._decision.stages if stage.kind == RACE and stage.state == DONE}
        for side, space in zip(self._decision.sides, self._spaces, strict=True):
            if side.engine in raced and side.candidate not in [each.name for each in space.candidates]:
                why = f"it took the settings '{side.candidate}' for {side.engine}, which the space does not have"
                raise damaged(self._folder / DECISION_JSON, why)

    def tools(self) -> DecideTools:
        """The stages in the form that `series.decision_stages` needs."""
        return DecideTools(
            self._race,
            self._search,
            self._pairs,
            judge,
            self._keep,
            allowance,
            self._engine.close,
            self._series.now,
            self._folder,
        )

    def plan_lines(self) -> list[str]:
        """What will be done, one line per stage."""
        lines = []
        for side, space in zip(self._decision.sides, self._spaces, strict=True):
            lines.append(f"{side.title}: a race of {len(space.candidates)} candidates, then its capacity")
        if len(self._decision.sides) > 1:
            lines.append("both in interleaved pairs at the lower capacity, until the question is settled")
        shares = ", ".join(f"{kind} {share:.0%}" for kind, share in SHARES.items())
        return [*lines, f"time: {shares}; what a stage leaves over goes to those after it"]

    def virtual_minutes(self) -> tuple[float, float]:
        """The approximate computing time of the whole budget, in minutes."""
        budget_s = self._decision.budget_s or 0.0
        slow, fast = _VIRTUAL_SPEED
        return budget_s / fast / 60.0, budget_s / slow / 60.0

    # ---- one engine

    def _base(self, side: SideRecord, stage: StageRecord) -> LoadOptions:
        place = self._decision.sides.index(side)
        return replace(self._bases[place], results=self._folder / stage.folder)

    def _race(self, side: SideRecord, stage: StageRecord) -> str:
        place = self._decision.sides.index(side)
        folder, space = self._folder / stage.folder, self._spaces[place]
        question = RaceAsked(
            self._options.rounds, _FRESH_PAIRS, stage.allowed_s, (folder / SERIES_JSON).exists(), self._series
        )
        space = self._that_fits(side, space, stage)
        if len(space.candidates) < 2:
            side.candidate, side.because = DEFAULT, "the budget is too short for a race of settings"
            return NO_RACE
        state, tune = race_settings(self._base(side, stage), space, question, self._console, folder)
        side.candidate, side.because = chosen_settings(tune)
        candidate: Candidate = next(each for each in space.candidates if each.name == side.candidate)
        side.settings, side.flags = dict(candidate.settings), dict(own_flags(self._plans[place], candidate))
        side.winner, side.tuned, side.equal_to_winner = tune.winner, tune.ratio, tune.equal_to_winner
        side.answers = tune.quality if side.settings or tune.answers.state == "worse" else ""
        self._note_runs(
            side,
            [folder / run for each in tune.candidates for run in each.runs]
            + [folder / run for runs in tune.fresh_runs.values() for run in runs],
        )
        return state.ended or ""

    def _that_fits(self, side: SideRecord, space: Space, stage: StageRecord) -> Space:
        """As many candidates as a race can distinguish in that time, the scenario's own settings first. A resumed race
        keeps its candidates."""
        engine = self._plans[self._decision.sides.index(side)].engine
        load = self._plans[0].scenario.load
        start_s = START_S[engine is not None and engine.spec.simulated]
        run_s = start_s + load.duration_s + min(load.warmup_most_s, 20.0) + 5.0
        count = candidates_that_fit(len(space.candidates), stage.begun_with_s or stage.allowed_s, run_s, _FRESH_PAIRS)
        stage.begun_with_s = stage.begun_with_s or stage.allowed_s
        if count >= len(space.candidates):
            return space
        default, *others = space.candidates
        chosen = random.Random(1).sample(others, max(0, count - 1))
        note = f"{side.title}: {count} of {len(space.candidates)} candidates were raced, as many as the budget holds"
        self._decision.notes = list(dict.fromkeys([*self._decision.notes, note]))
        return replace(space, candidates=(default, *(each for each in others if each in chosen)))

    def _settled_base(self, side: SideRecord, stage: StageRecord) -> LoadOptions:
        """The base options with the settings that the race chose."""
        place = self._decision.sides.index(side)
        base = self._base(side, stage)
        candidate = next(each for each in self._spaces[place].candidates if each.name == side.candidate)
        return replace(base, overrides={**base.overrides, **candidate.overrides})

    def _search(self, side: SideRecord, stage: StageRecord) -> str:
        folder = self._folder / stage.folder
        question = CapacityAsked(
            folder,
            budget=Budget(stage.allowed_s),
            resume=(folder / CAPACITY_JSON).exists(),
            engine=self._engine,
            series=self._series,
        )
        record = capacity_of(self._settled_base(side, stage), question, self._console)
        take_search(side, record, folder)
        self._note_runs(side, [folder / run.run for run in record.runs])
        return record.capacity.reason

    def _note_runs(self, side: SideRecord, runs: Sequence[Path]) -> None:
        side.runs = list(dict.fromkeys([*side.runs, *map(self._relative, runs)]))

    def _relative(self, run: Path) -> str:
        """A run folder relative to the series' folder."""
        return str(run.resolve().relative_to(self._folder.resolve()))

    # ---- both

    def _pairs(self, decision: Decision, stage: StageRecord, report_progress: Callable[[str], None]) -> str:
        load = self._plans[0].scenario.load
        whole = decision.load_unit == "users"
        if decision.load is None:
            capacities = [interval_of(capacity_ratio(side)) for side in decision.sides]
            otherwise = float(load.users if load.rate is None else load.rate)
            decision.load, decision.load_why = load_of_the_pairs(capacities, whole, otherwise)
        key = "load.users" if whole else "load.rate"
        values = {key: f"{decision.load:g}", "load.duration_s": f"{self._run_s(stage, load.duration_s):.0f}"}
        if whole:
            values["load.spawn_rate"] = f"{max(8, round(decision.load / 4))}"
        a, b = (
            replace(base, overrides={**base.overrides, **values})
            for base in (self._settled_base(side, stage) for side in decision.sides)
        )
        record, summaries = decision.pairs, self._earlier_summaries(decision)

        def after(side: str, outcome: RunOutcome) -> None:
            summary = reported(outcome.folder)
            summaries[side].append(summary)
            (record.a if side == "a" else record.b).append(self._relative(outcome.folder))
            self._console.print(f"  {summary.outcome.headline}  {outcome.folder}", highlight=False, soft_wrap=True)
            made = len(record.a) + len(record.b)
            report_progress(
                f"both engines in pairs at {decision.load:g} {UNITS[decision.load_unit]}: {made} runs so far"
            )

        ending = Ending(lambda planned: self._so_far(decision, summaries, planned), stage.allowed_s)
        runs = PairedRuns(a, b, MOST_PAIRS, self._console, after, replace(self._series, ending=ending))
        make_folder(self._folder / stage.folder)
        series = runs.play(self._folder / stage.folder, self._earlier_series(decision))
        record.planned, record.gone_through = series.planned, series.gone_through
        self._so_far(decision, summaries, series.planned)
        self._compare(decision, stage, series)
        if series.interrupted:
            return INTERRUPTED
        if series.failures and series.gone_through < 2:
            raise series.failures[-1]
        return "settled" if series.gone_through < series.planned else "pairs"

    def _run_s(self, stage: StageRecord, usual_s: float) -> float:
        """Seconds that each run of the pairs measures: longer than in the scenario if there is time."""
        if stage.allowed_s is None:
            return usual_s
        fits = stage.allowed_s / (2 * _PAIRS_AT_LEAST) - _AROUND_S
        return max(usual_s, min(_LONGEST_PAIR_RUN_S, fits))

    def _earlier_series(self, decision: Decision) -> PairSeries | None:
        pairs = decision.pairs
        if not pairs.gone_through:
            return None
        a, b = ([self._folder / run for run in side] for side in (pairs.a, pairs.b))
        return PairSeries(a, b, planned=pairs.planned, gone_through=pairs.gone_through)

    def _earlier_summaries(self, decision: Decision) -> dict[str, list[Summary]]:
        """Summaries of the pairs made before an interruption; the record drops the incomplete pair."""
        pairs, series = decision.pairs, self._earlier_series(decision)
        whole = series.whole() if series is not None else PairSeries()
        pairs.a, pairs.b = ([self._relative(run) for run in side] for side in (whole.a, whole.b))
        return {"a": [read_summary(run) for run in whole.a], "b": [read_summary(run) for run in whole.b]}

    def _so_far(self, decision: Decision, summaries: dict[str, list[Summary]], planned: int) -> bool:
        """Put the result of the pairs so far into the decision; returns whether it is settled."""
        first, second = (side.gpus for side in decision.sides)
        ratio, p, pairs = paired_goodput(summaries["a"], summaries["b"], (first, second), planned)
        decision.pairs.goodput, decision.pairs.p = ratio, p
        words = ratio.why if ratio.value is None else f"{number(ratio.value)} times"
        if ratio.ci95:
            words = f"{words} ({number(ratio.ci95[0])} to {number(ratio.ci95[1])})"
        a, b = (side.title for side in decision.sides)
        known = f"B's goodput is {words} A's ({b} and {a})" if ratio.value is not None else words
        self._console.print(f"after {pairs} pair{'' if pairs == 1 else 's'}: {known}", highlight=False)
        return is_settled(ratio, p, pairs, planned)

    def _compare(self, decision: Decision, stage: StageRecord, series: PairSeries) -> None:
        """The comparison of all figures, if the runs allow one, and the rule of thumb for this workload."""
        if not series.a or not series.b:
            return
        titles = decision.sides[0].title, decision.sides[1].title
        try:
            comparison = compare_runs(a=series.a, b=series.b, labels=titles, rules=Rules(planned_pairs=series.planned))
        except UserError as error:  # for example if no run is valid; the decision shows that in its interval
            decision.pairs.verdict = str(error)
            return
        write_comparison(comparison, self._folder / stage.folder)
        decision.pairs.verdict = comparison.verdict.sentence
        take_rule_of_thumb(decision, comparison)

    def _keep(self, decision: Decision) -> None:
        write_decision_files(decision, self._folder)
