"""series.json of a race: what was measured, so that an interrupted race can resume."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.files import write_whole
from tokenswarm.contract.tables import SERIES_JSON

FROM_FOLDER, AS_GIVEN = "folder", "working folder"


class Round(msgspec.Struct):
    """A round in series.json: figures (None: not measurable) and run folders by candidate."""

    seed: int = 0
    warm: dict[str, str] = msgspec.field(default_factory=dict)
    """Results of the first run's warm-up as scenario values, which the other runs use too."""
    figures: dict[str, float | None] = msgspec.field(default_factory=dict)
    runs: dict[str, str] = msgspec.field(default_factory=dict)


class TuneState(msgspec.Struct):
    """All that a race knows, as series.json has it. `paths_from`: where the paths of its runs begin, the folder of the
    race in the file; older files have them as they were given. In memory they are paths that can be opened."""

    kind: str = "tune"
    paths_from: str = AS_GIVEN
    argv: list[str] = msgspec.field(default_factory=list)
    candidates: list[str] = msgspec.field(default_factory=list)
    objective: str = "goodput"
    rounds: list[Round] = msgspec.field(default_factory=list)
    failures: dict[str, str] = msgspec.field(default_factory=dict)
    """Why a candidate could not be measured."""
    fresh: dict[str, list[str]] = msgspec.field(default_factory=dict)
    fresh_pairs: int = 0
    """Number of pairs with both runs complete."""
    total_s: float = 0.0
    starts_s: float = 0.0
    starts: int = 0
    ended: str | None = None


def read_state(folder: Path) -> TuneState:
    """The state of a race, with paths that can be opened. Raises UserError (RUN_FOLDER)."""
    path = folder / SERIES_JSON
    try:
        state = msgspec.json.decode(path.read_bytes(), type=TuneState)
        if (why := _wrong(state)) is not None:
            raise ValueError(why)
    except (OSError, ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise UserError(Exit.RUN_FOLDER, f"{path} is not the record of a race that could go on: {error}") from None
    opened = _joined if state.paths_from == FROM_FOLDER else _found
    state.paths_from = AS_GIVEN
    return _with_paths(state, lambda run: opened(folder, run))


def write_state(folder: Path, state: TuneState) -> None:
    """Replace series.json atomically. Its paths are relative to its folder, so that results can be moved. Raises
    UserError (RESULTS)."""
    whole = folder.resolve()
    written = _with_paths(state, lambda run: os.path.relpath(Path(run).resolve(), whole))
    written.paths_from = FROM_FOLDER
    write_whole(folder / SERIES_JSON, msgspec.json.format(msgspec.json.encode(written), indent=2).decode())


def _with_paths(state: TuneState, path: Callable[[str], str]) -> TuneState:
    """A copy with other paths for its runs."""
    rounds = [
        msgspec.structs.replace(each, runs={name: path(run) for name, run in each.runs.items()})
        for each in state.rounds
    ]
    fresh = {side: [path(run) for run in runs] for side, runs in state.fresh.items()}
    return msgspec.structs.replace(state, rounds=rounds, fresh=fresh)


def _joined(folder: Path, run: str) -> str:
    return os.path.normpath(folder / run)


def _found(folder: Path, run: str) -> str:
    """A path of an older file. If nothing is there because the results were moved: the folder of that name in or beside
    the race's folder."""
    if os.path.exists(run):
        return run
    near = (os.path.join(place, os.path.basename(run)) for place in (folder, folder.parent))
    return next((path for path in near if os.path.isdir(path)), run)


def _wrong(state: TuneState) -> str | None:
    known = set(state.candidates)
    for number, each in enumerate(state.rounds, start=1):
        if not known >= {*each.figures, *each.runs}:
            return f"round {number} has candidates that the race has not"
        if any(figure is not None and not 0.0 <= figure < math.inf for figure in each.figures.values()):
            return f"round {number} has a figure that no run has"
    if not set(state.fresh) <= {"default", "winner"} or not known >= set(state.failures):
        return "it has runs or failures of others than its candidates"
    if state.fresh_pairs < 0 or (state.fresh_pairs and len(state.fresh) < 2):
        return f"{state.fresh_pairs} fresh pairs were made"
    if min(state.total_s, state.starts_s, state.starts) < 0:
        return "it took less than no time"
    return None
