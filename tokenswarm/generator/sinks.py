"""Destinations of rows: the run folder's CSV files, or the Locust master that writes them.

Rows reach the disk within a second. A line is written completely or not at all, even if the disk is full. A long run
starts new files every hour, so that finished ones can be moved or compressed during the run.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.contract.tables import (
    ANSWERS_JSONL,
    HOST_METRIC_COLUMNS,
    HOST_METRICS_CSV,
    PROMPT_COLUMNS,
    PROMPTS_CSV,
    REQUEST_COLUMNS,
    REQUESTS_CSV,
    Column,
    header,
    part_name,
)
from tokenswarm.generator.rotation import PartIndex

FLUSH_INTERVAL_S = 0.5

TABLES: dict[str, tuple[Column, ...]] = {
    REQUESTS_CSV: REQUEST_COLUMNS,
    PROMPTS_CSV: PROMPT_COLUMNS,
    HOST_METRICS_CSV: HOST_METRIC_COLUMNS,
}
"""Tables written by the load generator, by file name."""


WRITTEN = (*TABLES, ANSWERS_JSONL)
"""Everything that lines can belong to: those tables, and kept answers."""


class Sink(Protocol):
    """Accepts finished lines of one of WRITTEN."""

    def write(self, table: str, lines: str, count: int) -> None:
        """Store `count` lines. Raises OSError if that fails."""

    def close(self) -> None: ...


class FileSink:
    """Appends to the CSV files of a run folder; makes them, with their header, at once.

    Every `rotate_s` seconds all tables go on in a new part (see `schema.part_name`); once there are several,
    parts.json lists them. Raises UserError (RESULTS) if the files cannot be made, or if the folder already holds the
    rows of another run.
    """

    def __init__(self, folder: Path, rotate_s: float = math.inf, clock: Callable[[], float] = time.time) -> None:
        self.rows = dict.fromkeys(TABLES, 0)
        self._folder, self._rotate_s, self._clock = folder, rotate_s, clock
        self._due = clock() + rotate_s
        self._index = PartIndex(rotate_s, counted=(REQUESTS_CSV, PROMPTS_CSV))
        self._files: dict[str, int] = {}
        try:
            self._files = self._open(1)
        except FileExistsError:
            raise UserError(
                Exit.RESULTS,
                f"{folder / REQUESTS_CSV} holds the rows of another run; each run needs a folder of its own",
            ) from None
        except OSError as error:
            raise UserError(Exit.RESULTS, f"{folder} cannot be written: {error.strerror}") from None

    def _open(self, number: int) -> dict[str, int]:
        """Create the files of a part: all of them or, with an OSError, none."""
        made: dict[str, int] = {}
        try:
            for name, columns in TABLES.items():
                # What tells of requests is ours alone; host_metrics.csv also takes rows of whoever watches the GPUs.
                exclusive = 0 if name == HOST_METRICS_CSV else os.O_EXCL
                path = self._folder / part_name(name, number)
                made[name] = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | exclusive, 0o644)
                if os.fstat(made[name]).st_size == 0:
                    _append(made[name], header(columns).encode())
        except OSError:
            for name, descriptor in made.items():
                os.close(descriptor)
                if number > 1 and name != HOST_METRICS_CSV:
                    (self._folder / part_name(name, number)).unlink(missing_ok=True)
            raise
        return made

    def write(self, table: str, lines: str, count: int) -> None:
        if table == ANSWERS_JSONL and self._files:
            self._keep_answers(lines)
            return
        if table not in self._files:
            raise OSError(errno.EBADF, "the files of this run are closed")
        now = self._clock()
        if now >= self._due:
            self._rotate(now)
        _append(self._files[table], lines.encode())
        self.rows[table] += count
        self._index.wrote(table, count, now)

    def _keep_answers(self, lines: str) -> None:
        """Kept answers are readable only by the owner of the folder."""
        descriptor = os.open(self._folder / ANSWERS_JSONL, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            _append(descriptor, lines.encode())
        finally:
            os.close(descriptor)

    def _rotate(self, now: float) -> None:
        number = self._index.number + 1
        new = self._open(number)  # on a full disk the old files stay, and stay open
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files = new
        self._due += self._rotate_s * (1 + (now - self._due) // self._rotate_s)
        self._index.begin_next()
        self._index.save(self._folder, going_on=True)

    def close(self) -> None:
        for descriptor in self._files.values():
            os.close(descriptor)
        if self._files:
            with contextlib.suppress(OSError):  # the index only repeats the contents of the files
                self._index.save(self._folder, going_on=False)
        self._files = {}


def _append(descriptor: int, data: bytes) -> None:
    begin = os.lseek(descriptor, 0, os.SEEK_END)
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError:
        written = len(data) - len(view)
        # No torn line, no half batch; but nothing of anybody who wrote to the same file meanwhile.
        if written and os.fstat(descriptor).st_size == begin + written:
            os.ftruncate(descriptor, begin)
        raise


class MasterSink:
    """Sends lines to the Locust master in messages of bounded size."""

    MAX_LINES = 2000

    def __init__(self, send: Callable[[str, dict], None]) -> None:
        self._send = send

    def write(self, table: str, lines: str, count: int) -> None:
        self._send("tokenswarm_rows", {"table": table, "lines": lines, "count": count})

    def close(self) -> None:
        """Does nothing: no lines are held here."""


class Buffer:
    """Collects formatted lines between flushes. `flush` hands them over and drops them only if that succeeds."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._lines: dict[str, list[str]] = {name: [] for name in WRITTEN}
        self.taken = dict.fromkeys(WRITTEN, 0)

    def add(self, table: str, line: str) -> None:
        """Add one formatted line, with its line end."""
        self._lines[table].append(line)
        self.taken[table] += 1

    def flush(self) -> None:
        """Raises OSError if the sink fails; the lines then stay here."""
        for table, lines in self._lines.items():
            while lines:
                batch = lines[: MasterSink.MAX_LINES]
                self._sink.write(table, "".join(batch), len(batch))
                del lines[: len(batch)]
