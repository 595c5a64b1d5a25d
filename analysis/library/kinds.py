"""Runs of the same kind, which can be compared with each other, and the latest of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from tokenswarm.analysis.library.entries import RUN, Entry, read_library

from tokenswarm.base.errors import Exit, UserError

LAST = "last"


def kind_of(entry: Entry) -> tuple[str, ...]:
    """What runs of one kind have in common: engine, model, scenario and load. Duration, engine version and the number
    of workers may differ.
    """
    load = msgspec.structs.replace(
        entry.load, duration_s=None, workers=None, warmup_s=None, warmup_max_s=None, drain_s=None
    )
    return entry.engine, entry.model, entry.scenario, msgspec.json.encode(load).decode()


def by_kind(entries: Iterable[Entry]) -> dict[tuple[str, ...], list[Entry]]:
    """Runs by kind, each in the order in which they were started."""
    kinds: dict[tuple[str, ...], list[Entry]] = {}
    for entry in sorted((entry for entry in entries if entry.kind == RUN), key=lambda entry: entry.started_at):
        kinds.setdefault(kind_of(entry), []).append(entry)
    return kinds


def wanted_last(value: str) -> int | None:
    """How many of the latest runs `last` or `last:5` asks for; None if the text names folders.

    Raises UserError (USAGE) for an invalid number.
    """
    word, colon, number = value.partition(":")
    if word != LAST or Path(value).exists():
        return None
    if not colon:
        return 1
    if not number.isdecimal() or int(number) < 1:
        raise UserError(Exit.USAGE, f"'{value}' should be last, or last:N with a whole number of at least 1")
    return int(number)


def last_of_the_kind(folder: Path, wanted: int) -> Sequence[Path]:
    """Up to `wanted` valid runs of the same kind as the run in `folder`, started before it, from its results folder, in
    order of their start.

    Raises UserError (RUN_FOLDER) if there is none.
    """
    entries = read_library(folder.resolve().parent)
    this = next((entry for entry in entries if entry.folder.resolve() == folder.resolve()), None)
    if this is None:
        raise UserError(Exit.RUN_FOLDER, f"{folder} is not a run, so no baseline can be looked up for it")
    earlier = [
        entry for entry in by_kind(entries).get(kind_of(this), []) if entry.valid and entry.started_at < this.started_at
    ]
    if not earlier:
        raise UserError(
            Exit.RUN_FOLDER,
            f"--baseline {LAST}: {folder.resolve().parent} has no earlier valid run of "
            f"{this.scenario} on {this.engine} with this model and load",
        )
    return [entry.folder for entry in earlier[-wanted:]]
