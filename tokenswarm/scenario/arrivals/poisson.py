"""Independent users: each arrival is as likely now as at any other time."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random


def gaps(rng: Random, cv: float) -> Iterator[float]:
    """Independent exponential gaps."""
    while True:
        yield rng.expovariate(1.0)
