"""The two ends of an interval, as JSON holds them: a list of exactly two, which a damaged file may not have."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

_TWO = Meta(min_length=2, max_length=2)
Ends = Annotated[list[float], _TWO]
OpenEnds = Annotated[list[float | None], _TWO]
"""An end is None where nothing bounds it."""
