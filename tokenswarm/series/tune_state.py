"""series.json of a race: what was measured, so that one that was interrupted goes on."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.contract.tables import SERIES_JSON


class Round(msgspec.Struct):
    """A round as series.json has it: figures (None: not measurable) and run folders by candidate."""

    seed: int = 0
    warm: dict[str, str] = msgspec.field(default_factory=dict)
    """What the first run's warm-up showed, as scenario values: the others go by it too."""
    figures: dict[str, float | None] = msgspec.field(default_factory=dict)
    runs: dict[str, str] = msgspec.field(default_factory=dict)


class TuneState(msgspec.Struct):
    """All that a race knows, as series.json has it."""

    kind: str = "tune"
    argv: list[str] = msgspec.field(default_factory=list)
    candidates: list[str] = msgspec.field(default_factory=list)
    objective: str = "goodput"
    rounds: list[Round] = msgspec.field(default_factory=list)
    failures: dict[str, str] = msgspec.field(default_factory=dict)
    """Why a candidate could not be measured."""
    fresh: dict[str, list[str]] = msgspec.field(default_factory=dict)
    fresh_pairs: int = 0
    """Pairs of them whose runs are both over."""
    total_s: float = 0.0
    starts_s: float = 0.0
    starts: int = 0
    ended: str | None = None


def read_state(folder: Path) -> TuneState:
    """The state of a race. Raises UserError (RUN_FOLDER)."""
    path = folder / SERIES_JSON
    try:
        return msgspec.json.decode(path.read_bytes(), type=TuneState)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(Exit.RUN_FOLDER, f"{path} is not the record of a race that could go on: {error}") from None
