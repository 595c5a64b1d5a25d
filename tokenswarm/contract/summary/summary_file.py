"""The only reader and writer of summary.json, which docs/results.md describes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import msgspec

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.files import write_whole
from tokenswarm.contract.manifest import (
    EndedEarlyRecord,
    GitRecord,
    HostRecord,
    LoadRecord,
    read_object,
    too_new,
)
from tokenswarm.contract.summary.figure import Figure, Record
from tokenswarm.contract.summary.summary_record import SUMMARY_FORMAT, Summary
from tokenswarm.contract.tables import SUMMARY_JSON
from tokenswarm.contract.tolerant import tolerant_record

EMPTY_WHERE_UNKNOWN = (EndedEarlyRecord, GitRecord, HostRecord, LoadRecord)
"""Records of run.json that summary.json writes as {} if nothing is known."""
_NOT_FINITE = "the result was not a finite number"


def summary_json(summary: Summary) -> str:
    """The content of summary.json as plain JSON, whatever the number types (numpy's included). Numbers that are not
    finite become null, with a reason in a figure, because JSON cannot represent them."""
    return json.dumps(_plain(summary), indent=2, allow_nan=False)


def read_summary(folder: Path) -> Summary:
    """The summary.json of a folder; missing fields have their defaults. Raises UserError (RUN_FOLDER) if it is missing,
    not a JSON object, or has a newer format than this version supports."""
    content = read_object(folder / SUMMARY_JSON)
    _refuse_newer(folder, content)
    return tolerant_record(content, Summary)


def write_summary(folder: Path, summary: Summary) -> None:
    """Replace the whole summary.json. Raises UserError (RESULTS)."""
    write_whole(folder / SUMMARY_JSON, summary_json(summary) + "\n")


def refuse_newer_summary(folder: Path) -> None:
    """Raises UserError (RUN_FOLDER) if the folder's summary.json has a newer format than this version supports. Its
    figures follow newer rules, and recomputing them would replace them by older ones."""
    try:
        content = read_object(folder / SUMMARY_JSON)
    except UserError:
        return  # missing or unreadable, so it may be written
    _refuse_newer(folder, content)


def _refuse_newer(folder: Path, content: Mapping[str, object]) -> None:
    version = content.get("format")
    if isinstance(version, int) and (sentence := too_new(SUMMARY_JSON, version, SUMMARY_FORMAT)) is not None:
        raise UserError(Exit.RUN_FOLDER, f"{folder}: {sentence}")


def _plain(value: object) -> object:
    """A record, or any value in it, as plain JSON."""
    if isinstance(value, Figure) and value.value is not None and not math.isfinite(value.value):
        value = Figure(unit=value.unit, n=value.n, why=_NOT_FINITE)
    if isinstance(value, EMPTY_WHERE_UNKNOWN) and value == type(value)():
        return {}
    if isinstance(value, msgspec.Struct):
        left_out = value.left_out() if isinstance(value, Record) else ()
        return {
            name: _plain(getattr(value, field))
            for field, name in zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True)
            if field not in left_out and getattr(value, field) is not msgspec.UNSET
        }
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    if not isinstance(value, float) and hasattr(value, "tolist"):  # a numpy number; `contract` does not import numpy
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    raise TypeError(f"{type(value).__name__} is nothing that a file of JSON holds")
