"""progress.json: the progress of a running search. Its records, reader and writer.

`capacity`, `tune` and `decide` replace it as a whole before and after each of their runs, in the folder of the series.
It is only a view: no search resumes from it, and nothing is lost if it is deleted (capacity.json, series.json and
decision.json keep the measurements). Each stage of a decision has its own, in its folder (`Stage.folder`).
"""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import msgspec
from msgspec import field

from tokenswarm.contract.ends import Ends, OpenEnds
from tokenswarm.contract.series_file import read_record, write_record

PROGRESS_FORMAT = 1
"""Version of the format of progress.json, written as `format`."""
PROGRESS_JSON = "progress.json"
RUNNING, ENDED, INTERRUPTED, FAILED = "running", "ended", "interrupted", "failed"
"""States of a search."""


class RunUnderWay(msgspec.Struct):
    """What is being measured. `why`: what for, in a word (bracket, bisect, longer, confirm, race, fresh; of a decision
    the kind of its stage); `number`: of the series' runs, or of the decision's stages, from 1; `load`: where the
    run has one of its own; `candidate`: by its name; `began_at`: seconds since 1970; `seconds`: how long its measured
    phase is planned to be; warm-up, drain and an engine's start come on top."""

    why: str = ""
    number: int = 0
    load: float | None = None
    candidate: str = ""
    began_at: float = 0.0
    seconds: float | None = None


class Amounts(msgspec.Struct):
    """Spent so far, or left of the budget (None: no end). Seconds are of the engine's time where runs are computed in
    virtual time."""

    seconds: float | None = None
    requests: int | None = None
    usd: float | None = None


class LevelSoFar(msgspec.Struct):
    """One load. `state`: pass | fail | undecided | limited; `attainment`: share of requests in time, with `ci95`."""

    load: float = 0.0
    state: str = "undecided"
    attainment: float | None = None
    ci95: Ends = field(default_factory=lambda: [0.0, 1.0])
    requests: int = 0


class BracketSoFar(msgspec.Struct):
    """A search for a capacity. `unit`: users | requests_s; `sure_pass`, `sure_fail`: the bracket, None where an end is
    not known yet; `estimate`, `ci95`: of the capacity, as far as it is known; `levels`: by load."""

    unit: str = "users"
    target: float = 0.95
    precision: float = 0.1
    sure_pass: float | None = None
    sure_fail: float | None = None
    estimate: float | None = None
    ci95: OpenEnds = field(default_factory=lambda: [None, None])
    levels: list[LevelSoFar] = field(default_factory=list)


class CandidateSoFar(msgspec.Struct):
    """One candidate of a race. `state`: in | dropped (surely worse) | failed."""

    name: str = ""
    state: str = "in"
    runs: int = 0


class RaceSoFar(msgspec.Struct):
    """A race of settings. `round`: under way, from 1; `leader`: after the last whole round; `fresh_pairs`: of winner
    and default, made after the race."""

    round: int = 0
    leader: str | None = None
    candidates: list[CandidateSoFar] = field(default_factory=list)
    fresh_pairs: int = 0


class StageSoFar(msgspec.Struct):
    """One stage of a decision. `state`: pending | running | done | stopped | failed | skipped; `folder`: its own, in
    that of the decision, with its own progress.json where the stage is a race or a search."""

    kind: str = ""
    engine: str = ""
    state: str = "pending"
    folder: str = ""
    spent_s: float = 0.0


class SearchProgress(msgspec.Struct):
    """progress.json. `kind`: capacity | tune | decision; `state`: running | ended | interrupted | failed; `reason`: why
    it is over; `now`: None between runs; `host`, `pid`: of the process that writes it; times in seconds since 1970.
    One of `bracket`, `race` and `stages` is filled, by kind."""

    format: int = PROGRESS_FORMAT
    kind: str = ""
    state: str = RUNNING
    reason: str = ""
    engine: str = ""
    scenario: str = ""
    sentence: str = ""
    """What the search is doing, or its result, in a sentence."""
    started_at: float = 0.0
    updated_at: float = 0.0
    host: str = ""
    pid: int = 0
    now: RunUnderWay | None = None
    runs: int = 0
    spent: Amounts = field(default_factory=Amounts)
    left: Amounts = field(default_factory=Amounts)
    bracket: BracketSoFar | None = None
    race: RaceSoFar | None = None
    stages: list[StageSoFar] = field(default_factory=list)


def new_progress(kind: str, engine: str = "", scenario: str = "") -> SearchProgress:
    """The progress of a search that starts or resumes in this process."""
    return SearchProgress(
        kind=kind,
        engine=engine,
        scenario=scenario,
        started_at=time.time(),
        host=socket.gethostname(),
        pid=os.getpid(),
    )


def read_progress(folder: Path) -> SearchProgress:
    """The progress.json of a folder. Raises UserError (RUN_FOLDER)."""
    return read_record(folder / PROGRESS_JSON, SearchProgress, PROGRESS_FORMAT)


def write_progress(folder: Path, progress: SearchProgress) -> None:
    """Replace the whole progress.json. Raises UserError (RESULTS)."""
    progress.updated_at = time.time()
    write_record(folder / PROGRESS_JSON, progress)


def is_going_on(progress: SearchProgress) -> bool:
    """Whether the search is still running. Checks the process, since a killed one could not write that it ended; the
    state of a process on another machine is taken as it is."""
    if progress.state != RUNNING:
        return False
    if progress.host != socket.gethostname() or progress.pid <= 0:
        return True
    try:
        os.kill(progress.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # owned by another user, so it exists
        pass
    return True
