"""What a folder's files say against each other: rows of another run, rows told twice, times outside the run.

Counts alone do not tell: a file of another run may hold as many rows.
"""

from __future__ import annotations

from datetime import datetime

from tokenswarm.analysis.figures.window import Window
from tokenswarm.analysis.read.run_folder import Run
from tokenswarm.analysis.verdict.outcome import COMPLETE

from tokenswarm.contract.manifest import VIRTUAL

EARLIER_S, LATER_S = 1.0, 10.0
"""Seconds by which a request may leave before the measure phase (clocks of several machines), and after it (a
connection that took long, a process that was held).
"""
OUTLASTS_S = 60.0
"""Seconds by which the measure phase may end after the run: two looks at a clock that is being corrected."""
MISPLACED = 0.01
"""Share of the measured requests that may be sent outside the measure phase."""


def misfits(run: Run, window: Window | None) -> list[str]:
    """Each as the beginning of a sentence; only of tokenswarm's own runs, as other tools number theirs otherwise."""
    if run.manifest.imported is not None or not len(run.requests):
        return []
    return [*_other_runs(run), *_repeated(run), *_outside(run, window)]


def _other_runs(run: Run) -> list[str]:
    ids, own = run.requests["run_id"], run.manifest.run_id
    strange = int((ids.notna() & (ids.astype("object") != own)).sum()) if own else 0
    return [f"{strange:,} of {len(ids):,} rows name another run than run.json"] if strange else []


def _repeated(run: Run) -> list[str]:
    known = run.requests.loc[run.requests["request_id"].notna(), ["request_id", "attempt"]]
    twice = int(known.duplicated().sum())
    return [f"{twice:,} rows have the request_id of another row"] if twice else []


def _outside(run: Run, window: Window | None) -> list[str]:
    if window is None or window.source != "manifest" or not run.has_start_times:
        return []
    sentences = []
    again = (run.measured["attempt"] > 1).to_numpy()  # another attempt has the phase of the first, and leaves later
    sent, ended = run.measured["sent_at"][~again], _ended_at(run)
    away = int(((sent < window.start - EARLIER_S) | (sent > window.end + LATER_S)).sum())
    if away > MISPLACED * len(sent):
        sentences.append(
            f"{away:,} of {len(sent):,} measured requests were sent outside the measure phase (was a clock set during "
            "the run?)"
        )
    if ended is not None and window.end > ended + OUTLASTS_S:
        sentences.append("the measure phase ends after the run did")
    return sentences


def _ended_at(run: Run) -> float | None:
    """When run.json says that the run ended, in unix seconds; None in virtual time, whose phases are on no clock, and
    unless it ended as planned.
    """
    if run.manifest.engine.runtime == VIRTUAL or run.manifest.status != COMPLETE or not run.manifest.ended_at:
        return None
    try:
        moment = datetime.fromisoformat(run.manifest.ended_at)
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo is not None else None
