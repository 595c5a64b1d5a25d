"""A run in virtual time that writes a run folder like `run_load`, for series on the simulator that would take hours in
real time. The rows are those that the load generator would have written if the simulator, the network and this machine
took no time. There is no load generator, so its CPU and lateness are not measured and spoil nothing. Times in the rows
start at the run's real start.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.files import write_whole
from tokenswarm.contract.manifest import (
    VIRTUAL,
    CacheResetRecord,
    CostRecord,
    CountsRecord,
    EngineRecord,
    Manifest,
    write_manifest,
)
from tokenswarm.contract.tables import REQUEST_COLUMNS, REQUESTS_CSV, format_rows, header
from tokenswarm.engines import Placement, command
from tokenswarm.generator.new_run import NewRun, make_run_folder, utc_now
from tokenswarm.run.life import LoadTools
from tokenswarm.run.monitor import RunOutcome
from tokenswarm.run.options import LoadOptions
from tokenswarm.run.run_plan import EngineToStart, RunPlan, resolve
from tokenswarm.sim.config import Config
from tokenswarm.virtual.run import VirtualRun, run
from tokenswarm.virtual.simulated_engine import simulated

NOTE = (
    "Computed in virtual time: the simulator's model of an engine and the users were computed, nothing was sent, "
    "and no load generator was measured."
)
_PROGRAM = "tokenswarm.sim"


@dataclass(slots=True)
class EngineClock:
    """A clock for budgets: the total simulated time of its runs, in seconds. `requests`: their total number."""

    now_s: float = 0.0
    requests: int = 0

    def now(self) -> float:
        """Seconds so far."""
        return self.now_s


def can_be_virtual(plan: RunPlan) -> bool:
    """Whether the run is on the local simulator, so that its model can be computed directly."""
    return plan.engine is not None and plan.engine.spec.simulated and plan.scenario.mix is None


class VirtualLoad:
    """`run_load` in virtual time; each run advances `clock` by its length. `play`: computes a run instead of `run`."""

    def __init__(self, clock: EngineClock, play: Callable[..., VirtualRun] | None = None) -> None:
        self.clock, self._play = clock, play

    def __call__(self, options: LoadOptions, console: Console, tools: LoadTools) -> RunOutcome:
        """One run; `tools` is not used. Raises UserError for faults before the run."""
        plan = resolve(options)
        if plan.engine is None or not (self._play or can_be_virtual(plan)):
            raise UserError(Exit.USAGE, "only a scenario without a mix on the simulator can be run in virtual time")
        flags = _flags(plan.engine)
        config = simulated(*flags)
        run_id, folder = make_run_folder(
            plan.results, plan.engine_name, plan.scenario.name, plan.scenario.load, plan.label
        )
        manifest = _manifest(plan, config, flags, run_id)
        write_manifest(folder, manifest)
        began = time.time()
        play = self._play or run
        result = play(plan.scenario, config, plan.corpus, seed=plan.scenario.prompts.seed, salt=str(manifest.salt))
        _write_rows(folder, run_id, result, began)
        _finish(manifest, result, began)
        write_manifest(folder, manifest)
        self.clock.now_s += _length_s(result)
        self.clock.requests += len(result.rows)
        return RunOutcome(folder, "complete")


def _length_s(result: VirtualRun) -> float:
    """Seconds from its start until its last answer or the end of the measured phase."""
    ends = [float(str(row["sent_at"])) + float(str(row["e2e_ms"] or 0.0)) / 1e3 for row in result.rows]
    return max([result.timeline.measure_end, *ends])


def _flags(engine: EngineToStart) -> list[str]:
    """The simulator's command-line flags for this engine."""
    name = engine.spec.fixed_served_name or engine.spec.name
    words = command(
        engine.spec,
        engine.settings,
        Placement(name, 1, served_name=name),
        "local",
        device=engine.device_asked,
        explicit=engine.explicit,
    )
    return words[words.index(_PROGRAM) + 1 :]


def _manifest(plan: RunPlan, config: Config, flags: list[str], run_id: str) -> Manifest:
    assert plan.engine is not None  # `can_be_virtual`
    spec, limits = plan.engine.spec, config.limits
    effective = {
        "context_length": config.context_length,
        "model_path": config.profile.name,
        "block_size": limits.block_size,
        "kv_capacity_tokens": limits.kv_tokens,
        "prefix_cache": limits.prefix_cache,
        "max_num_seqs": limits.max_num_seqs,
        "prefill_budget": limits.max_batched_tokens,
        "seed": config.seed,
    }
    engine = EngineRecord(spec.name, spec.title, None, None, VIRTUAL, 0.0, [_PROGRAM, *flags], effective=effective)
    manifest = NewRun(
        scenario=plan.scenario,
        overrides=plan.overrides,
        engine=engine,
        model=config.model,
        corpus=plan.corpus,
        workers=1,
        argv=plan.argv,
        simulated=True,
        notes=[NOTE, *plan.prompt_notes],
        label=plan.label,
    ).manifest(run_id)
    manifest.cache_reset = CacheResetRecord(True, None, 0.0)
    if plan.gpu_hour_usd is not None:
        manifest.cost = CostRecord(plan.gpu_hour_usd, 1)
    return manifest


def _write_rows(folder: Path, run_id: str, result: VirtualRun, began: float) -> None:
    """Write its rows, with this machine's clock and the run's ID."""
    rows = []
    for row in result.rows:
        at = {key: began + float(str(row[key])) for key in ("sent_at", "scheduled_at") if row[key] is not None}
        rows.append({**row, **at, "run_id": run_id, "worker": 0})
    write_whole(folder / REQUESTS_CSV, header(REQUEST_COLUMNS) + format_rows(REQUEST_COLUMNS, rows))


def _finish(manifest: Manifest, result: VirtualRun, began: float) -> None:
    statuses = Counter(str(row["status"]) for row in result.rows)
    manifest.counts = CountsRecord(
        ok=statuses["ok"],
        failed=statuses["failed"],
        cancelled=statuses["cancelled"],
        simulated_answers=statuses["ok"],
        unsent=result.unsent,
        arrivals_queued=result.arrivals_queued,
        rows_lost=0,
        rows=len(result.rows),
        sent=len(result.rows),
    )
    timeline = result.timeline.shifted(began)
    manifest.phases = timeline.phases(timeline.stop_by)
    manifest.warmup, manifest.status, manifest.ended_at = result.warmup, "complete", utc_now()
