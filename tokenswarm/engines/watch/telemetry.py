"""Records the engine's own view of a run: /metrics once a second into engine_metrics.csv, its host and GPUs into
host_metrics.csv, and its latency histograms at the start and the end of the measured phase.

A plain thread of the command-line process, which generates no load itself. Errors are counted and leave a gap; they
never end a run.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from tokenswarm.base.presence import present
from tokenswarm.contract.manifest import ServerLatencyRecord, TelemetryRecord
from tokenswarm.contract.tables import (
    ENGINE_METRIC_COLUMNS,
    ENGINE_METRICS_CSV,
    HOST_METRIC_COLUMNS,
    HOST_METRICS_CSV,
    REQUESTS_CSV,
    Column,
    format_rows,
    header,
    part_name,
)
from tokenswarm.engines.engine_protocol import Engine
from tokenswarm.engines.spec.metrics_text import canonical
from tokenswarm.engines.watch import histograms
from tokenswarm.engines.watch.gpu import GpuSampler

CPU_SHARE_LIMIT = 0.01
"""Share of one core that telemetry may use; it samples less often rather than exceed it."""

Sampler = Callable[[float], list[dict[str, object]]]
"""Something else to watch: called with the moment (unix seconds), gives rows of host_metrics.csv. What it raises is
counted."""

Side = Literal["start", "end"]
_TRY_AGAIN_S, _TRY_FOR_S = 0.5, 5.0
"""How long to retry a reading that cannot be made later."""


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


def _now(sampler: Callable[[float], list[dict[str, object]]]) -> list[dict[str, object]]:
    return sampler(time.time())


class Telemetry:
    """Samples an engine, this machine's GPUs, and whatever `samplers` watch, until `stop`.

    `scrapes`, `failed` and `cpu_s` say how often it read, how often that failed, and what CPU time it took.
    """

    def __init__(
        self,
        engine: Engine,
        folder: Path,
        interval_s: float = 1.0,
        gpus: GpuSampler | None = None,
        samplers: Sequence[Sampler] = (),
        on_sample: Callable[[float, dict[str, float | None]], None] | None = None,
    ) -> None:
        """`on_sample` is called with the moment (unix seconds) and the canonical values of each sample."""
        self.scrapes = 0
        self.failed = 0
        self.cpu_s = 0.0
        self._on_sample = on_sample
        self._engine = engine
        self._folder = Path(folder)
        self._interval_s = interval_s
        self._samplers = [*([gpus.sample] if gpus is not None else []), *samplers]
        self._lock = threading.Lock()
        self._enough = False
        self._part = 1
        self._wake = threading.Event()
        self._marks: dict[Side, tuple[float, float]] = {}
        """Side of the measured phase -> (when to read, when to give up), both unix seconds."""
        self._readings: dict[Side, histograms.HistogramReading] = {}
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start sampling; the first sample is taken at once."""
        self._thread = threading.Thread(target=self._run, name="engine-telemetry", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Take a last sample and end. Never raises."""
        self._enough = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
            self._thread = None

    def mark(self, side: Side, at: float) -> None:
        """Read the engine's histograms at this moment (unix seconds), or as soon as it can be; asked twice for a side,
        the first time counts. Returns at once.
        """
        description = self._engine.description
        if description is None or not description.metrics or not description.histograms:
            return
        if side not in self._marks and side not in self._readings:
            self._marks[side] = (at, at + _TRY_FOR_S)
            self._wake.set()

    def facts(self) -> TelemetryRecord:
        """Number of readings and failures, and CPU time."""
        return TelemetryRecord(self.scrapes, self.failed, round(self.cpu_s, 3))

    def server_latency(self) -> ServerLatencyRecord | None:
        """What the engine measured between the two marks; None where its description knows no histogram, or where
        there was no measured phase."""
        if not self._marks and not self._readings:
            return None
        return histograms.between(self._readings.get("start"), self._readings.get("end"))

    def sample(self) -> dict[str, float | None]:
        """Read everything once, now, and write it down; returns the canonical values, all None on failure.

        May be called from another thread, for instance at the very start and end of the measure phase.
        """
        with self._lock:
            began = time.thread_time()
            values = self._sample_engine()
            for sampler in self._samplers:
                self._write(HOST_METRICS_CSV, HOST_METRIC_COLUMNS, partial(_now, sampler))
            self.cpu_s += time.thread_time() - began
            return values

    def _sample_engine(self) -> dict[str, float | None]:
        description = self._engine.description
        if description is None or not description.metrics:
            return {}
        self.scrapes += 1
        began = time.time()
        text = self._engine.metrics_text()
        # The engine read its counters somewhere between the question and the answer.
        at = (began + time.time()) / 2
        values = canonical(text, description.metrics) if text is not None else dict.fromkeys(description.metrics)
        if all(value is None for value in values.values()):
            self.failed += 1
        self._write(ENGINE_METRICS_CSV, ENGINE_METRIC_COLUMNS, lambda: [{"at": at, **values}])
        if self._on_sample is not None:
            self._on_sample(at, values)
        self._keep_readings(text, at)
        return values

    def _keep_readings(self, text: str | None, at: float) -> None:
        """Keep this page as the reading of each side whose moment has come."""
        for side, (due, give_up) in list(self._marks.items()):
            if at < due:
                continue
            if text is not None:
                sources = present(self._engine.description).histograms
                self._readings[side] = histograms.read(text, {str(name): each for name, each in sources.items()}, at)
            elif at < give_up:
                self._marks[side] = (at + _TRY_AGAIN_S, give_up)
                continue
            del self._marks[side]

    def _write(self, name: str, columns: tuple[Column, ...], make_rows: Callable[[], list[dict[str, object]]]) -> None:
        try:
            if rows := make_rows():
                append_rows(self._folder / part_name(name, self._current_part()), columns, rows)
        except Exception:  # a full disk, or whatever a sampler runs into: a gap, never the end of telemetry
            self.failed += 1

    def _current_part(self) -> int:
        """The part that the load generator writes now: all tables of a run change files together."""
        while (self._folder / part_name(REQUESTS_CSV, self._part + 1)).exists():
            self._part += 1
        return self._part

    def _run(self) -> None:
        while True:
            last = self._enough
            before = self.cpu_s
            self.sample()
            if last:
                return
            pause_s = max(self._interval_s, (self.cpu_s - before) / CPU_SHARE_LIMIT)
            self._sleep(time.monotonic() + pause_s)

    def _sleep(self, until: float) -> None:
        """Until this moment of the monotonic clock, the next mark, or the end."""
        while not self._enough:
            self._wake.clear()
            next_mark_s = min((due for due, _ in list(self._marks.values())), default=float("inf")) - time.time()
            left_s = min(until - time.monotonic(), next_mark_s)
            if left_s <= 0 or self._enough:
                return
            self._wake.wait(left_s)
