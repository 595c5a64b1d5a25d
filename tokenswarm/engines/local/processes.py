"""Process groups, their shared memory, and ports: what the operating system knows about a local engine."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import signal
import socket
import subprocess
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

import psutil

from tokenswarm.base.errors import Exit, UserError

SHM = Path("/dev/shm")


def port_is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_port(host: str = "127.0.0.1") -> int:
    """A port that the system says is free."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def need_port(host: str, port: int) -> None:
    """Raises UserError(Exit.PORT) when the port is taken."""
    if not port_is_free(host, port):
        raise UserError(Exit.PORT, f"Port {port} on {host} is taken: choose another, or stop what listens there.")


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


def family(pid: int) -> list[psutil.Process]:
    """The process and all its living descendants; empty when it is gone."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.Error:
        return []


def group_members(group: int) -> list[psutil.Process]:
    """All living processes of a process group, zombies left out."""
    members = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process)
        except (psutil.Error, ProcessLookupError, PermissionError):
            continue
    return members


def end(process: subprocess.Popen[bytes], first_signal: signal.Signals, grace_s: float) -> None:
    """End a process that leads its own group, and everything that it started.

    The leader is asked first, so that it can end its children in order; after `grace_s` the group and any
    descendant that left the group are killed. Returns when none of them is alive.
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
            relative.kill()  # psutil checks that the pid was not given to another process meanwhile
    psutil.wait_procs([relative for pid, relative in everyone.items() if pid != process.pid], timeout=10)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)


def shared_memory_of(pids: Iterable[int]) -> set[str]:
    """Names under /dev/shm that these processes have mapped or open."""
    found: set[str] = set()
    prefix = f"{SHM}/"
    for pid in pids:
        try:
            maps = Path(f"/proc/{pid}/maps").read_text(errors="replace")
            found.update(line.split(prefix, 1)[1].split(" ")[0] for line in maps.splitlines() if prefix in line)
            for link in os.scandir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    target = os.readlink(link.path)
                    if target.startswith(prefix):
                        found.add(target.removeprefix(prefix).split(" ")[0])
        except OSError:
            continue
    return found


def shared_memory_names() -> set[str]:
    """All names under /dev/shm; empty where there is no such folder."""
    try:
        return set(os.listdir(SHM))
    except OSError:
        return set()


def remove_shared_memory(own: Collection[str], before: Collection[str], patterns: Sequence[str]) -> list[str]:
    """Delete shared memory that an ended engine left behind, and say which.

    A name counts as left behind when the engine had it mapped (`own`), or when it appeared since `before` and fits one
    of the engine's patterns; never when a living process still uses it.
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


def wait_until(deadline: float, step_s: float) -> bool:
    """Sleep one step; False once the monotonic `deadline` has passed."""
    time.sleep(step_s)
    return time.monotonic() < deadline
