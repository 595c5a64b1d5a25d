"""A search or comparison started in the tab: runs as a separate command, watched and stopped in good order."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import gevent
import msgspec
from gevent import subprocess as gsubprocess

from tokenswarm.base.environment import without_disturbing
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.masking import hidden
from tokenswarm.base.numbers import sane_json
from tokenswarm.contract.search_progress import PROGRESS_JSON, SearchProgress, read_progress

_LINES = 200
_WIDTH = "100"
_END_S, _HARD_END_S = 12.0, 3.0
"""Seconds to wait after the first and the second signal when the UI ends; less than the command line waits."""
_PAGE = re.compile(r"\b(?:report|comparison): (.+\.html)\s*$")
_SET_DEATH_SIGNAL = 1
"""Linux's PR_SET_PDEATHSIG."""


class SeriesChild:
    """The latest command; at most one runs at a time. `busy`: returns a sentence if none may start now."""

    def __init__(self, results: Path, busy: Callable[[], str | None]) -> None:
        self._results, self._busy = results, busy
        self._process: gsubprocess.Popen | None = None
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._choices: dict[str, str] = {}
        self._began = self._ended = 0.0
        self._stopped = 0
        self._folder: Path | None = None
        self._page: Path | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, command: Sequence[str], choices: Mapping[str, str]) -> None:
        """Raises UserError if something else is running."""
        if self.running:
            raise UserError(Exit.USAGE, "a search or comparison is in progress: stop it first")
        if (why := self._busy()) is not None:
            raise UserError(Exit.USAGE, why)
        self._lines.clear()
        self._choices, self._began, self._ended, self._stopped = dict(choices), time.time(), 0.0, 0
        self._folder = self._page = None
        self._process = gsubprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**without_disturbing(), "COLUMNS": _WIDTH, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
            preexec_fn=_interrupt_when_parent_dies,
        )
        gevent.spawn(self._read, self._process)

    def _read(self, process: gsubprocess.Popen) -> None:
        for raw in process.stdout:
            line = hidden(raw.decode("utf-8", "replace").rstrip())
            if (page := _PAGE.search(line)) is not None:
                self._page = Path(page[1])
            if self._process is process:
                self._lines.append(line)
        process.wait()
        if self._process is process:
            self._ended = time.time()

    def stop(self) -> bool:
        """Stop the command: in good order the first time, at once the second time. False if nothing is running."""
        process = self._process
        if process is None or process.poll() is not None:
            return False
        self._stopped += 1
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)  # a UI that was started in a shell's background ignores SIGINT
        return True

    def end(self, **_: object) -> None:
        """Stop it because the UI ends."""
        for patience in (_END_S, _HARD_END_S):
            if not self.stop() or (process := self._process) is None:
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience)
        if (process := self._process) is not None and self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def snapshot(self) -> dict[str, object]:
        """The state for the page."""
        process = self._process
        if process is None:
            return {"state": "none"}
        progress = self._progress(process.pid)
        code = process.poll()
        return {
            "state": "running" if code is None else "ended",
            "stopping": self._stopped > 0,
            "choices": self._choices,
            "began": self._began,
            "at": time.time() if code is None else self._ended or time.time(),
            "code": code,
            "sentence": None if code is None else _how_it_ended(code, self._stopped > 0),
            "progress": None if progress is None else msgspec.to_builtins(progress),
            "lines": list(self._lines),
            "page": self.page is not None,
            "verdict": self._verdict(),
        }

    @property
    def page(self) -> Path | None:
        """The page of its result."""
        return self._page if not self.running and self._page is not None and self._page.is_file() else None

    def _verdict(self) -> str | None:
        """The verdict of a comparison, from the record beside its page."""
        if self.page is None:
            return None
        with contextlib.suppress(OSError, ValueError, AttributeError):
            record = sane_json(self.page.with_suffix(".json").read_bytes())
            verdict = record.get("verdict", {}).get("sentence")  # type: ignore[attr-defined]  # suppressed above
            return verdict if isinstance(verdict, str) else None
        return None

    def _progress(self, pid: int) -> SearchProgress | None:
        """The progress that the child writes into its folder; None if it has written nothing (yet)."""
        folders = [self._folder] if self._folder else [path.parent for path in self._results.glob(f"*/{PROGRESS_JSON}")]
        for folder in folders:
            with contextlib.suppress(UserError):
                progress = read_progress(folder)
                if progress.pid == pid and progress.updated_at >= self._began:
                    self._folder = folder
                    return progress
        return None


def _how_it_ended(code: int, stopped: bool) -> str:
    if stopped:
        return "It was stopped; what it had measured is kept."
    try:
        known = Exit(code)
    except ValueError:
        return f"It ended with {code}."
    return "It has ended." if known == Exit.PASSED else f"It has ended: {known.meaning} (exit code {code})."


def _interrupt_when_parent_dies() -> None:
    """Called in the child before exec, so that a killed UI does not leave a search behind that loads an engine for
    hours."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGTERM)
