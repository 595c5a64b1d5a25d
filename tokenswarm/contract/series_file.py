"""The JSON files that say what a series of runs answered: one way to read, print and write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.files import write_whole
from tokenswarm.contract.manifest import read_object, too_new
from tokenswarm.contract.tolerant import Record, tolerant_record


def read_record(path: Path, kind: type[Record], newest: int) -> Record:
    """The record in a file. `newest`: the format that this version knows.

    Raises UserError (RUN_FOLDER) if the file is not there or of a newer format.
    """
    content = read_object(path)
    version = content.get("format")
    if isinstance(version, int) and (sentence := too_new(path.name, version, newest)) is not None:
        raise UserError(Exit.RUN_FOLDER, f"{path.parent}: {sentence}")
    return tolerant_record(content, kind)


def read_to_go_on(
    path: Path, kind: type[Record], newest: int, wrong: Callable[[Record], str | None] = lambda _: None
) -> Record:
    """The same for a series that goes on from it: nothing of it may be missing or unfit, for what was measured so far
    would be told otherwise. `wrong`: why its values cannot be those of a series, in words, if they cannot.

    Raises UserError (RUN_FOLDER).
    """
    read_record(path, kind, newest)  # whether it is there, and of a format that is known
    try:
        record = msgspec.convert(read_object(path), kind)
    except (msgspec.ValidationError, OverflowError) as error:
        raise damaged(path, str(error)) from None
    if (why := wrong(record)) is not None:
        raise damaged(path, why)
    return record


def damaged(path: Path, why: str) -> UserError:
    """The error of a record from which nothing can go on."""
    return UserError(
        Exit.RUN_FOLDER, f"{path} is damaged ({why}): it cannot be resumed; what its runs measured is in their folders"
    )


def record_json(record: msgspec.Struct) -> str:
    """The content of such a file, indented."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2).decode()


def write_record(path: Path, record: msgspec.Struct) -> None:
    """Replace the file as a whole. Raises UserError (RESULTS)."""
    write_whole(path, record_json(record) + "\n")
