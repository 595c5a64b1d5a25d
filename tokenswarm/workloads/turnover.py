"""What is shared is replaced over time: documents leave a shelf and new ones come, system prompts are rewritten. Pure.

A shelf that never changes is soon in the cache as a whole, and then all engines look alike. Here one item is replaced
at a time, at even intervals and in a fixed order, so that each stays for equally long. Nothing but the time since the
run's start decides, so that all workers have the same shelf.
"""

from __future__ import annotations

from random import Random

_S_PER_MINUTE = 60.0


def generation(place: int, items: int, per_minute: float, at_s: float) -> int:
    """How often an item has been replaced `at_s` seconds after the run's start: 0 for one of the first.

    `place` (from 0) is its place in the order in which the `items` are replaced.
    """
    replaced = int(max(0.0, at_s) * per_minute / _S_PER_MINUTE)
    return (replaced - place + items - 1) // items if replaced > place else 0


def order_of_replacement(seed: int, items: int) -> list[int]:
    """The place of each item in that order: the same on every worker."""
    places = list(range(items))
    Random(f"turnover/{seed}").shuffle(places)
    return places
