"""A run against earlier ones of the same kind: regressions as gates, by the statistics of the comparison."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenswarm.analysis.compare.ab_test import Difference
from tokenswarm.analysis.compare.comparison import BETTER, EQUAL, UNDECIDED, WORSE, Result, compare, compared, shown
from tokenswarm.analysis.compare.groups import named_groups, refuse_unlike, unfair
from tokenswarm.analysis.figures.level_figures import at_level, same_loads
from tokenswarm.analysis.verdict.outcome import VALID
from tokenswarm.analysis.wording import level_name

from tokenswarm.contract.metric import HIGHER
from tokenswarm.contract.summary.level_records import LevelFigures
from tokenswarm.contract.summary.summary_record import Summary
from tokenswarm.contract.summary.verdict_records import Baseline, Gate

TOLERANCE = 0.05
"""Share by which a ratio may be worse, and points (as a share) by which a difference may."""


def regressions(earlier: Sequence[Summary], run: Summary, tolerance: float = TOLERANCE) -> Baseline:
    """`run` against `earlier`.

    There is a gate for each figure that the registry of metrics marks: few, so that a run rarely fails by chance, and
    none that an open loop's arrivals set. A gate is missed if its figure is worse by more than the tolerance and the
    difference is significant; met if it is certainly not worse by that much, or not worse at all; else undetermined,
    also if a run lacks the figure. With a single earlier run every gate is undetermined, because the spread between
    runs is unknown.

    Raises UserError: INVALID if a run is not VALID, USAGE for a simulator against an engine, or another scenario.
    """
    groups = named_groups(earlier, [run], "baseline", "run")
    refuse_unlike(groups)
    open_loop = run.run.load.mode == "open"
    chosen = [figure.key for figure in compared() if figure.regression and not (open_loop and figure.set_by_arrivals)]
    results = {result.metric.key: result for result in compare(groups.a, [run])}
    gates = [_gate(results[key], tolerance) for key in chosen if key in results]
    return Baseline(_names(groups.a), tolerance, unfair(groups), gates)


def baseline_folders(value: str | Path | None) -> list[Path]:
    """The run folders given as the baseline: one, or several separated by commas."""
    if value is None or Path(value).is_dir():  # a folder's name may contain a comma
        return [] if value is None else [Path(value)]
    return [Path(part.strip()) for part in str(value).split(",") if part.strip()] or [Path(value)]


def against(earlier: Sequence[Summary], run: Summary, tolerance: float = TOLERANCE) -> Baseline:
    """`regressions`, level by level if the runs had several load levels.

    No gates and a note if the run has no figures to compare, or its levels differ from those of an earlier run.
    """
    if run.verdict != VALID:
        return Baseline(_names(earlier), tolerance, [f"not compared: this run is {run.outcome.headline}"])
    if not run.levels and not any(each.levels for each in earlier):
        return regressions(earlier, run, tolerance)
    if not all(same_loads(each, run) for each in earlier):
        return Baseline(_names(earlier), tolerance, ["not compared: the runs did not go through the same load levels"])
    by_level = [
        (level, regressions([at_level(each, each.levels[place]) for each in earlier], at_level(run, level), tolerance))
        for place, level in enumerate(run.levels)
    ]
    notes = list(dict.fromkeys(note for _, baseline in by_level for note in baseline.notes))
    return Baseline(
        _names(earlier),
        tolerance,
        notes,
        [_gate_of_level(gate, level) for level, baseline in by_level for gate in baseline.gates],
    )


def _gate_of_level(gate: Gate, level: LevelFigures) -> Gate:
    name = level_name(level)
    return Gate(f"level{level.number}.{gate.key}", f"{name}: {gate.title}", gate.state, f"{name}: {gate.sentence}")


def _names(runs: Sequence[Summary]) -> str:
    return ", ".join(run.run_id for run in runs)


def _gate(result: Result, tolerance: float) -> Gate:
    key, title = result.metric.key, result.metric.title
    if result.difference is None:
        return Gate(key, title, "undetermined", f"{title}: undetermined, {result.why}")
    difference = result.difference
    then, now = (shown(side.value, result.unit) for side in (difference.a, difference.b))
    words = {WORSE: "worse", BETTER: "better", EQUAL: "equal"}.get(result.state, "undecided")
    why = f" ({result.why})" if result.why else ""
    sentence = f"{result.sentence_part()} of the baseline: {words}{why}; {then} then, {now} now"
    return Gate(key, title, _gate_state(result, difference, tolerance), sentence)


def _gate_state(result: Result, difference: Difference, tolerance: float) -> str:
    if result.why:
        return "undetermined"
    change = abs(difference.change - 1.0) if difference.ratio else abs(difference.change)
    if result.state == WORSE:
        return "missed" if change > tolerance else "met"
    if result.state == UNDECIDED:
        even = 1.0 if difference.ratio else 0.0
        harm = even - difference.low if result.metric.better == HIGHER else difference.high - even
        return "met" if harm <= tolerance else "undetermined"
    return "met"
