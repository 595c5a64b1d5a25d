"""A race of engine settings: every candidate once a round on that round's seed, then the winner against the default.

An engine is started once a candidate and round, and the last of a round is the first of the next. What was measured is
written after each run (series.json), so that a race that was interrupted goes on. What is measured is one run, or
where that tells the objective (a capacity) a search of several.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from rich.console import Console

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.presence import present
from tokenswarm.contract.search_progress import (
    INTERRUPTED,
    Amounts,
    CandidateSoFar,
    RaceSoFar,
    RunUnderWay,
    SearchProgress,
    new_progress,
)
from tokenswarm.engines.engine_protocol import Engine
from tokenswarm.generator.new_run import fresh_salt
from tokenswarm.run.checked_engine import EngineTools
from tokenswarm.run.life import LoadTools
from tokenswarm.run.options import LoadOptions
from tokenswarm.run.run_plan import RunPlan, resolve
from tokenswarm.run.shared_engine import SharedEngine
from tokenswarm.series.pairs import SALT, SEED, Ending, PairedRuns, PairSeries, SeriesTools, shown_by_warmup
from tokenswarm.series.progress_file import ProgressLog
from tokenswarm.series.space import DEFAULT, Candidate
from tokenswarm.series.tune_state import Round, TuneState, write_state

FRESH_SEEDS = 1000
"""What the seeds of the winner's fresh runs lie above those of the race."""
FRESH_PAIRS = 5
_LEAST_PAIRS = 2
"""Fewer give no interval: a budget that does not hold them is not spent on one."""
BROKEN, LOAD_GENERATOR = "broken", "load_generator"
"""How a trial ended whose engine cannot go on; and a race whose load generator was the limit again and again."""
_TRIES = 3
"""Runs for a figure: one that the load generator spoiled says nothing of the candidate."""


class RaceLike(Protocol):
    """A race by whatever rule: who is in it, and why it has ended."""

    survivors: list[str]

    @property
    def over(self) -> str | None:
        """Why the race has ended; None while it goes on."""

    @property
    def winner(self) -> str | None:
        """The leader."""

    def record_round(self, figures: Mapping[str, float | None]) -> object:
        """Take in the figures of all survivors; None: it could not be measured."""


@dataclass(frozen=True, slots=True)
class MeasuredObjective:
    """A run's objective, or None and why. `spoilt`: by the load generator, which says nothing of the candidate."""

    figure: float | None
    why: str = ""
    spoilt: bool = False


@dataclass(frozen=True, slots=True)
class Trial:
    """One measurement of a candidate: its objective and its folder, of a run or of a search. `warm`: what its warm-up
    showed, for others; `ended`: interrupted, or its engine is `broken`, so that the next begins with a new one."""

    measured: MeasuredObjective
    folder: Path | None = None
    warm: Mapping[str, str] = field(default_factory=dict)
    ended: str = ""


@dataclass(frozen=True, slots=True)
class TuneTools:
    """`figure(folder)` gives a run's objective. `search(options, folder, engine, figure)`: measures by several runs
    instead, in a folder of its own, beginning with what the candidate had the last time; None: one run tells.
    `budget_s` bounds the whole, fresh runs included; `objective`: what the figures are of."""

    figure: Callable[[Path], MeasuredObjective]
    budget_s: float | None = None
    pairs: int = FRESH_PAIRS
    series: SeriesTools = field(default_factory=SeriesTools)
    search: Callable[[LoadOptions, Path, SharedEngine, float | None], Trial] | None = None
    objective: str = "goodput"


