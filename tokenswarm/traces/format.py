"""The definition of a format: how to recognize its rows, and how to turn each into requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tokenswarm.traces.request import TraceRequest

Row = Mapping[str, Any]
ReadRow = Callable[[Row], Iterable[TraceRequest]]
"""The requests of a row. Raises ValueError for an invalid row; the message contains no private text."""


class Container(StrEnum):
    """How a file stores its rows."""

    JSON = "JSON"
    """One object per line, or an array of objects."""
    CSV = "CSV"
    """One row per line; the first line has the column names."""


@dataclass(frozen=True, slots=True)
class Format:
    """A format of traces or data sets. matches: whether a row can be of this format. reader: returns a function that
    reads one file's rows in order and may remember earlier rows. reference: where the format is documented.
    never_seen(): user-given field names that no row has had so far.
    """

    name: str
    title: str
    container: Container
    matches: Callable[[Row], bool]
    reader: Callable[[], ReadRow]
    reference: str
    never_seen: Callable[[], Sequence[str]] = tuple
