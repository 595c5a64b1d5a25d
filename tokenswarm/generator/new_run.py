"""A new run: its folder, and the manifest (run.json) that says what is run, on what, with which settings."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
import secrets
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

import tokenswarm
from tokenswarm.base.data_files import CHECKOUT
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.numbers import load_number
from tokenswarm.contract.manifest import (
    CorpusRecord,
    CostRecord,
    CpusRecord,
    EngineRecord,
    GitRecord,
    HostRecord,
    LoadRecord,
    Manifest,
    PreflightRecord,
    ScenarioRecord,
)
from tokenswarm.contract.tables import FORMAT
from tokenswarm.scenario.load_settings import Load
from tokenswarm.scenario.model import Scenario
from tokenswarm.workloads.corpus import Corpus

_PACKAGES = ("locust", "gevent", "httptools", "msgspec", "openai")
_GIB = 1024**3
MIX = "mix"
"""The workload that run.json names for a run of several."""
RUN_SALT = "run"
"""`prompts.salt` of a run that shares no prompt with an earlier one."""


def utc_now() -> str:
    """Now, as run.json writes a moment: 2026-01-31T12:00:00Z."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def make_run_folder(
    results: Path, engine: str, scenario: str, load: Load | None = None, label: str | None = None
) -> tuple[str, Path]:
    """A new folder RESULTS/<run-id>; a run never writes into another's. Its name tells runs apart: when, engine,
    scenario, load and label. Raises UserError (RESULTS)."""
    moment = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
    parts = [_slug(engine), _slug(scenario), _load_slug(load) if load else "", _slug(label)[:40] if label else ""]
    run_id = "-".join([moment, *filter(None, parts), secrets.token_hex(2)])
    folder = results / run_id
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise UserError(
            Exit.RESULTS,
            f"the results folder {results} cannot be written ({error.strerror}); "
            "give another one with RESULTS=... (--results)",
        ) from None
    return run_id, folder.resolve()


def _load_slug(load: Load) -> str:
    """`16u`, `12rps`, `8-32u`: users or requests/s, the first and the last of several."""
    values: tuple[float, ...]
    if load.rate is None:
        values, unit = (load.users, *(load.users_steps or ()), *([load.users_end] if load.users_end else [])), "u"
        values = load.users_steps or values
    else:
        values, unit = (load.rate_steps or (load.rate, *([load.rate_end] if load.rate_end else []))), "rps"
    return "-".join(load_number(value) for value in dict.fromkeys((values[0], values[-1]))) + unit


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-") or "run"


def fresh_salt() -> str:
    """A salt that no earlier run had."""
    return secrets.token_hex(8)


@dataclass(frozen=True, slots=True)
class NewRun:
    """What is known of a run before it begins, whoever starts it. `overrides`: scenario values by dotted name that were
    given by hand; `workers`: load-generating processes; `notes`: sentences about engine and run."""

    scenario: Scenario
    overrides: Mapping[str, str]
    engine: EngineRecord
    model: str
    corpus: Corpus
    workers: int
    argv: Sequence[str]
    simulated: bool
    notes: Sequence[str] = ()
    gpus: Sequence[str] = ()
    preflight: PreflightRecord | None = None
    cost: CostRecord | None = None
    cpus: CpusRecord | None = None
    label: str | None = None
    classes: Mapping[str, Scenario] = field(default_factory=dict)
    """Scenarios of user classes that have one of their own, by class."""

    def manifest(self, run_id: str) -> Manifest:
        """Its run.json. A `prompts.salt` of "run" becomes one that no earlier run had."""
        scenario, prompts = self.scenario, self.scenario.prompts
        classes = {**scenario.classes(), **self.classes}
        return Manifest(
            format=FORMAT,
            run_id=run_id,
            status="running",
            started_at=utc_now(),
            simulated=self.simulated,
            label=self.label,
            engine=self.engine,
            model=self.model,
            scenario=scenario_record(scenario, self.overrides),
            classes={name: scenario_record(own, self.overrides) for name, own in classes.items()},
            load=_load(scenario.load, self.workers, prompts.state),
            corpus=CorpusRecord(**self.corpus.identity()),
            seed=prompts.seed,
            salt=fresh_salt() if prompts.salt == RUN_SALT else prompts.salt,
            argv=list(self.argv),
            host=host_facts(),
            gpus=list(self.gpus),
            versions=versions(),
            git=git_facts(),
            preflight=self.preflight,
            notes=list(self.notes),
            cost=self.cost,
            cpus=self.cpus,
        )


def scenario_record(scenario: Scenario, overrides: Mapping[str, str]) -> ScenarioRecord:
    """The scenario as run.json holds it."""
    return ScenarioRecord(
        scenario.name,
        scenario.title,
        scenario.description,
        scenario.workload_kind.name if scenario.mix is None else MIX,
        scenario.values(),
        dict(overrides),
    )


def _load(load: Load, workers: int, state: str) -> LoadRecord:
    closed = load.rate is None
    return LoadRecord(
        mode="closed" if closed else "open",
        users=load.users if closed else None,
        spawn_rate=load.spawn_rate,
        rate=load.rate,
        rate_end=load.rate_end,
        rate_steps=load.rate_steps,
        users_end=load.users_end,
        users_steps=load.users_steps,
        arrivals=None if closed else load.arrivals,
        max_in_flight=load.max_in_flight,
        duration_s=load.duration_s,
        warmup_s=load.warmup_s,
        warmup_max_s=load.warmup_most_s,
        drain_s=load.drain_s,
        workers=workers,
        prompts=state,
    )


def host_facts() -> HostRecord:
    """The machine that generates the load."""
    return HostRecord(
        hostname=socket.gethostname(),
        platform=platform.platform(),
        cpu=_cpu_name(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        memory_gb=round(psutil.virtual_memory().total / _GIB, 1),
    )


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def versions() -> dict[str, str | None]:
    """Of this package, Python, and the libraries that the figures depend on."""
    by_name: dict[str, str | None] = {"tokenswarm": tokenswarm.__version__, "python": platform.python_version()}
    for name in _PACKAGES:
        by_name[name] = importlib.metadata.version(name)
    return by_name


def git_facts() -> GitRecord | None:
    """Revision of the project's checkout and whether it was changed; None outside a checkout."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(CHECKOUT), *arguments], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    if CHECKOUT is None:
        return None
    try:
        return GitRecord(git("rev-parse", "HEAD"), bool(git("status", "--porcelain")))
    except (OSError, subprocess.SubprocessError):
        return None
