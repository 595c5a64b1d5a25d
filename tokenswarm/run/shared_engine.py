"""An engine shared by consecutive runs, as long as they need the same one."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from tokenswarm.base.presence import present
from tokenswarm.base.signals import Interrupts
from tokenswarm.engines import Engine
from tokenswarm.engines.cache_reset import reset_cache
from tokenswarm.engines.emptiness import Emptiness, wait_until_empty
from tokenswarm.run.checked_engine import EngineTools, checked_engine
from tokenswarm.run.engine_up import ENGINE_LOG
from tokenswarm.run.run_plan import RunPlan


def same_engine(first: RunPlan, second: RunPlan) -> bool:
    """Whether two runs need the same engine with the same settings, or the same endpoint."""
    return _wanted(first) == _wanted(second)


def _wanted(plan: RunPlan) -> tuple[object, ...]:
    return plan.host, plan.engine_name, plan.engine, plan.model


class SharedEngine:
    """Starts engines for runs with `tools`, and stops one only when another is needed or at the end (`close`). The log
    of an engine started here is copied into the folder of each further run.
    """

    def __init__(self, tools: EngineTools | None = None) -> None:
        self._own = tools or EngineTools()
        self._engine: Engine | None = None
        self._plan: RunPlan | None = None
        self._log, self._folder = Path(), Path()

    @property
    def tools(self) -> EngineTools:
        """The tools with which runs get their engine."""
        return replace(self._own, bring_up=self._bring_up, release=self._release)

    def check(self, plan: RunPlan, folder: Path, console: Console) -> bool:
        """Start the engine of a plan and check it, as its run will. Its log goes into `folder`. Returns whether its
        prefix cache could be emptied. Raises UserError for faults."""
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with Interrupts() as interrupts, checked_engine(plan, folder, console, interrupts, self.tools) as checked:
                checked.announce(console)
                return bool(reset_cache(checked.engine, plan.scenario.load.reset_cache).done)
        finally:
            if not any(folder.iterdir()):
                folder.rmdir()

    def _bring_up(self, plan: RunPlan, folder: Path, console: Console) -> Engine:
        self._folder = folder
        if self._engine is not None:
            if same_engine(plan, present(self._plan)) and self._engine.is_alive():
                return self._engine
            self.close()
        self._engine, self._plan, self._log = self._own.bring_up(plan, folder, console), plan, folder / ENGINE_LOG
        return self._engine

    def _release(self, engine: Engine) -> None:
        if self._folder != self._log.parent:
            with contextlib.suppress(OSError):  # an external endpoint has none, and a log is not worth failing a run
                shutil.copyfile(self._log, self._folder / ENGINE_LOG)

    def wait_until_empty(self, limit_s: float) -> Emptiness:
        """Wait until the engine is idle, at most `limit_s` seconds; returns at once if there is no engine yet."""
        if self._engine is None or not self._engine.is_alive():
            return Emptiness(None)
        return wait_until_empty(self._engine, limit_s)

    def close(self) -> None:
        """Stop the engine, if it was started here."""
        if self._engine is not None:
            engine, self._engine = self._engine, None
            self._own.release(engine)
