"""Shared memory of engines under /dev/shm: find what an engine uses, and remove what it left behind."""

from __future__ import annotations

import contextlib
import fnmatch
import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import psutil

SHM = Path("/dev/shm")


def shared_memory_of(pids: Iterable[int]) -> set[str]:
    """Names under /dev/shm that these processes have mapped or open."""
    names: set[str] = set()
    prefix = f"{SHM}/"
    for pid in pids:
        try:
            maps = Path(f"/proc/{pid}/maps").read_text(errors="replace")
            names.update(line.split(prefix, 1)[1].split(" ")[0] for line in maps.splitlines() if prefix in line)
            for link in os.scandir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    target = os.readlink(link.path)
                    if target.startswith(prefix):
                        names.add(target.removeprefix(prefix).split(" ")[0])
        except OSError:
            continue
    return names


def shared_memory_names() -> set[str]:
    """All names under /dev/shm; empty if that folder does not exist."""
    try:
        return set(os.listdir(SHM))
    except OSError:
        return set()


def remove_shared_memory(own: Collection[str], before: Collection[str], patterns: Sequence[str]) -> list[str]:
    """Delete shared memory that an ended engine left behind; returns the sorted names.

    A name counts as left behind if the engine had it mapped (`own`), or if it is not in `before` and matches one of the
    engine's patterns. A name that a living process uses never does.
    """
    now = shared_memory_names()
    fitting = {name for name in now - set(before) if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)}
    candidates = (now & set(own)) | fitting
    if not candidates:
        return []
    candidates -= shared_memory_of(psutil.pids())
    for name in candidates:
        with contextlib.suppress(OSError):
            (SHM / name).unlink()
    return sorted(candidates)
