"""The engine's own view of a run: /metrics once a second into engine_metrics.csv, the GPUs into host_metrics.csv.

A plain thread of the command-line process, which generates no load itself. What goes wrong here is counted and leaves
a gap; it never ends a run.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from tokenswarm.engines.engine import Engine
from tokenswarm.engines.gpu import GpuSampler
from tokenswarm.engines.metrics import canonical
from tokenswarm.schema import (
    ENGINE_METRIC_COLUMNS,
    ENGINE_METRICS_CSV,
    HOST_METRIC_COLUMNS,
    HOST_METRICS_CSV,
    Column,
    format_rows,
    header,
)

CPU_SHARE_LIMIT = 0.01
"""Share of one core that telemetry may take; it samples less often rather than take more."""


def append_rows(path: Path, columns: tuple[Column, ...], rows: Iterable[Mapping[str, object]]) -> None:
    """Add whole rows to a table with one write, so that several processes may add to it; makes it with its header.

    Raises OSError.
    """
    if not path.exists():
        new = path.with_name(f".{path.name}.{os.getpid()}")
        new.write_text(header(columns), encoding="utf-8")
        with contextlib.suppress(FileExistsError):
            os.link(new, path)  # appears complete, and only if nobody else was first
        new.unlink()
    with path.open("ab", buffering=0) as file:
        file.write(format_rows(columns, rows).encode())


class Telemetry:
    """Samples an engine (and this machine's GPUs) until `stop`.

    `scrapes`, `failed` and `cpu_s` say how often it read, how often that failed, and what CPU time it took.
    """

    def __init__(self, engine: Engine, folder: Path, interval_s: float = 1.0, gpus: GpuSampler | None = None) -> None:
        self.scrapes = 0
        self.failed = 0
        self.cpu_s = 0.0
        self._engine = engine
        self._folder = Path(folder)
        self._interval_s = interval_s
        self._gpus = gpus
        self._lock = threading.Lock()
        self._enough = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to sample; the first sample is taken at once."""
        self._thread = threading.Thread(target=self._run, name="engine-telemetry", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Take a last sample and end. Never raises."""
        self._enough.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
            self._thread = None

    def sample(self) -> dict[str, float | None]:
        """Read everything once, now, and write it down; returns the canonical values, all None on failure.

        May be called from another thread, for instance at the very start and end of the measure phase.
        """
        with self._lock:
            began = time.thread_time()
            values = self._sample_engine()
            if self._gpus is not None:
                self._write(HOST_METRICS_CSV, HOST_METRIC_COLUMNS, self._gpus.sample(time.time()))
            self.cpu_s += time.thread_time() - began
            return values

    def _sample_engine(self) -> dict[str, float | None]:
        description = self._engine.description
        if description is None or not description.metrics:
            return {}
        self.scrapes += 1
        asked = time.time()
        text = self._engine.metrics_text()
        # The engine read its counters somewhere between the question and the answer.
        at = (asked + time.time()) / 2
        values = canonical(text, description.metrics) if text is not None else dict.fromkeys(description.metrics)
        if all(value is None for value in values.values()):
            self.failed += 1
        self._write(ENGINE_METRICS_CSV, ENGINE_METRIC_COLUMNS, [{"at": at, **values}])
        return values

    def _write(self, name: str, columns: tuple[Column, ...], rows: list[dict[str, object]]) -> None:
        try:
            append_rows(self._folder / name, columns, rows)
        except OSError:
            self.failed += 1

    def _run(self) -> None:
        while True:
            last = self._enough.is_set()
            before = self.cpu_s
            self.sample()
            if last:
                return
            pause_s = max(self._interval_s, (self.cpu_s - before) / CPU_SHARE_LIMIT)
            self._enough.wait(pause_s)
