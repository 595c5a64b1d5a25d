"""The two ends of an interval as they are in JSON: a list of exactly two items, unless the file is damaged."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

_TWO = Meta(min_length=2, max_length=2)
Ends = Annotated[list[float], _TWO]
OpenEnds = Annotated[list[float | None], _TWO]
"""An end is None if the interval is unbounded there."""
