"""Poisson arrivals, as from independent users: an arrival is equally likely at any time."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random


def gaps(rng: Random, cv: float) -> Iterator[float]:
    """Independent exponential gaps."""
    while True:
        yield rng.expovariate(1.0)
