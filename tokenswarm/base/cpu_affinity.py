"""CPU affinity of processes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator


@contextlib.contextmanager
def affinity(cpus: Collection[int] | None) -> Iterator[None]:
    """Context manager: processes started inside are bound to these CPUs. Does nothing for None or if the system does
    not support it."""
    if cpus is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(cpus) & before or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
