"""Where rows go: into the run folder's CSV files, or to the Locust master that writes them.

Rows reach the disk within a second. A line is written whole or not at all, also when the disk is full.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from tokenswarm.errors import Exit, UserError
from tokenswarm.schema import (
    HOST_METRIC_COLUMNS,
    HOST_METRICS_CSV,
    PROMPT_COLUMNS,
    PROMPTS_CSV,
    REQUEST_COLUMNS,
    REQUESTS_CSV,
    Column,
    header,
)

FLUSH_INTERVAL_S = 0.5

TABLES: dict[str, tuple[Column, ...]] = {
    REQUESTS_CSV: REQUEST_COLUMNS, PROMPTS_CSV: PROMPT_COLUMNS, HOST_METRICS_CSV: HOST_METRIC_COLUMNS}
"""The tables that the load generator writes, by file name."""


class Sink(Protocol):
    """Takes finished CSV lines of one of TABLES."""

    def write(self, table: str, lines: str, count: int) -> None:
        """Keep `count` lines. Raises OSError if they cannot be kept."""

    def close(self) -> None: ...


class FileSink:
    """Appends to the CSV files of a run folder; makes them, with their header, at once.

    Raises UserError (RESULTS) if they cannot be made, or if the folder already holds the rows of another run.
    """

    def __init__(self, folder: Path) -> None:
        self._files: dict[str, int] = {}
        self.rows = dict.fromkeys(TABLES, 0)
        try:
            self._open(folder)
        except FileExistsError:
            self.close()
            raise UserError(Exit.RESULTS, f"{folder / REQUESTS_CSV} holds the rows of another run; "
                                          "each run needs a folder of its own") from None
        except OSError as error:
            self.close()
            raise UserError(Exit.RESULTS, f"{folder} cannot be written: {error.strerror}") from None

    def _open(self, folder: Path) -> None:
        for name, columns in TABLES.items():
            # What tells of requests is ours alone; host_metrics.csv also takes the rows of whoever watches the GPUs.
            exclusive = 0 if name == HOST_METRICS_CSV else os.O_EXCL
            self._files[name] = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | exclusive, 0o644)
            if os.fstat(self._files[name]).st_size == 0:
                self._append(name, header(columns).encode())

    def write(self, table: str, lines: str, count: int) -> None:
        self._append(table, lines.encode())
        self.rows[table] += count

    def _append(self, table: str, data: bytes) -> None:
        if table not in self._files:
            raise OSError(errno.EBADF, "the files of this run are closed")
        descriptor = self._files[table]
        begin = os.lseek(descriptor, 0, os.SEEK_END)
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(descriptor, view):]
        except OSError:
            written = len(data) - len(view)
            # No torn line, no half batch; but nothing of anybody who wrote to the same file meanwhile.
            if written and os.fstat(descriptor).st_size == begin + written:
                os.ftruncate(descriptor, begin)
            raise

    def close(self) -> None:
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()


class MasterSink:
    """Sends lines to the Locust master in messages of bounded size."""

    MAX_LINES = 2000

    def __init__(self, send: Callable[[str, dict], None]) -> None:
        self._send = send

    def write(self, table: str, lines: str, count: int) -> None:
        self._send("tokenswarm_rows", {"table": table, "lines": lines, "count": count})

    def close(self) -> None:
        """Nothing is held here."""


class Buffer:
    """Collects formatted lines between two flushes. `flush` hands them over and forgets them only then."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._lines: dict[str, list[str]] = {name: [] for name in TABLES}
        self.taken = dict.fromkeys(TABLES, 0)

    def add(self, table: str, line: str) -> None:
        """Keep one formatted line, with its line end."""
        self._lines[table].append(line)
        self.taken[table] += 1

    def flush(self) -> None:
        """Raises OSError if the sink cannot keep the lines; they stay here then."""
        for table, lines in self._lines.items():
            while lines:
                batch = lines[: MasterSink.MAX_LINES]
                self._sink.write(table, "".join(batch), len(batch))
                del lines[: len(batch)]
