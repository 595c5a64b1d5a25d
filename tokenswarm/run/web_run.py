"""A run started in the web UI, from the command line's side.

Locust made its folder and run.json and owns them until the run is done; the engine, Locust and the UI outlive it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tokenswarm.base.presence import present
from tokenswarm.contract.manifest import read_manifest, write_manifest
from tokenswarm.generator.new_run import RUN_SALT
from tokenswarm.run.checked_engine import CheckedEngine
from tokenswarm.run.life import RunLife
from tokenswarm.run.locust_process import LocustProcesses
from tokenswarm.run.monitor import mark_measured_phase

Event = Mapping[str, object]


class WebRun(RunLife):
    """One of several runs under one Locust: `prepare`, `measure` and, if that says so, `finish`."""

    def __init__(self, checked: CheckedEngine, folder: Path, locust: LocustProcesses) -> None:
        super().__init__()
        self.checked, self.folder = checked, folder
        self._locust = locust

    def prepare(self) -> None:
        """Empty the cache and start monitoring; the run waits for both."""
        manifest = read_manifest(self.folder)
        load, prompts = manifest.scenario.table("load"), manifest.scenario.table("prompts")
        self._empty_cache(load["reset_cache"], present(manifest.salt), fresh=prompts["salt"] == RUN_SALT)
        self._new_telemetry(lambda at, values: self._locust.tell("engine", at=at, values=values)).start()
        self._locust.tell("ready")

    def measure(self, events: Iterator[Event | None], otherwise: Callable[[Event | None], None]) -> bool:
        """Watch until the run is done. Returns False if it was stopped before it sent anything, or if Locust ended.
        `otherwise` is called with every event not about this run's phases or end."""
        try:
            for event in events:
                kind = None if event is None else event["event"]
                if event is not None and kind in ("phase", "done"):
                    mark_measured_phase(present(self._telemetry), event)
                if kind in ("done", "dropped"):
                    return kind == "done"
                if kind != "phase":
                    otherwise(event)
            return False
        finally:
            present(self._telemetry).stop()

    def finish(self) -> None:
        """Complete run.json. Raises UserError(RESULTS)."""
        manifest = read_manifest(self.folder)
        self._tell_cache(manifest)
        self._tell_telemetry(manifest)
        write_manifest(self.folder, manifest)
