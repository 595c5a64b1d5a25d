"""Which tasks of run folders were solved, and whether other settings change that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tokenswarm.analysis.figures.quantities import is_ok
from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.search.quality import AS_GOOD, CANNOT_TELL, MARGIN, WORSE, Quality, quality

from tokenswarm.contract.tune_record import AnswersRecord

Task = tuple[str, str, int]
"""Scenario, session and turn: the same task in every run of one seed."""


def solved(folders: Sequence[Path]) -> dict[Task, bool]:
    """Whether each checked task was solved. A failed request counts as unsolved: settings under which an engine fails
    are no good. Raises UserError if a run cannot be read.
    """
    tasks: dict[Task, bool] = {}
    for folder in folders:
        run = read_run(folder)
        rows = run.requests[(run.requests["status"] != "cancelled").to_numpy()]
        right = is_ok(rows) & (rows["valid_output"] == 1.0).to_numpy()
        checked = rows["valid_output"].notna().to_numpy() | ~is_ok(rows)
        for name, turn, valid, known in zip(rows["conversation"], rows["turn"], right, checked, strict=True):
            if known:
                tasks[str(run.manifest.scenario.name), str(name), int(turn)] = bool(valid)
    return tasks


def answers_of(folders: Mapping[str, Sequence[Path]], what: str) -> AnswersRecord:
    """The comparison of both sides' runs. `what`: the changed settings, in words."""
    judged = quality(solved(folders["before"]), solved(folders["after"]), lambda task: task[0])
    known = judged.change is not None and judged.low is not None and judged.high is not None
    return AnswersRecord(
        judged.state,
        judged.tasks,
        judged.before,
        judged.after,
        judged.change,
        [judged.low, judged.high] if known else None,
        [str(run) for side in folders.values() for run in side],
        answers_words(judged, what),
    )


def answers_words(quality: Quality, what: str) -> str:
    """`Under kv_cache_dtype=fp8 the answers are as good: ...`."""
    if quality.state == CANNOT_TELL:
        end = "" if quality.why.endswith("?") else "."
        return f"Whether the answers stay as good under {what} cannot be determined: {quality.why}{end}"
    figures = (
        f"{quality.after:.0%} of {quality.tasks} tasks are solved, {quality.before:.0%} without it "
        f"({100 * (quality.change or 0):+.1f} points, {100 * (quality.low or 0):+.1f} to "
        f"{100 * (quality.high or 0):+.1f})"
    )
    if quality.state == WORSE:
        return f"Under {what} the answers are surely worse: {figures}. Do not use it."
    if quality.state == AS_GOOD:
        return f"Under {what} the answers are as good, within {100 * MARGIN:.0f} points: {figures}."
    return f"Whether the answers stay as good under {what} is undecided: {figures}. Give more TASKS."
