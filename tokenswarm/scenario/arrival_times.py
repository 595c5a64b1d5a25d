"""Arrivals from a list of times: seconds from the start of the measured phase, in the scenario or in a file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from tokenswarm.base.files import is_read_once
from tokenswarm.scenario.values import LONGEST_S

AFTER_LAST_S = 1.0
"""How long the measured phase continues after the last arrival if the scenario sets no duration."""


@lru_cache(maxsize=4)
def read_times(path: str, sha256: str | None = None) -> tuple[float, ...]:
    """Read times in seconds from a text file, one per line; empty lines and text after # are ignored. Raises ValueError
    if the file cannot be read, is not such a list, or does not match the digest.
    """
    times = []
    try:
        if is_read_once(Path(path)):
            raise ValueError(f"arrival_times_file {path} is a pipe or a device; write what it gives to a file")
        content = Path(path).read_bytes()
        if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
            raise ValueError(
                f"the arrival_times_file {path} is not the one that the run was planned with: it has "
                "changed, or this machine has another one; copy it to the same path"
            )
        lines = content.decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"arrival_times_file cannot be read: {error}") from None
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if text:
            try:
                times.append(float(text))
            except ValueError:
                raise ValueError(f"arrival_times_file, line {number}: {text[:40]!r} is not a number") from None
    return checked(times)


def checked(times: Sequence[float]) -> tuple[float, ...]:
    """Validate the times. Raises ValueError unless they are in ascending order, from 0 to ten years, and there is at
    least one."""
    if not times:
        raise ValueError("the list of arrival times should hold at least one")
    for time_s in times:
        if not 0 <= time_s <= LONGEST_S:
            raise ValueError(f"arrival times should be 0 to {LONGEST_S:g} s, but one is {time_s:g}")
    for earlier, later in pairwise(times):
        if later < earlier:
            raise ValueError(f"arrival times should be in ascending order, but {later:g} comes after {earlier:g}")
    return tuple(times)


def mean_rate(times: Sequence[float], duration_s: float) -> float:
    """Arrivals per second from the start of `duration_s` to the last arrival in it; sets the rate of the warm-up."""
    within = [time_s for time_s in times if time_s < duration_s] or [times[0]]
    return len(within) / max(within[-1], 1.0)
