"""Records of engines that run as processes on this machine and outlive the command that started them.

Each has a small file beside the installed engines: its process id with the time at which it began, so that a process
which got the same id later is never taken for it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.files import read_note, replace_whole
from tokenswarm.engines.install_paths import default_root

_FOLDER = "running"
_STARTS_TOLERANCE_S = 2.0
LOCAL, DOCKER = "local", "docker"


@dataclass(frozen=True, slots=True)
class Running:
    """An engine that runs on this machine, whichever command started it."""

    engine: str
    runtime: str
    """local | docker."""
    base_url: str | None
    model: str
    started_at: float
    """Unix seconds; 0 where it is not known."""
    id: str
    """Process id, or container id."""
    log_path: str | None = None
    command: tuple[str, ...] = ()


def _file(name: str, root: Path | None = None) -> Path:
    return (root or default_root()) / _FOLDER / f"{name}.json"


def new_log(name: str, root: Path | None = None) -> Path:
    """A new log file for an engine that belongs to no run folder; replaces the previous one."""
    path = _file(name, root).with_suffix(".log")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    return path


def write_down(running: Running, root: Path | None = None) -> None:
    """Record how to find an engine on this machine. Raises UserError(RESULTS)."""
    path = _file(running.engine, root)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_whole(path, json.dumps(asdict(running)))
    except OSError as error:
        raise UserError(
            Exit.RESULTS, f"{path} cannot be written, so the engine could not be found again: {error.strerror or error}"
        ) from None


def forget(name: str, root: Path | None = None) -> None:
    """Remove the record of an engine."""
    _file(name, root).unlink(missing_ok=True)


def written_down(root: Path | None = None) -> Iterator[Running]:
    """Recorded engines that are still running; records of others are removed."""
    folder = (root or default_root()) / _FOLDER
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        running = read_note(path, Running)
        if running is None or process_of(running) is None:
            path.unlink(missing_ok=True)
        else:
            yield running


def process_of(running: Running) -> psutil.Process | None:
    """The engine's first process; None if it has ended, even if another process now has its id."""
    with contextlib.suppress(psutil.Error, ValueError, OverflowError):
        process = psutil.Process(int(running.id))
        if (
            abs(process.create_time() - running.started_at) < _STARTS_TOLERANCE_S
            and process.status() != psutil.STATUS_ZOMBIE
        ):
            return process
    return None
