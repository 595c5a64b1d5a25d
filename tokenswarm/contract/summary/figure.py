"""How numbers are written in summary.json, and the base of its records."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar

import msgspec

Number = int | float
"""As written in the file: an integer stays an integer."""


class Record(msgspec.Struct):
    """A record of summary.json. Every field has a default, for a file may be older than the field."""

    may_be_left_out: ClassVar[frozenset[str]] = frozenset()
    """Fields omitted from the file if they say nothing."""

    def left_out(self) -> Collection[str]:
        """Those of these fields that say nothing in this record."""
        return {name for name in self.may_be_left_out if getattr(self, name) is None}


class Figure(Record):
    """A number with its unit and 95% interval, or `why` there is no number, or no interval where it would be a point.

    `n`: observations. An end of `ci95` is None where the sample does not bound it. `bucket`: ends of the histogram's
    bucket that the value is in, the upper None if open.
    """

    may_be_left_out: ClassVar[frozenset[str]] = frozenset({"ci95", "why", "bucket"})

    value: Number | None = None
    unit: str = ""
    n: int = 0
    ci95: list[Number | None] | None = None
    why: str | None = None
    bucket: list[Number | None] | None = None

    def left_out(self) -> Collection[str]:
        """Omits the interval only if there is no number: a number without an interval is written with null."""
        return {name for name in super().left_out() if name != "ci95" or self.value is None}

    @property
    def ends(self) -> tuple[Number | None, Number | None]:
        """The ends of the interval; (None, None) if there is no interval."""
        return (self.ci95[0], self.ci95[1]) if self.ci95 else (None, None)
