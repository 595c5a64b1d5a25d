"""The CPUs that processes keep to."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator


@contextlib.contextmanager
def affinity(cpus: Collection[int] | None) -> Iterator[None]:
    """Processes started inside keep to these CPUs; nothing happens for None, or where the system cannot do that."""
    if cpus is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(cpus) & before or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
