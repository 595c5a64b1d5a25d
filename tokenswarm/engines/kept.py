"""Engines that run as processes of this machine and outlive the command which started them, written down.

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
    """Where the log of an engine goes that no run folder owns; the former one is gone."""
    path = _file(name, root).with_suffix(".log")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    return path


def write_down(running: Running, root: Path | None = None) -> None:
    """Note how to find an engine of this machine. Raises UserError(RESULTS)."""
    path = _file(running.engine, root)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_whole(path, json.dumps(asdict(running)))
    except OSError as error:
        raise UserError(
            Exit.RESULTS, f"{path} cannot be written, so the engine could not be found again: {error.strerror or error}"
        ) from None


def forget(name: str, root: Path | None = None) -> None:
    """Remove what was written down about an engine."""
    _file(name, root).unlink(missing_ok=True)


def written_down(root: Path | None = None) -> Iterator[Running]:
    """The engines that were written down and still run; the notes of others are removed."""
    folder = (root or default_root()) / _FOLDER
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        running = read_note(path, Running)
        if running is None or process_of(running) is None:
            path.unlink(missing_ok=True)
        else:
            yield running


def process_of(running: Running) -> psutil.Process | None:
    """The engine's first process; None when it has ended, also where another process has its id now."""
    with contextlib.suppress(psutil.Error, ValueError, OverflowError):
        process = psutil.Process(int(running.id))
        if (
            abs(process.create_time() - running.started_at) < _STARTS_TOLERANCE_S
            and process.status() != psutil.STATUS_ZOMBIE
        ):
            return process
    return None
