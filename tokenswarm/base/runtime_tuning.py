"""Keeps the garbage collector and the descriptor table from blocking an event loop for milliseconds."""

from __future__ import annotations

import contextlib
import gc
import os
import resource

_THRESHOLDS = (50_000, 20, 50)
_MAX_DESCRIPTORS = 65536


def freeze_gc() -> None:
    """Exclude all existing objects from later collections, and collect rarely.

    A full collection of everything that a process has imported takes tens of ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)


_OF_OUR_OWN = 40
"""Descriptors of a load-generating process besides its connections: files, its own sockets, libraries."""


def descriptors_missing(connections: int) -> int:
    """How many file descriptors this process, and those that it starts, may lack for so many connections at once; 0:
    none. The soft limit does not count, since `grow_descriptor_table` raises it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 0 if hard == resource.RLIM_INFINITY else max(0, connections + _OF_OUR_OWN - hard)


def grow_descriptor_table() -> None:
    """Allow many connections, and make the kernel's table of descriptors large enough for them at once.

    The table grows by doubling, and each time the process waits for a grace period of the kernel: at the 257th
    connection all streams would stand still for 10 ms or more.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = _MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MAX_DESCRIPTORS)
    with contextlib.suppress(OSError, ValueError):  # a sandbox may forbid it; then the table grows during the run
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        descriptor = os.open(os.devnull, os.O_RDONLY)
        os.close(os.dup2(descriptor, limit - 1))
        os.close(descriptor)
