"""Runs a fixed set of tasks with known results under the scenario's own settings and under others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from tokenswarm.run.life import LoadTools
from tokenswarm.run.options import LoadOptions
from tokenswarm.run.shared_engine import SharedEngine
from tokenswarm.series.pairs import SeriesTools

TASKS = ("reasoning", "structured")
"""Scenarios whose answers are checked against known results."""
_LONGEST_S = 1800.0
_SEED = 4711


def ask_tasks(
    base: LoadOptions, formats: Mapping[str, str], tasks: int, console: Console, tools: SeriesTools
) -> dict[str, list[Path]]:
    """Run folders of both sides (`before`, `after`), each with one run per scenario and the same tasks. `formats`:
    scenario values of the second side; `tasks`: number over all scenarios. Raises UserError, or KeyboardInterrupt if a
    run was interrupted."""
    engine = SharedEngine(tools.engine)
    own = {key: value for key, value in base.overrides.items() if key.startswith("engine.") and key not in formats}
    folders: dict[str, list[Path]] = {"before": [], "after": []}
    load = {
        "load.max_requests": str(max(1, tasks // len(TASKS))),
        "load.duration_s": f"{_LONGEST_S:g}",
        "load.warmup_s": "0",
        "prompts.seed": str(_SEED),
    }
    try:
        for side, values in (("before", {}), ("after", formats)):
            for scenario in TASKS:
                console.print(f"\nchecking answers {side} the change: {scenario}", markup=False, highlight=False)
                options = replace(base, scenario=scenario, data=None, overrides={**own, **load, **values})
                outcome = tools.run(options, console, LoadTools(engine=engine.tools))
                if outcome.status == "interrupted":
                    raise KeyboardInterrupt
                folders[side].append(outcome.folder)
    finally:
        engine.close()
    return folders
