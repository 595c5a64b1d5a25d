"""The runs of a search for capacity: one engine life and one salt, an ordinary run folder for each measurement.

Which load is next is said by a rule that is handed in; here it is only carried out.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from rich.console import Console

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.contract.capacity import Capacity, CapacityRun, write_capacity
from tokenswarm.contract.manifest import read_manifest
from tokenswarm.generator.new_run import fresh_salt
from tokenswarm.run.life import LoadTools, run_load
from tokenswarm.run.monitor import RunOutcome
from tokenswarm.run.options import LoadOptions
from tokenswarm.run.shared_engine import SharedEngine

_SHORTEST_S, _LONGEST_S = 10.0, 3600.0
_AROUND_S = 15.0
"""What a run takes beside its measured phase, where nothing is known yet: warm-up, drain, its processes' start."""


class NextStep(Protocol):
    """What a rule answers: a load to measure and how many requests, or None and why it is over."""

    @property
    def why(self) -> str: ...

    @property
    def load(self) -> float | None: ...

    @property
    def requests(self) -> int: ...


@dataclass(frozen=True, slots=True)
class CapacityRule:
    """`next_step`: from the runs so far to the next one. `after`: reads a run that has ended, and returns how many
    requests it measured. `judge`: puts what is known, and why the search ended, into the record."""

    next_step: Callable[[], NextStep]
    after: Callable[[RunOutcome, CapacityRun], int]
    judge: Callable[[Capacity, str], Capacity]


@dataclass(frozen=True, slots=True)
class CapacityPlan:
    """What is to be searched. `first_s`: length of the first run, of which nothing tells how many requests it takes;
    `budget_s`: None for no end."""

    options: LoadOptions
    folder: Path
    seed: int
    first_s: float
    budget_s: float | None = None
    run: Callable[[LoadOptions, Console, LoadTools], RunOutcome] = \
        lambda options, console, tools: run_load(options, console, tools=tools)
    now: Callable[[], float] = time.monotonic


def search_capacity(plan: CapacityPlan, rule: CapacityRule, record: Capacity, console: Console) -> Capacity:
    """Measure what the rule asks for until it is content, the budget is spent, or somebody interrupts. capacity.json is
    written after every run, so that nothing that was found is lost. Raises UserError for what is wrong before the first
    run."""
    engine = SharedEngine()
    record.salt = record.salt or fresh_salt()
    began, reason, rate = plan.now(), "", 0.0
    try:
        while not reason:
            step = rule.next_step()
            if step.load is None:
                reason = step.why
                break
            seconds = min(max(step.requests / (rate * step.load), _SHORTEST_S), _LONGEST_S) if rate else plan.first_s
            if plan.budget_s is not None and plan.now() - began + seconds + _AROUND_S > plan.budget_s:
                reason = "budget"
                break
            console.print(f"\n{step.why}: {step.load:g} {record.capacity.unit}, {seconds:.0f} s", highlight=False)
            outcome, run = _measure(plan, record, step.load, seconds, engine, console)
            record.runs.append(run)
            requests = rule.after(outcome, run)
            if requests and outcome.status == "complete":
                rate = requests / run.measured_s / step.load
            reason = "interrupted" if outcome.status == "interrupted" else ""
            write_capacity(plan.folder, rule.judge(record, reason or "going on"))
            console.print(_so_far(record), highlight=False)
    except KeyboardInterrupt:
        reason = "interrupted"
    finally:
        engine.close()
    record = rule.judge(record, reason)
    write_capacity(plan.folder, record)
    return record


def _measure(plan: CapacityPlan, record: Capacity, load: float, seconds: float, engine: SharedEngine,
             console: Console) -> tuple[RunOutcome, CapacityRun]:
    """One run of its own seed. An engine that ends in it is a result."""
    seed = plan.seed + len(record.runs)
    users = record.capacity.unit == "users"
    values = {"load.users" if users else "load.rate": f"{load:g}", "load.duration_s": f"{seconds:.1f}",
              "prompts.seed": str(seed), "prompts.salt": record.salt}
    if users:
        values["load.spawn_rate"] = f"{max(8, math.ceil(load / 4))}"
    if record.runs:
        values["load.reset_cache"] = "false"  # a warm cache is the steady state, and all levels share it
    options = replace(plan.options, overrides={**plan.options.overrides, **values}, results=plan.folder)
    outcome = plan.run(options, console, LoadTools(engine=engine.tools))
    died = outcome.error is not None and outcome.error.code in (Exit.ENGINE, Exit.ENGINE_GONE)
    if outcome.error is not None and not died:
        raise UserError(outcome.error.code, str(outcome.error))
    phases = {phase.name: phase for phase in read_manifest(outcome.folder).phases}
    measured = phases.get("measure")
    measured_s = seconds if measured is None or measured.end is None else float(measured.end) - float(measured.start)
    return outcome, CapacityRun(load, outcome.folder.name, seed, max(measured_s, 0.001), died)


def _so_far(record: Capacity) -> str:
    figure = record.capacity
    low = "nothing" if figure.sure_pass is None else f"{figure.sure_pass:g}"
    high = "nothing" if figure.sure_fail is None else f"{figure.sure_fail:g}"
    return f"surely passes: {low}; surely fails: {high} ({figure.unit}); {len(record.runs)} runs"