class TuneRun:
    """A race that goes on in `folder`."""

    def __init__(
        self, base: LoadOptions, candidates: Sequence[Candidate], race: RaceLike, console: Console, tools: TuneTools
    ) -> None:
        names = [each.name for each in candidates]
        self.state = TuneState(argv=list(base.argv), candidates=names, objective=tools.objective)
        self._base, self._race, self._console, self._tools = base, race, console, tools
        self._candidates = {each.name: each for each in candidates}
        own = tools.series.engine
        self._engine_tools = replace(own, bring_up=lambda *arguments: self._timed_start(own, *arguments))
        self._engine = SharedEngine(self._engine_tools)
        plan = resolve(base)
        self._seed = plan.scenario.prompts.seed
        self._now = tools.series.now
        self._began = self._now()
        self._spent_before_s = 0.0
        self._run_s: list[float] = []
        self._folder = Path()
        begun = new_progress("tune", plan.engine_name, plan.scenario.name)
        self._progress = ProgressLog(self._folder, begun, self._fill)

    def play(self, folder: Path, earlier: TuneState | None = None) -> TuneState:
        """Race, then measure winner and default afresh. Ctrl-C and the budget end it in good order."""
        self._folder = self._progress.folder = folder
        if earlier is not None:
            self._go_on_from(earlier)
        with self._progress.kept():
            self._play()
            self._progress.end(self.state.ended or "")
        return self.state

    def _play(self) -> None:
        try:
            while self._race.over is None and self._fits():
                if not self._round(len(self.state.rounds)):
                    break
            self._engine.close()
            if self.state.ended is None:
                self.state.ended = self._race.over or "budget"
            if self.state.ended not in (INTERRUPTED, LOAD_GENERATOR):
                self._fresh()
        except KeyboardInterrupt:
            self.state.ended = INTERRUPTED
        finally:
            self._engine.close()
            self._keep()

    def _go_on_from(self, earlier: TuneState) -> None:
        if earlier.candidates != self.state.candidates:
            raise UserError(Exit.USAGE, "the race to resume had other candidates: give the same scenario and space")
        if earlier.objective != self.state.objective:
            raise UserError(
                Exit.USAGE, f"the race to resume was by {earlier.objective}, not {self.state.objective}: give the same"
            )
        self.state = earlier
        self.state.ended, self._spent_before_s = None, earlier.total_s
        whole = [each for each in earlier.rounds if each.figures]
        for each in whole:
            if not all(name in each.figures for name in self._race.survivors):
                break  # it goes on in this round
            self._race.record_round(each.figures)

    # ---- rounds

    def _round(self, number: int) -> bool:
        """One round of all survivors; False where it was ended (`state.ended`)."""
        rounds = self.state.rounds
        if rounds and not all(name in rounds[-1].figures for name in self._race.survivors):
            this, number = rounds[-1], number - 1  # begun before
        else:
            this = Round(seed=self._seed + number)
            rounds.append(this)
        salt, order = fresh_salt(), list(self._race.survivors)
        for name in order if number % 2 == 0 else reversed(order):
            if name in this.figures:
                continue
            work = {**this.warm, SEED: str(this.seed), SALT: salt}
            words = f"round {number + 1}, seed {this.seed}: {name}"
            self._console.print(f"\n{words}", markup=False, highlight=False)
            self._progress.begin(RunUnderWay("race", self._runs + 1, candidate=name), words)
            self.state.ended = self._measure(self._candidates[name], work, this)
            if self.state.ended is not None:
                return False
            self._keep()
        before = set(self._race.survivors)
        self._race.record_round(this.figures)
        self._progress.over()
        self._say(number + 1, before)
        return True

    def _measure(self, candidate: Candidate, work: Mapping[str, str], this: Round) -> str | None:
        """Note the candidate's figure of a round. Returns why the race ends here, if it does: Ctrl-C, or a load
        generator that is the limit time and again, of which no candidate is to blame."""
        options = replace(
            self._base, overrides={**work, **self._base.overrides, **candidate.overrides, SEED: work[SEED]}
        )
        trial = self._tried(options, candidate.name)
        if trial.folder is not None:
            this.runs[candidate.name] = str(trial.folder)
        if trial.ended == INTERRUPTED:
            return INTERRUPTED
        measured, this.warm = trial.measured, this.warm or dict(trial.warm)
        if measured.figure is None:
            self._console.print(f"{candidate.name}: {measured.why}", style="red", markup=False, highlight=False)
        if measured.spoilt:
            return "load_generator"
        this.figures[candidate.name] = measured.figure
        if measured.figure is None:
            self.state.failures[candidate.name] = measured.why
        return None

    def _tried(self, options: LoadOptions, name: str) -> Trial:
        """A measurement that the load generator did not spoil, or the last of several."""
        trial = Trial(MeasuredObjective(None))
        for _ in range(_TRIES):
            began = self._now()
            try:
                trial = self._one_run(options) if self._tools.search is None else self._one_search(options, name)
            except UserError as error:  # it does not start, or refuses the flag: it will again
                trial = Trial(MeasuredObjective(None, str(error)), ended=BROKEN)
            else:
                self._run_s.append(self._now() - began)
            if trial.ended == BROKEN:
                self._engine.close()
            if trial.ended or not trial.measured.spoilt:
                break
        return trial

    def _one_run(self, options: LoadOptions) -> Trial:
        outcome = self._tools.series.run(options, self._console, LoadTools(engine=self._engine.tools))
        if outcome.status == "interrupted":
            return Trial(MeasuredObjective(None), ended=INTERRUPTED)
        if outcome.error is not None:
            return Trial(MeasuredObjective(None, str(outcome.error)), outcome.folder, ended=BROKEN)
        measured = self._tools.figure(outcome.folder)
        return Trial(measured, outcome.folder, {} if measured.spoilt else shown_by_warmup(outcome))

    def _one_search(self, options: LoadOptions, name: str) -> Trial:
        """In the next folder that is free; from the figure that the candidate had the last time."""
        number = 1 + sum(1 for path in self._folder.iterdir() if path.is_dir())
        known = [each.figures[name] for each in self.state.rounds if each.figures.get(name)]
        place = 1 + list(self._candidates).index(name)
        folder = self._folder / f"search-{number:03d}-candidate-{place}"
        return present(self._tools.search)(options, folder, self._engine, known[-1] if known else None)

    def _say(self, rounds: int, before: set[str]) -> None:
        left = self._race.survivors
        gone = [name for name in self.state.candidates if name in before and name not in left]
        self._console.print(
            f"after {rounds} round{'' if rounds == 1 else 's'} {len(left)} of {len(self._candidates)} are left, "
            f"{self._race.winner or 'nobody'} leads" + (f"; out: {', '.join(gone)}" if gone else ""),
            markup=False,
            highlight=False,
        )

    # ---- winner and default, measured afresh

    def _fresh(self) -> None:
        winner = self._race.winner
        if winner in (None, DEFAULT) or DEFAULT in self.state.failures or self._tools.pairs < 1:
            return
        if not self.state.fresh_pairs and not self._holds(2 * min(_LEAST_PAIRS, self._tools.pairs)):
            self._console.print(
                f"the budget holds no {_LEAST_PAIRS} pairs of {winner} and the default on fresh seeds, and fewer tell "
                "nothing: none is measured",
                markup=False,
                highlight=False,
            )
            return
        words = f"measuring {winner} against the default on fresh seeds"
        self._console.print(f"\n{words}", markup=False, highlight=False)
        self._progress.begin(RunUnderWay("fresh", self._runs + 1, candidate=str(winner)), words)
        if self._tools.search is not None:
            self._fresh_searches(str(winner))
            return
        seed = {SEED: str(self._seed + FRESH_SEEDS)}
        default, best = (
            replace(self._base, overrides={**self._base.overrides, **overrides, **seed})
            for overrides in ({}, self._candidates[str(winner)].overrides)
        )
        left_s = None if self._tools.budget_s is None else max(1.0, self._tools.budget_s - self._spent_s)
        tools = replace(self._tools.series, engine=self._engine_tools, ending=Ending(budget_s=left_s))
        pairs = PairedRuns(
            default, best, self._tools.pairs, self._console, lambda *_: self._keep_fresh(pairs.series), tools
        )
        measured = {side: [Path(run) for run in runs] for side, runs in self.state.fresh.items()}
        earlier = PairSeries(
            measured.get("default", []),
            measured.get("winner", []),
            planned=self._tools.pairs,
            gone_through=self.state.fresh_pairs,
        )
        series = pairs.play(self._folder, earlier if self.state.fresh_pairs else None)
        self._keep_fresh(series)
        if series.interrupted:
            self.state.ended = INTERRUPTED

    def _fresh_searches(self, winner: str) -> None:
        """The same where a measurement is a search: in turn, and both of a pair on the same seed and work."""
        state, names = self.state, {"default": DEFAULT, "winner": winner}
        state.fresh = {side: state.fresh.get(side, [])[: state.fresh_pairs] for side in names}
        for pair in range(state.fresh_pairs, self._tools.pairs):
            if pair > 1 and not self._holds(2):
                break
            work = {SEED: str(self._seed + FRESH_SEEDS + pair), SALT: fresh_salt()}
            for side in names if pair % 2 == 0 else reversed(names):
                own = self._candidates[names[side]].overrides
                trial = self._tried(replace(self._base, overrides={**self._base.overrides, **own, **work}), names[side])
                if trial.ended == INTERRUPTED:
                    state.ended = INTERRUPTED
                    return
                if trial.folder is None or trial.measured.figure is None:
                    self._console.print(f"{names[side]}: {trial.measured.why}", style="red", markup=False)
                    return
                state.fresh[side].append(str(trial.folder))
                self._keep()
            state.fresh_pairs = pair + 1
            self._keep()
            self._progress.over()

    def _keep_fresh(self, series: PairSeries) -> None:
        """After each run: what is measured by then is not lost, whatever ends the race."""
        self.state.fresh = {"default": [str(each) for each in series.a], "winner": [str(each) for each in series.b]}
        self.state.fresh_pairs = series.gone_through
        self._keep()
        self._progress.over()

    # ---- how far it has come

    @property
    def _runs(self) -> int:
        return sum(len(each.runs) for each in self.state.rounds) + sum(map(len, self.state.fresh.values()))

    def _fill(self, progress: SearchProgress) -> None:
        """What progress.json says beside what is under way."""
        state, budget_s = self.state, self._tools.budget_s
        progress.runs, progress.spent = self._runs, Amounts(self._spent_s)
        progress.left = Amounts(None if budget_s is None else max(0.0, budget_s - self._spent_s))
        counts = {name: sum(name in each.runs for each in state.rounds) for name in state.candidates}
        states = {
            name: "failed" if name in state.failures else "in" if name in self._race.survivors else "dropped"
            for name in state.candidates
        }
        progress.race = RaceSoFar(
            len(state.rounds),
            self._race.winner,
            [CandidateSoFar(name, states[name], counts[name]) for name in state.candidates],
            state.fresh_pairs,
        )

    # ---- time

    @property
    def _spent_s(self) -> float:
        return self._now() - self._began

    def _fits(self) -> bool:
        """Whether one more round, and what comes after, ends within the budget."""
        return self._holds(len(self._race.survivors) + 2 * self._tools.pairs)

    def _holds(self, measurements: int) -> bool:
        """Whether the budget holds so many more, as long as those were that there were."""
        budget_s = self._tools.budget_s
        if budget_s is None or not self._run_s:
            return True
        return self._spent_s + measurements * sum(self._run_s) / len(self._run_s) <= budget_s

    def _timed_start(self, own: EngineTools, plan: RunPlan, folder: Path, console: Console) -> Engine:
        began = time.monotonic()
        try:
            return own.bring_up(plan, folder, console)
        finally:
            self.state.starts += 1
            self.state.starts_s += time.monotonic() - began

    def _keep(self) -> None:
        self.state.total_s = self._spent_before_s + self._spent_s
        write_state(self._folder, self.state)
