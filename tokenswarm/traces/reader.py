"""Reads a file of recorded traffic: recognizes the format from the content, and yields the requests one by one."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO

import msgspec

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.files import at_home
from tokenswarm.base.sentences import unknown
from tokenswarm.traces import fields
from tokenswarm.traces.format import Container, Format, Row
from tokenswarm.traces.formats import BY_NAME, FORMATS
from tokenswarm.traces.formats.mapped import mapped
from tokenswarm.traces.parquet import is_parquet, parquet_rows
from tokenswarm.traces.request import TraceRequest
from tokenswarm.traces.trace_text import MAX_LINE_CHARS, json_values, lines, open_text

MAX_BAD_SHARE = 0.01
"""Largest share of unreadable rows; with more, the format was probably recognized wrongly."""
_SAMPLE_ROWS = 20
_EARLY_ROWS = 1000
"""After this many rows, a file with too many bad ones is refused at once."""
_KEYS_SHOWN = 12


class BadRow(str):
    """Replaces a row that cannot be read, with the reason."""

    __slots__ = ()


@dataclass(slots=True)
class ReadingNotes:
    """Notes taken while reading a file. `first_bad`: (row number, reason) of the first bad rows."""

    rows: int = 0
    bad_rows: int = 0
    first_bad: list[tuple[int, str]] = field(default_factory=list)
    out_of_order: int = 0
    """Requests with an earlier time than the request before them."""

    def bad_rows_of(self, file: str) -> str:
        """A sentence with the number of bad rows, the first one, and its fault; "" if there are none."""
        if not self.bad_rows:
            return ""
        number, why = self.first_bad[0]
        first = "" if self.bad_rows == 1 else "the first is "
        return f"{self.bad_rows:,} of the {self.rows:,} rows of {file} cannot be read ({first}row {number:,}: {why})"


@dataclass(slots=True)
class Trace:
    """A file and its format. `notes` are filled while the requests are read."""

    path: Path
    format: Format
    max_bad_share: float = MAX_BAD_SHARE
    notes: ReadingNotes = field(default_factory=ReadingNotes)

    def requests(self) -> Iterator[TraceRequest]:
        """The requests, in file order. Raises UserError (DATA) if the file cannot be read or is empty, or if more than
        `max_bad_share` of its rows are bad."""
        notes = self.notes = ReadingNotes()
        read, last_s = self.format.reader(), None
        for number, row in _rows(self.path):
            notes.rows += 1
            if isinstance(row, BadRow):
                self._note_bad(number, row)
                continue
            try:
                requests = list(read(row))
                for request in requests:
                    request.body = fields.body(request.body)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                self._note_bad(number, str(error) if isinstance(error, ValueError) else "it lacks what a row has")
                continue
            for request in requests:
                if request.time_s is not None:
                    notes.out_of_order += last_s is not None and request.time_s < last_s
                    last_s = request.time_s
                yield request
        if not notes.rows:
            raise UserError(Exit.DATA, f"{self.path} is empty")
        self._refuse_if_too_bad()
        if missing := self.format.never_seen():
            raise UserError(Exit.DATA, f"no row of {self.path} has {' or '.join(missing)}, which the mapping names")

    def _note_bad(self, number: int, why: str) -> None:
        notes = self.notes
        notes.bad_rows += 1
        if len(notes.first_bad) < 3:
            notes.first_bad.append((number, why))
        if notes.rows >= _EARLY_ROWS:
            self._refuse_if_too_bad()

    def _refuse_if_too_bad(self) -> None:
        notes = self.notes
        if notes.bad_rows > self.max_bad_share * notes.rows:
            number, why = notes.first_bad[0]
            raise UserError(
                Exit.DATA,
                f"{notes.bad_rows:,} of the first {notes.rows:,} rows of {self.path} cannot be "
                f"read as {self.format.title}; row {number}: {why}",
            )


def open_trace(
    path: str | Path,
    format_name: str | None = None,
    max_bad_share: float = MAX_BAD_SHARE,
    mapping: Mapping[str, str] | None = None,
) -> Trace:
    """Open a file. Its format is recognized from the first rows, or named, or given by `mapping`, which names the field
    of each of `formats.mapped.ROLES`. Raises UserError: DATA if the file cannot be read or recognized, or could be of
    two formats; USAGE for an unknown format name.
    """
    path = _file(path)
    if mapping:
        if format_name is not None:
            raise UserError(Exit.USAGE, "give a format or a mapping of fields, not both")
        return Trace(path, mapped(mapping, _container(path)), max_bad_share)
    if format_name is not None:
        if format_name not in BY_NAME:
            raise UserError(Exit.USAGE, unknown("format of a trace", format_name, BY_NAME))
        return Trace(path, BY_NAME[format_name], max_bad_share)
    return Trace(path, _recognised(path, list(islice(_rows(path), _SAMPLE_ROWS))), max_bad_share)


def _file(path: str | Path) -> Path:
    """Raises UserError (DATA) for a file that cannot be read twice."""
    if "://" in str(path):
        raise UserError(Exit.DATA, f"{path} is an address: download the file, and give its path")
    path = at_home(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        raise UserError(Exit.DATA, f"{path} is not a regular file: write its content into one")
    return path


def _recognised(path: Path, rows: Sequence[tuple[int, Row | BadRow]]) -> Format:
    container = _container(path)
    sample = [row for _, row in rows if not isinstance(row, BadRow)]
    if not sample:
        why = next((f": row {number}: {row}" for number, row in rows if isinstance(row, BadRow)), "")
        raise UserError(Exit.DATA, f"{path} has no row that can be read as {container}{why}")
    fitting = [each for each in FORMATS if each.container is container and all(map(each.matches, sample))]
    if len(fitting) == 1:
        return fitting[0]
    keys = list(dict.fromkeys(str(key) for row in sample for key in row))
    seen = ", ".join(keys[:_KEYS_SHOWN]) + (", ..." if len(keys) > _KEYS_SHOWN else "")
    if not fitting:
        raise UserError(
            Exit.DATA,
            f"{path} is of no known format: its rows have {seen} "
            f"(known formats: {', '.join(BY_NAME)}); a mapping says what its fields are "
            "(docs/traffic.md)",
        )
    names = " or ".join(each.name for each in fitting)
    raise UserError(Exit.DATA, f"{path} could be {names}: name the format (its rows have {seen})")


def _rows(path: Path) -> Iterator[tuple[int, Row | BadRow]]:
    """(1-based number, row), in file order."""
    if is_parquet(path):
        yield from parquet_rows(path)
        return
    start = _first_character(path)
    with open_text(path) as text:
        try:
            if start not in "[{":
                yield from _csv_rows(text)
                return
            for number, value in json_values(text) if start == "[" else _json_lines(text):
                yield number, value if isinstance(value, dict | BadRow) else BadRow("it is not a JSON object")
        except ValueError as error:  # the rest of the file cannot be read
            raise UserError(Exit.DATA, f"{path}: {error}") from None


def _container(path: Path) -> Container:
    """How the file stores its rows; Parquet rows are objects, as in JSON. Raises UserError (DATA) for an empty file."""
    return Container.JSON if is_parquet(path) or _first_character(path) in "[{" else Container.CSV


def _first_character(path: Path) -> str:
    """The first non-blank character. Raises UserError (DATA) if there is none."""
    with open_text(path) as text:
        start = text.read(4096).lstrip()
    if not start:
        raise UserError(Exit.DATA, f"{path} is empty")
    return start[0]


def _json_lines(text: IO[str]) -> Iterator[tuple[int, object]]:
    decoder = msgspec.json.Decoder()
    for number, line in lines(text):
        try:
            value = decoder.decode(line)
        except (msgspec.DecodeError, RecursionError) as error:
            value = BadRow(f"it is not JSON ({error})")
        yield number, value


def _csv_rows(text: IO[str]) -> Iterator[tuple[int, Row | BadRow]]:
    csv.field_size_limit(MAX_LINE_CHARS)
    table = csv.reader(text)
    try:
        header = [name.strip() for name in next(table, [])]
        if len(set(header)) != len(header):
            raise ValueError("two of its columns have the same name")
        for number, row in enumerate(table, start=2):
            if row:
                yield (
                    number,
                    dict(zip(header, row, strict=True))
                    if len(row) == len(header)
                    else BadRow(f"it has {len(row)} fields, not {len(header)}"),
                )
    except csv.Error as error:
        raise ValueError(f"it is not CSV: {error}") from None
