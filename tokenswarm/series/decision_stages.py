"""The stages of a decision: for each engine a race over its settings and a search for its capacity, then pairs.

What a stage does is handed in; here they are put in order, given their share of the time, and kept: decision.json is
written after each, so that one that was interrupted goes on. An engine that cannot be measured ends its own stages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.contract.decision_record import (
    DONE,
    FAILED,
    PAIRS,
    PENDING,
    RACE,
    SEARCH,
    SKIPPED,
    STOPPED,
    Decision,
    SideRecord,
    StageRecord,
)
from tokenswarm.contract.search_progress import INTERRUPTED, RunUnderWay, new_progress
from tokenswarm.series.progress_file import ProgressLog, fill_decision


@dataclass(frozen=True, slots=True)
class DecideTools:
    """What the stages are made of. `race`, `search`: measure one engine into its record, in at most so many seconds,
    and return why it ended; the stage may have begun before. `pairs`: both, into the decision; it calls what it is
    given with a sentence after each run. `judge`: puts the answer into the decision. `keep`: writes it.
    `allowance(kind, kinds that are left, seconds left)`. `close`: stops what runs. `now`: seconds, of the clock that
    the budget is of. `folder`: of the decision."""

    race: Callable[[SideRecord, StageRecord], str]
    search: Callable[[SideRecord, StageRecord], str]
    pairs: Callable[[Decision, StageRecord, Callable[[str], None]], str]
    judge: Callable[[Decision], None]
    keep: Callable[[Decision], None]
    allowance: Callable[[str, Sequence[str], float | None], float | None]
    close: Callable[[], None]
    now: Callable[[], float]
    folder: Path


def planned_stages(sides: Sequence[SideRecord]) -> list[StageRecord]:
    """Race and search of each engine, one engine after the other so that it can stay up, then the pairs."""
    stages = [
        StageRecord(kind, side.engine, folder=f"{kind}-{number}-{side.engine}")
        for number, side in enumerate(sides, start=1)
        for kind in (RACE, SEARCH)
    ]
    return [*stages, StageRecord(PAIRS, folder=PAIRS)] if len(sides) > 1 else stages


def decide(decision: Decision, tools: DecideTools, console: Console) -> Decision:
    """Carry out the stages that are left. Ctrl-C ends it in good order; so does the budget."""
    decision.reason = ""
    begun = new_progress("decision", " ".join(side.engine for side in decision.sides), decision.scenario)
    log = ProgressLog(tools.folder, begun, lambda progress: fill_decision(progress, decision, log.under_way_s))
    with log.kept():
        try:
            for place, stage in enumerate(decision.stages):
                if stage.state in (DONE, SKIPPED, FAILED):
                    continue
                if not _possible(decision, stage):
                    stage.state, stage.ended = SKIPPED, "one of its engines could not be measured"
                    continue
                _stage(decision, place, tools, log, console)
                if stage.ended == INTERRUPTED:
                    decision.reason = INTERRUPTED
                    break
        except KeyboardInterrupt:
            decision.reason = INTERRUPTED
        finally:
            tools.close()
        decision.reason = decision.reason or "all stages were made"
        tools.judge(decision)
        tools.keep(decision)
        log.end(decision.reason, decision.sentence)
    return decision


def _stage(decision: Decision, place: int, tools: DecideTools, log: ProgressLog, console: Console) -> None:
    """One stage, with its share of the time that is left; what it says is kept."""
    stage = decision.stages[place]
    left = [each.kind for each in decision.stages[place:] if each.state in (PENDING, STOPPED)]
    stage.allowed_s = tools.allowance(stage.kind, left, _left_s(decision))
    words = _announcement(decision, stage, place)
    console.print(f"\n{words}", style="bold", markup=False, highlight=False)
    log.begin(RunUnderWay(stage.kind, place + 1, candidate=stage.engine, seconds=stage.allowed_s), words)
    _carry_out(decision, stage, tools, log, console)
    tools.judge(decision)
    tools.keep(decision)
    log.over()


def _carry_out(decision: Decision, stage: StageRecord, tools: DecideTools, log: ProgressLog, console: Console) -> None:
    began, stage.state, stage.ended = tools.now(), STOPPED, INTERRUPTED
    try:
        if stage.kind == PAIRS:
            stage.ended = tools.pairs(decision, stage, lambda words: log.told(words, tools.now() - began))
        else:
            side = _side(decision, stage)
            stage.ended = (tools.race if stage.kind == RACE else tools.search)(side, stage)
        stage.state = STOPPED if stage.ended == INTERRUPTED else DONE
    except UserError as error:
        if error.code in (Exit.USAGE, Exit.RESULTS, Exit.RUN_FOLDER):
            raise  # nothing that another engine would do better
        stage.state, stage.ended = FAILED, str(error)
        who = "pairs" if stage.kind == PAIRS else _side(decision, stage).title
        console.print(f"{who}: {error}", style="red", markup=False, highlight=False)
        if stage.kind != PAIRS:
            _side(decision, stage).failure = str(error)
    finally:
        stage.spent_s += tools.now() - began
        log.under_way_s = 0.0


def _side(decision: Decision, stage: StageRecord) -> SideRecord:
    """The engine of a stage, by its place: two sides can be the same engine."""
    number = int(stage.folder.split("-")[1])
    return decision.sides[number - 1]


def _possible(decision: Decision, stage: StageRecord) -> bool:
    if stage.kind == PAIRS:
        return all(side.failure is None for side in decision.sides)
    return _side(decision, stage).failure is None


def _left_s(decision: Decision) -> float | None:
    """What is left of the budget."""
    if decision.budget_s is None:
        return None
    return max(0.0, decision.budget_s - sum(stage.spent_s for stage in decision.stages))


_WORDS = {
    RACE: "a race over its settings",
    SEARCH: "the capacity with the settings that it won",
    PAIRS: "both engines in interleaved pairs",
}


def _announcement(decision: Decision, stage: StageRecord, place: int) -> str:
    of = f"{_side(decision, stage).title}: " if stage.kind != PAIRS else ""
    time = (
        ""
        if stage.allowed_s is None
        else f", at most {stage.allowed_s / 60.0:.0f} min" + (" of the engine's time" if decision.virtual else "")
    )
    return f"stage {place + 1} of {len(decision.stages)}: {of}{_WORDS[stage.kind]}{time}"
