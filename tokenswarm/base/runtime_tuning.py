"""Keeps two things from stopping an event loop for milliseconds: the garbage collector and the descriptor table."""

from __future__ import annotations

import contextlib
import gc
import os
import resource

_THRESHOLDS = (50_000, 20, 50)
_MAX_DESCRIPTORS = 65536


def freeze_gc() -> None:
    """Leave what exists now out of all later collections, and collect seldom.

    A full look through everything that a process has imported takes tens of ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)


def grow_descriptor_table() -> None:
    """Allow many connections, and make the kernel's table of descriptors large enough for them at once.

    The table grows by doubling, and each time the process waits for a grace period of the kernel: at the 257th
    connection all streams would stand still for 10 ms or more.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = _MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MAX_DESCRIPTORS)
    with contextlib.suppress(OSError, ValueError):  # a sandbox may forbid it: then it grows on the way
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        descriptor = os.open(os.devnull, os.O_RDONLY)
        os.close(os.dup2(descriptor, limit - 1))
        os.close(descriptor)
