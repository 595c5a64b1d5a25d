"""The runs of a search for capacity: one engine life and one salt, an ordinary run folder for each measurement.

An injected rule chooses the next load; this module carries it out within a budget.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from rich.console import Console

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.presence import present
from tokenswarm.contract.capacity_record import UNITS, Capacity, CapacityRun, write_capacity
from tokenswarm.contract.manifest import Manifest, read_manifest
from tokenswarm.contract.search_progress import INTERRUPTED, Amounts, RunUnderWay, SearchProgress
from tokenswarm.generator.new_run import fresh_salt
from tokenswarm.run.life import LoadTools, run_load
from tokenswarm.run.monitor import RunOutcome
from tokenswarm.run.options import LoadOptions
from tokenswarm.run.shared_engine import SharedEngine
from tokenswarm.series.progress_file import ProgressLog, fill_capacity, of_capacity

SHORTEST_S, LONGEST_S = 10.0, 3600.0
AROUND_S = 15.0
"""First guess of what a run takes besides its measured phase: warm-up, drain, starting processes."""
BRACKET, FEW = "bracket", 100
"""Number of requests in a step that only looks for the region."""
EMPTY_LIMIT_S = 120.0
"""How long a level waits until the engine has finished the previous level's queue."""


class NextStep(Protocol):
    """A rule's answer: the load to measure and the number of requests, or None and the reason for stopping."""

    @property
    def why(self) -> str: ...

    @property
    def load(self) -> float | None: ...

    @property
    def requests(self) -> int: ...


@dataclass(frozen=True, slots=True)
class CapacityRule:
    """`next_step`: from the runs so far to the next one. `after`: reads a run that has ended, and returns how many
    requests it measured. `judge`: puts what is known, and why the search ended, into the record. `progress`: what is
    known so far, and the seconds that are left, in lines for the terminal."""

    next_step: Callable[[], NextStep]
    after: Callable[[RunOutcome, CapacityRun], int]
    judge: Callable[[Capacity, str], Capacity]
    progress: Callable[[Capacity, float | None], Sequence[str]] = lambda record, left_s: ()


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of a search: seconds, requests (including warm-ups), dollars for tokens. None: no limit."""

    seconds: float | None = None
    requests: int | None = None
    usd: float | None = None


@dataclass(frozen=True, slots=True)
class CapacityPlan:
    """What to search. `first_s`: length of the first run, for which the request rate is unknown. `engine`: an engine
    shared with other series, which stop it; None for one of this search's own."""

    options: LoadOptions
    folder: Path
    seed: int
    first_s: float
    budget: Budget = Budget()
    engine: SharedEngine | None = None
    run: Callable[[LoadOptions, Console, LoadTools], RunOutcome] = lambda options, console, tools: run_load(
        options, console, tools=tools
    )
    now: Callable[[], float] = time.monotonic


def search_capacity(plan: CapacityPlan, rule: CapacityRule, record: Capacity, console: Console) -> Capacity:
    """Measure what the rule asks for until it is satisfied, the budget is spent, or the search is interrupted.
    capacity.json is written after every run, so no result is lost. Raises UserError for faults before the first run."""
    engine = plan.engine or SharedEngine()
    record.salt = record.salt or fresh_salt()
    rates = {run.load: run.measured / run.measured_s for run in record.runs if run.measured}
    search = _Search(plan, rule, record, engine, console, plan.now(), rates)
    with search.progress.kept():
        reason = ""
        try:
            while not reason:
                reason = search.step()
        except KeyboardInterrupt:
            reason = INTERRUPTED
        finally:
            if plan.engine is None:
                engine.close()
        record = rule.judge(record, reason)
        write_capacity(plan.folder, record)
        search.progress.end(reason)
    return record


