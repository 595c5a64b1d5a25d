"""Chooses the LoRA adapter of a session. Pure; the same seed gives the same choices."""

from __future__ import annotations

from bisect import bisect_left
from functools import lru_cache
from itertools import accumulate
from random import Random

from tokenswarm.scenario.lora import Lora


def adapter_of(lora: Lora, seed: int, conversation: str) -> int | None:
    """The rank of a session's adapter, from 1; None if the scenario has no adapters. Adapter n gets a share
    proportional to 1 / n^zipf (Zipf's law). A session keeps its adapter."""
    if lora.adapters is None:
        return None
    rising = _rising(lora.adapters, lora.zipf)
    return bisect_left(rising, Random(f"lora/{seed}/{conversation}").random() * rising[-1]) + 1


@lru_cache(maxsize=8)
def _rising(adapters: int, exponent: float) -> list[float]:
    return list(accumulate(number**-exponent for number in range(1, adapters + 1)))
