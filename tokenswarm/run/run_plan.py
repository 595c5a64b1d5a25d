"""The plan of a run, resolved once from the options and passed on as a whole. Only this module reads the engine's
description, chooses runtime, GPUs and CPUs, and reads the environment. It raises its errors before anything is created.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from tokenswarm.base.endpoint import Endpoint
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.masking import LEAST_KEY_CHARS
from tokenswarm.contract.manifest import EXTERNAL
from tokenswarm.engines import EngineSpec, StartRequest, default_runtime, load_description
from tokenswarm.engines.spec.engine_spec import Scalar
from tokenswarm.run.constraint_fields import with_fields
from tokenswarm.run.options import LoadOptions
from tokenswarm.scenario.endpoint_settings import is_secret_parameter
from tokenswarm.scenario.engine_settings import EngineSettings
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.scenario.model import Scenario
from tokenswarm.workloads import create
from tokenswarm.workloads.answer_checks import check_of
from tokenswarm.workloads.corpus import Corpus, load_corpus

_QUERY_VARIABLE = "TOKENSWARM_QUERY_"
_LOOKS_LIKE_HOST = re.compile(r"[A-Za-z0-9_.\-\[\]:]+(/[^\s?@]*)?")


@dataclass(frozen=True, slots=True)
class ThisMachine:
    """What the resolution needs to know about this machine."""

    cpus: frozenset[int] | None = None
    """CPUs available to this process; None if the system has no CPU affinity."""
    environ: Mapping[str, str] = field(default_factory=dict)
    runtime_for: Callable[[EngineSpec, str | None], str] = default_runtime
    """The default runtime for an engine on a device."""

    @classmethod
    def here(cls) -> ThisMachine:
        """This machine, as seen by this process."""
        cpus = frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
        return cls(cpus, os.environ)


@dataclass(frozen=True, slots=True)
class CpuSplit:
    """The CPUs of engine and load generator if they share this machine: a real engine on a CPU takes every core it
    finds, and a load generator that waits for a core measures itself."""

    engine: frozenset[int]
    load_generator: frozenset[int]


@dataclass(frozen=True, slots=True)
class EngineToStart:
    """The engine to start here, unless a suitable one is already running."""

    spec: EngineSpec
    runtime: str
    """local | docker."""
    device: str
    device_asked: str | None
    """None: the first device of the description."""
    settings: EngineSettings
    explicit: tuple[str, ...]
    """Names of settings that the user set."""
    wanted: Mapping[str, Scalar]
    """Its settings by canonical name; an engine that is already running must have the same."""
    model: str | None
    cpus: frozenset[int] | None

    def request(self, log_path: Path) -> StartRequest:
        """The start request for the runtime."""
        return StartRequest(
            description=self.spec,
            log_path=log_path,
            settings=self.settings,
            explicit=self.explicit,
            model=self.model,
            device=self.device_asked,
            cpus=self.cpus,
        )


@dataclass(frozen=True, slots=True)
class RunPlan:
    """The resolved plan of a run, or of the runs of one web UI. Either `engine` or `host` is None."""

    scenario: Scenario
    scenario_name: str
    """As given: a name, or the path of a file."""
    overrides: Mapping[str, str]
    corpus: Corpus
    corpus_path: str | None
    engine_name: str
    """As given; `external` for whatever is at `host`."""
    engine: EngineToStart | None
    host: str | None
    """Base URL of an existing endpoint."""
    model: str | None
    """The requested model."""
    engine_on_this_cpu: bool
    """Whether a real engine started here computes on this machine's CPU, beside the load generator."""
    cpus: CpuSplit | None
    visible_gpus: str | None
    """The GPUs to monitor, in the form of CUDA_VISIBLE_DEVICES; None: all."""
    gpu_hour_usd: float | None
    gpus_named: int | None
    """Number of GPUs named for the engine; 0: none named; None: all of the machine's."""
    workers: int
    master: tuple[str, int] | None
    keep: bool
    results: Path
    argv: tuple[str, ...]
    api_key: str | None = field(repr=False)
    prompt_notes: tuple[str, ...] = ()
    """Notes about the prompts for readers of the run."""
    label: str | None = None
    """The user's own name for the run."""

    @property
    def engine_title(self) -> str:
        """The engine's title; `external` for whatever is at `host`."""
        return self.engine_name if self.engine is None else self.engine.spec.title

    @property
    def cpu_note(self) -> str:
        """A note about figures of an engine on this CPU; empty for other engines."""
        if self.engine is None or not self.engine_on_this_cpu:
            return ""
        return f"{self.engine.spec.title} runs on a CPU here: its speed says nothing about a GPU"


