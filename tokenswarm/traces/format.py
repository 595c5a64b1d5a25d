"""What a format is: how its rows are recognised, and how each becomes requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tokenswarm.traces.request import TraceRequest

Row = Mapping[str, Any]
ReadRow = Callable[[Row], Iterable[TraceRequest]]
"""The requests of a row. Raises ValueError, with a sentence without private text, for a row that is none."""


class Container(StrEnum):
    """How rows lie in a file."""

    JSON = "JSON"
    """One object a line, or an array of objects."""
    CSV = "CSV"
    """A line a row, the first one with the names of the columns."""


@dataclass(frozen=True, slots=True)
class Format:
    """A format of traces or data sets.

    matches: whether a row can be of this format. reader: makes what reads one file's rows in order; it may remember
    earlier rows. reference: where the format is described. never_seen(): names of
    fields that a user gave, and that no row had until now.
    """

    name: str
    title: str
    container: Container
    matches: Callable[[Row], bool]
    reader: Callable[[], ReadRow]
    reference: str
    never_seen: Callable[[], Sequence[str]] = tuple
