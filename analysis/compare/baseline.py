"""A run against an earlier one of the same kind: regressions as gates, by the statistics of the comparison."""

from __future__ import annotations

from tokenswarm.analysis.compare.comparison import BETTER, WORSE, Result, compare, compared, shown
from tokenswarm.analysis.compare.groups import named_groups, refuse_unlike, unfair
from tokenswarm.analysis.figures.level_figures import at_level, same_loads
from tokenswarm.analysis.verdict.outcome import VALID
from tokenswarm.analysis.wording import level_name

from tokenswarm.contract.summary.level_records import LevelFigures
from tokenswarm.contract.summary.summary_record import Summary
from tokenswarm.contract.summary.verdict_records import Baseline, Gate

TOLERANCE = 0.05
"""Share by which a ratio may be worse, and points (as a share) by which a difference may."""


def regressions(earlier: Summary, run: Summary, tolerance: float = TOLERANCE) -> Baseline:
    """`run` against `earlier`.

    A gate for each figure that the registry of metrics marks: few, so that one of many does not fail a run by chance,
    and none that an open loop's arrivals set.
    A gate is missed when its figure is worse by more than the tolerance and the difference is not chance; met when it
    is not; undetermined (with `why`) when either run does not know the figure. One run on each side: what differs from
    run to run is not covered. Raises UserError: INVALID when a run is not VALID, USAGE for a simulator against an
    engine, or another scenario.
    """
    groups = named_groups([earlier], [run], "baseline", "run")
    refuse_unlike(groups)
    open_loop = run.run.load.mode == "open"
    chosen = [figure.key for figure in compared()
              if figure.regression and not (open_loop and figure.set_by_arrivals)]
    results = {result.metric.key: result for result in compare([earlier], [run])}
    gates = [_gate(results[key], tolerance) for key in chosen if key in results]
    return Baseline(earlier.run_id, tolerance, unfair(groups), gates)


def against(earlier: Summary, run: Summary, tolerance: float = TOLERANCE) -> Baseline:
    """`regressions`, level by level where the runs were several loads; or no gates and a note, where the run itself has
    no figures to hold against anything, or was other loads than the earlier one."""
    if run.verdict != VALID:
        return Baseline(earlier.run_id, tolerance, [f"not compared: this run is {run.outcome.headline}"])
    if not earlier.levels and not run.levels:
        return regressions(earlier, run, tolerance)
    if not same_loads(earlier, run):
        return Baseline(earlier.run_id, tolerance, ["not compared: the runs did not go through the same load levels"])
    each = [(level, regressions(at_level(earlier, before), at_level(run, level), tolerance))
            for before, level in zip(earlier.levels, run.levels, strict=True)]
    notes = list(dict.fromkeys(note for _, baseline in each for note in baseline.notes))
    return Baseline(earlier.run_id, tolerance, notes,
                    [_gate_of_level(gate, level) for level, baseline in each for gate in baseline.gates])


def _gate_of_level(gate: Gate, level: LevelFigures) -> Gate:
    name = level_name(level)
    return Gate(f"level{level.number}.{gate.key}", f"{name}: {gate.title}", gate.state, f"{name}: {gate.sentence}")


def _gate(result: Result, tolerance: float) -> Gate:
    key, title = result.metric.key, result.metric.title
    if result.difference is None:
        return Gate(key, title, "undetermined", f"{title}: undetermined, {result.why}")
    difference = result.difference
    change = abs(difference.change - 1.0) if difference.ratio else abs(difference.change)
    state = "missed" if result.state == WORSE and change > tolerance else "met"
    words = "worse" if result.state == WORSE else "better" if result.state == BETTER else "no difference"
    then, now = (shown(side.value, result.unit) for side in (difference.a, difference.b))
    sentence = f"{result.sentence_part()} of the baseline: {words}; {then} then, {now} now"
    return Gate(key, title, state, sentence)