@dataclass(slots=True)
class _Search:
    """A search in progress. `rates`: measured requests/s by load; `around_s`: the most that a run of this search took
    besides its measured phase."""

    plan: CapacityPlan
    rule: CapacityRule
    record: Capacity
    engine: SharedEngine
    console: Console
    began: float
    rates: dict[float, float]
    around_s: float = AROUND_S
    progress: ProgressLog = field(init=False)

    def __post_init__(self) -> None:
        self.progress = ProgressLog(self.plan.folder, of_capacity(self.record), self._fill)

    def _fill(self, progress: SearchProgress) -> None:
        """The content of progress.json besides the current run."""
        budget = self.plan.budget
        fill_capacity(progress, self.record)
        progress.spent.seconds = self.plan.now() - self.began
        progress.left = Amounts(
            self.left_s,
            None if budget.requests is None else max(0, budget.requests - (progress.spent.requests or 0)),
            None if budget.usd is None else max(0.0, budget.usd - (progress.spent.usd or 0.0)),
        )

    def step(self) -> str:
        """One run. Returns why the search ends, or None if it continues."""
        plan, record = self.plan, self.record
        step = self.rule.next_step()
        if step.load is None:
            return step.why
        seconds = self._seconds(step)
        if seconds is None or self._is_spent():
            return "budget"
        left = "" if self.left_s is None else f"; {_clock(self.left_s)} of the budget left"
        sentence = f"{step.why}: {step.load:g} {UNITS[record.capacity.unit]}, {seconds:.0f} s"
        self.console.print(f"\n{sentence}{left}", highlight=False)
        self.progress.begin(RunUnderWay(step.why, len(record.runs) + 1, step.load, seconds=seconds), sentence)
        outcome, run = self._measure(step.load, seconds)
        run.step = step.why
        record.runs.append(run)
        run.measured = self.rule.after(outcome, run)
        if run.measured and outcome.status == "complete":
            self.rates[step.load] = run.measured / run.measured_s
            self.around_s = max(AROUND_S, *(each.wall_s - each.measured_s for each in record.runs))
        ended = INTERRUPTED if outcome.status == "interrupted" else ""
        write_capacity(plan.folder, self.rule.judge(record, ended or "going on"))
        self.progress.over()
        for line in self.rule.progress(record, self.left_s):
            self.console.print(line, highlight=False)
        return ended

    @property
    def left_s(self) -> float | None:
        """Remaining seconds of the budget."""
        seconds = self.plan.budget.seconds
        return None if seconds is None else max(0.0, seconds - (self.plan.now() - self.began))

    def _seconds(self, step: NextStep) -> float | None:
        """How long so many requests take at a load, as the nearest load below has shown, or any; shorter where the
        budget ends before. None where it holds no run at all."""
        wanted, load = self.plan.first_s, present(step.load)
        if self.rates:
            nearest = min(self.rates, key=lambda known: (known > load, abs(math.log(known / load))))
            rate = self.rates[nearest] * max(1.0, load / nearest)
            wanted = min(max(step.requests / rate, SHORTEST_S), LONGEST_S)
            if step.why == BRACKET:
                wanted = min(wanted, max(self.plan.first_s, FEW / rate))
        if self.left_s is None or wanted + self.around_s <= self.left_s:
            return wanted
        rest = self.left_s - self.around_s
        return rest if rest >= SHORTEST_S else None

    def _is_spent(self) -> bool:
        budget, runs = self.plan.budget, self.record.runs
        return bool(
            (budget.requests is not None and sum(run.requests for run in runs) >= budget.requests)
            or (budget.usd is not None and sum(run.usd for run in runs) >= budget.usd)
        )

    def _measure(self, load: float, seconds: float) -> tuple[RunOutcome, CapacityRun]:
        """One run with its own seed. An engine that dies in it is a result."""
        record, began = self.record, self.plan.now()
        empty = self.engine.wait_until_empty(EMPTY_LIMIT_S)
        if empty.inside:
            note = (
                f"{empty.inside} requests of the run before were still in the engine {EMPTY_LIMIT_S:.0f} s later, "
                f"when {load:g} {UNITS[record.capacity.unit]} were begun"
            )
            record.notes.append(note)
            self.console.print(f"note: {note}", highlight=False)
        seed = self.plan.seed + len(record.runs)
        options = replace(
            self.plan.options,
            results=self.plan.folder,
            overrides={**self.plan.options.overrides, **self._values(load, seconds, seed)},
        )
        outcome = self.plan.run(options, self.console, LoadTools(engine=self.engine.tools))
        died = outcome.error is not None and outcome.error.code in (Exit.ENGINE, Exit.ENGINE_GONE)
        if outcome.error is not None and not died:
            raise UserError(outcome.error.code, str(outcome.error))
        manifest = read_manifest(outcome.folder)
        counts = manifest.counts
        run = CapacityRun(
            load,
            outcome.folder.name,
            seed,
            _measured_s(manifest, seconds),
            died,
            requests=(counts.sent or 0) if counts else 0,
            usd=(counts.usd or 0.0) if counts else 0.0,
            wall_s=self.plan.now() - began,
            inside_before=empty.inside,
        )
        return outcome, run

    def _values(self, load: float, seconds: float, seed: int) -> dict[str, str]:
        record = self.record
        values = {"load.duration_s": f"{seconds:.1f}", "prompts.seed": str(seed), "prompts.salt": record.salt}
        if record.capacity.unit == "users":
            values |= {"load.users": f"{load:g}", "load.spawn_rate": f"{max(8, math.ceil(load / 4))}"}
        else:
            values["load.rate"] = f"{load:g}"
        if record.runs:
            values["load.reset_cache"] = "false"  # a warm cache is the steady state, so all levels share it
        return values


def _measured_s(manifest: Manifest, planned_s: float) -> float:
    measured = next((phase for phase in manifest.phases if phase.name == "measure"), None)
    length = planned_s if measured is None or measured.end is None else float(measured.end) - float(measured.start)
    return max(length, 0.001)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
