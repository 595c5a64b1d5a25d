"""The JSON files with the result of a series of runs: common code to read, format and write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.files import write_whole
from tokenswarm.contract.manifest import read_object, too_new
from tokenswarm.contract.tolerant import Record, tolerant_record


def read_record(path: Path, kind: type[Record], newest: int) -> Record:
    """The record in a file. `newest` is the newest format that this version supports. Raises UserError (RUN_FOLDER) if
    the file is missing or has a newer format.
    """
    content = read_object(path)
    version = content.get("format")
    if isinstance(version, int) and (sentence := too_new(path.name, version, newest)) is not None:
        raise UserError(Exit.RUN_FOLDER, f"{path.parent}: {sentence}")
    return tolerant_record(content, kind)


def read_to_go_on(
    path: Path, kind: type[Record], newest: int, wrong: Callable[[Record], str | None] = lambda _: None
) -> Record:
    """The record in a file from which a series is to be resumed. No value may be missing or of a wrong type, because
    the earlier measurements would then be reported wrongly. `wrong` says why the values cannot come from a series, if
    they cannot.

    Raises UserError (RUN_FOLDER).
    """
    read_record(path, kind, newest)  # checks that it exists and has a supported format
    try:
        record = msgspec.convert(read_object(path), kind)
    except (msgspec.ValidationError, OverflowError) as error:
        raise damaged(path, str(error)) from None
    if (why := wrong(record)) is not None:
        raise damaged(path, why)
    return record


def damaged(path: Path, why: str) -> UserError:
    """The error for a record from which a series cannot be resumed."""
    return UserError(
        Exit.RUN_FOLDER, f"{path} is damaged ({why}): it cannot be resumed; what its runs measured is in their folders"
    )


def record_json(record: msgspec.Struct) -> str:
    """The content of such a file, as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2).decode()


def write_record(path: Path, record: msgspec.Struct) -> None:
    """Replace the whole file. Raises UserError (RESULTS)."""
    write_whole(path, record_json(record) + "\n")
