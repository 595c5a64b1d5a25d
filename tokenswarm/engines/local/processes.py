"""Find and end an engine's process group on this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess

import psutil


def family(pid: int) -> list[psutil.Process]:
    """The process and all its living descendants; empty if it has ended."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.Error:
        return []


def group_members(group: int) -> list[psutil.Process]:
    """All living processes of a process group, without zombies."""
    members = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process)
        except (psutil.Error, ProcessLookupError, PermissionError):
            continue
    return members


def end(process: subprocess.Popen[bytes], first_signal: signal.Signals, grace_s: float) -> None:
    """End a process that leads its own group, and everything it started.

    The leader is signaled first, so that it can end its children in order. After `grace_s` seconds the group and any
    descendant that left it are killed. Returns when none of them is alive.
    """
    relatives = family(process.pid)
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(first_signal)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_s)
    everyone = {relative.pid: relative for relative in [*relatives, *group_members(process.pid)]}
    for relative in everyone.values():
        with contextlib.suppress(psutil.Error):
            relative.kill()  # psutil checks that the pid has not been reused
    psutil.wait_procs([relative for pid, relative in everyone.items() if pid != process.pid], timeout=10)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