def resolve(options: LoadOptions, machine: ThisMachine | None = None) -> RunPlan:
    """The plan for these options. Raises UserError for anything that is impossible."""
    machine = machine or ThisMachine.here()
    _check_workers(options, machine)
    scenario = load_scenario(options.scenario, options.overrides, options.data)
    _check_load(scenario, options.overrides)
    spec = load_description(options.engine) if options.engine != EXTERNAL else None
    scenario = with_fields(scenario, spec)
    corpus = load_corpus(options.corpus)
    # Raises an error for impossible prompts before anything is started.
    workloads = [create(own, corpus, seed=0, salt="") for own in scenario.classes().values() or [scenario]]
    for own in scenario.classes().values() or [scenario]:
        check_of(own.output)
    host = options.host or (scenario.endpoint.url if options.engine == EXTERNAL else None)
    if options.engine == EXTERNAL and not host:
        of = f" of ENDPOINT={scenario.endpoint.preset}, which has no URL of its own" if scenario.endpoint.preset else ""
        raise UserError(Exit.USAGE, f"ENGINE=external needs HOST=http://... (--host): the endpoint to load{of}")
    if host:
        host, scenario = _without_secrets(host, scenario)
        _check_url(host)
    scenario.endpoint.form({**os.environ, **machine.environ})  # raises an error for an invalid key
    engine_name = EXTERNAL if spec is None else spec.name  # the option may be the path of its description
    spec = None if host else spec
    on_this_cpu = (
        spec is not None and options.master is None and not spec.simulated and spec.form(options.device)[0] == "cpu"
    )
    cpus = _cpu_split(options.workers, machine) if on_this_cpu else None
    environ = machine.environ
    return RunPlan(
        scenario=scenario,
        scenario_name=options.scenario,
        overrides=dict(options.overrides),
        corpus=corpus,
        corpus_path=options.corpus,
        engine_name=engine_name,
        engine=None if spec is None else _engine_to_start(options, scenario, spec, machine, cpus),
        host=host or None,
        model=options.model,
        engine_on_this_cpu=on_this_cpu,
        cpus=cpus,
        visible_gpus=environ.get("GPUS") or environ.get("CUDA_VISIBLE_DEVICES") or None,
        gpu_hour_usd=options.gpu_hourly_cost,
        gpus_named=_gpus_named(environ.get("GPUS", "")),
        workers=options.workers,
        master=options.master,
        keep=options.keep,
        results=options.results,
        argv=tuple(options.argv),
        api_key=options.api_key,
        prompt_notes=tuple(note for workload in workloads for note in workload.notes()),
        label=options.label,
    )


def _gpus_named(text: str) -> int | None:
    return None if text.strip().lower() == "all" else len([name for name in text.split(",") if name.strip()])


def _check_load(scenario: Scenario, overrides: Mapping[str, str]) -> None:
    """Reject a number of users in an open loop."""
    ignored = [key for key in ("load.users", "load.spawn_rate") if key in overrides]
    if scenario.open_loop and ignored:
        raise UserError(
            Exit.USAGE,
            f"{' and '.join(ignored)} cannot be set with a rate of {scenario.load.rate:g} "
            "requests/s (load.rate): users wait for answers, a rate does not. Give USERS or "
            "RATE, not both; load.max_in_flight limits how many an open loop has in flight",
        )


def _check_workers(options: LoadOptions, machine: ThisMachine) -> None:
    """Reject more workers than cores: they would compete for cores and time nothing accurately."""
    if options.master is None and machine.cpus is not None and options.workers > len(machine.cpus):
        cores = len(machine.cpus)
        raise UserError(
            Exit.USAGE,
            f"--workers is {options.workers}, but this process may use {cores} CPU "
            f"core{'s' if cores > 1 else ''}: load-generating processes that share a core wait "
            f"for each other. Give at most WORKERS={cores} here, or use other machines "
            "(--master, see docs/distributed.md)",
        )


def _check_url(host: str) -> None:
    if "://" not in host and _LOOKS_LIKE_HOST.fullmatch(host):
        raise UserError(
            Exit.USAGE, f"HOST (--host) is '{host}', which lacks http:// or https://; did you mean http://{host}?"
        )
    try:
        Endpoint(host)  # raises an error for what must not be shown or stored, such as a password in the URL
    except ValueError as error:
        raise UserError(Exit.USAGE, str(error)) from None


def _without_secrets(host: str, scenario: Scenario) -> tuple[str, Scenario]:
    """The URL without apparent secrets in its query, which move to an environment variable, since the URL is written to
    run.json and to process arguments."""
    url, _, query = host.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    secrets = {name: value for name, value in pairs if is_secret_parameter(name) and len(value) >= LEAST_KEY_CHARS}
    if not secrets:
        return host, scenario
    kept = {}
    for name, value in secrets.items():
        variable = _QUERY_VARIABLE + re.sub(r"[^A-Za-z0-9]", "_", name).upper()
        os.environ[variable] = value
        kept[name] = f"env:{variable}"
    others = urlencode([(name, value) for name, value in pairs if name not in secrets])
    endpoint = scenario.endpoint.model_copy(update={"query": {**scenario.endpoint.query, **kept}})
    return url + (f"?{others}" if others else ""), scenario.model_copy(update={"endpoint": endpoint})


def _engine_to_start(
    options: LoadOptions, scenario: Scenario, spec: EngineSpec, machine: ThisMachine, cpus: CpuSplit | None
) -> EngineToStart:
    device, _ = spec.form(options.device)
    explicit = tuple(key.removeprefix("engine.") for key in options.overrides if key.startswith("engine."))
    request = StartRequest(
        description=spec, log_path=Path(), settings=scenario.engine, explicit=explicit, device=options.device
    )
    return EngineToStart(
        spec=spec,
        runtime=options.runtime or machine.runtime_for(spec, options.device),
        device=device,
        device_asked=options.device,
        settings=scenario.engine,
        explicit=explicit,
        wanted=request.resolve_settings().settings,
        model=options.model,
        cpus=cpus.engine if cpus else None,
    )


def _cpu_split(workers: int, machine: ThisMachine) -> CpuSplit | None:
    """The last CPUs for the load generator, one per worker, the others for the engine; None if there are too few."""
    if machine.cpus is None or len(machine.cpus) <= workers:
        return None
    mine = sorted(machine.cpus)
    return CpuSplit(frozenset(mine[:-workers]), frozenset(mine[-workers:]))
