"""The life of one run: engine up, endpoint checked, load applied, engine down, results written."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from tokenswarm.base.cpu_affinity import affinity
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.signals import Interrupts
from tokenswarm.client.http import Endpoint
from tokenswarm.engines import (
    Engine,
    GpuSampler,
    StartRequest,
    Telemetry,
    adopt,
    default_runtime,
    load_description,
    resolve,
    running,
    start_engine,
)
from tokenswarm.engines.cache_reset import reset_cache, reset_note
from tokenswarm.engines.spec.engine_spec import EngineSpec
from tokenswarm.generator.new_run import fresh_salt, make_run_folder, new_manifest, utc_now, write_manifest
from tokenswarm.run.calibrate import advice
from tokenswarm.run.locust_process import LocustProcesses
from tokenswarm.run.monitor import RunMonitor, RunOutcome, Watch
from tokenswarm.run.preflight import preflight
from tokenswarm.run.progress import RunProgress, working
from tokenswarm.scenario.abort import Abort
from tokenswarm.scenario.model import Scenario, load_scenario
from tokenswarm.workloads.corpus import Corpus, load_corpus

EXTERNAL = "external"
ENGINE_LOG = "engine.log"


@dataclass(slots=True)
class LoadOptions:
    """What `load` was asked for. `overrides` are scenario values by dotted name (see `scenario.parse_set`)."""

    engine: str = "sim"
    scenario: str = "rag"
    host: str | None = None
    model: str | None = None
    device: str | None = None
    runtime: str | None = None
    """local | docker, of an engine that is started here; None = see `default_runtime`."""
    gpu_hourly_cost: float | None = None
    """$ per GPU and hour, for what tokens cost."""
    keep: bool = False
    """Leave an engine that is started here running when the run is complete."""
    workers: int = 1
    master: tuple[str, int] | None = None
    """Address at which workers from other machines are awaited; None = workers are started here."""
    corpus: str | None = None
    results: Path = Path("results")
    overrides: dict[str, str] = field(default_factory=dict)
    api_key: str | None = field(default=None, repr=False)
    argv: list[str] = field(default_factory=list)
    watch: Watch | None = None
    """Looks on while the run goes on."""


def run_load(options: LoadOptions, console: Console) -> RunOutcome:
    """Run a scenario against an engine and leave a run folder. Stops whatever it started.

    Raises UserError for what is wrong before anything was measured.
    """
    scenario = load_scenario(options.scenario, options.overrides)
    corpus = load_corpus(options.corpus)
    if options.engine == EXTERNAL and not options.host:
        raise UserError(Exit.USAGE, "ENGINE=external needs HOST=http://... (--host): the endpoint to load")
    if options.engine != EXTERNAL:
        load_description(options.engine)  # an unknown name is found out before anything is made
    run_id, folder = make_run_folder(options.results, options.engine, scenario.name)
    with Interrupts(require_double_ctrl_c=options.watch is not None) as interrupts, contextlib.ExitStack() as cleanup:
        interrupts.on_hard_exit.append(lambda: console.show_cursor(True))  # a live display hides it
        try:
            engine = bring_up(options, scenario, folder, console)
            cleanup.callback(engine.stop)
            interrupts.on_hard_exit.append(engine.kill)
            manifest = _prepare(options, scenario, corpus, engine, run_id)
            write_manifest(folder, manifest)
        except BaseException as error:
            cleanup.close()  # the engine first: it writes into the folder
            _drop(folder, keep_log=isinstance(error, UserError) and error.code is Exit.ENGINE)
            raise
        console.print(f"[bold]{engine.title}[/] {engine.version or ''}  model {manifest['model']}  {engine.base_url}",
                      highlight=False)
        console.print(sdk_sentence(manifest["preflight"]), highlight=False)
        for note in [] if engine.simulated else manifest["notes"]:  # run.json has them in any case
            console.print(f"note: {note}", highlight=False)
        outcome = _measure(options, scenario, engine, folder, manifest, console, interrupts)
        if options.keep and outcome.status == "complete":
            leave_running(engine, console)
        return outcome


def leave_running(engine: Engine, console: Console) -> None:
    """Let an engine that was started here outlive this command, and say so."""
    if not engine.keep():
        return
    console.print(f"{engine.title} is left running at {engine.base_url}; the next load takes it over. Stop it with: "
                  f"make down ENGINE={engine.name}", highlight=False, markup=False, soft_wrap=True)


# ---- before the load

def bring_up(options: LoadOptions, scenario: Scenario, folder: Path, console: Console) -> Engine:
    """The engine to load: the one at HOST, or one that is started here."""
    if options.host:
        try:
            Endpoint(options.host)  # refuses what must not be shown or stored, such as a password in the URL
        except ValueError as error:
            raise UserError(Exit.USAGE, str(error)) from None
        engine = adopt(options.host, options.api_key)
        if options.engine not in (EXTERNAL, engine.name):
            raise UserError(Exit.USAGE, f"{options.host} is {engine.title}, not {options.engine}; "
                                        f"use ENGINE={EXTERNAL} or ENGINE={engine.name}")
        return engine
    description = load_description(options.engine)
    explicit = [key.removeprefix("engine.") for key in options.overrides if key.startswith("engine.")]
    wanted = resolve(description, scenario.engine, options.device, explicit).settings
    there = running.find_matching(description, options.model, wanted, options.api_key,
                            in_containers=_runtime(options, description) == "docker")
    if there is not None:
        console.print(f"taking over {there.title} at {there.base_url}, which runs already", highlight=False)
        return there
    with working(console, f"starting {description.title}") as status:
        def on_progress(seconds: float, line: str) -> None:
            status(f"starting {description.title} ... {seconds:.0f} s", line)
        request = StartRequest(description=description, log_path=folder / ENGINE_LOG, settings=scenario.engine,
                               explicit=explicit, model=options.model, device=options.device,
                               cpus=cpu_split(options)[0])
        return start_engine(request, _runtime(options, description), on_progress)


def _runtime(options: LoadOptions, description: EngineSpec) -> str:
    return options.runtime or default_runtime(description, options.device)


def on_a_cpu(options: LoadOptions) -> bool:
    """Whether a real engine that is started here computes on this machine's CPU."""
    if options.host or options.master:
        return False
    description = load_description(options.engine)
    return not description.simulated and description.form(options.device)[0] == "cpu"


def cpu_split(options: LoadOptions) -> tuple[set[int] | None, set[int] | None]:
    """CPUs for (engine, load generator) where both compute on this machine's; None = wherever the system likes.

    A real engine on a CPU takes every core that it finds, and a load generator that waits for one measures itself.
    """
    if not on_a_cpu(options) or not hasattr(os, "sched_getaffinity"):
        return None, None
    mine = sorted(os.sched_getaffinity(0))
    if len(mine) <= options.workers:
        return None, None
    return set(mine[:-options.workers]), set(mine[-options.workers:])


def _prepare(options: LoadOptions, scenario: Scenario, corpus: Corpus, engine: Engine,
             run_id: str) -> dict[str, Any]:
    """Check the endpoint and describe the run."""
    checked = preflight(engine.base_url, engine.model or options.model, options.api_key)
    salt = scenario.prompts.salt
    manifest = new_manifest(
        run_id=run_id, scenario=scenario, overrides=options.overrides, engine=engine.manifest(),
        model=checked["model"], corpus=corpus, seed=scenario.prompts.seed,
        salt=fresh_salt() if salt == "run" else salt, workers=options.workers, argv=options.argv,
        simulated=engine.simulated)
    manifest["preflight"] = checked
    manifest["notes"] = list(engine.notes)
    manifest["cache_reset"] = _empty_cache(engine, scenario, manifest)
    if on_a_cpu(options):
        manifest["notes"].append(f"{engine.title} runs on a CPU here: its speed says nothing about a GPU")
    return manifest


def _empty_cache(engine: Engine, scenario: Scenario, manifest: dict[str, Any]) -> dict[str, Any]:
    """Empty the prefix cache, of what the preflight asked too: nothing of ours is in flight yet."""
    wanted = scenario.load.reset_cache
    outcome = reset_cache(engine, wanted)
    note = reset_note(outcome, wanted, manifest["salt"], fresh=scenario.prompts.salt == "run")
    if note is not None:
        manifest["notes"].append(note)
    return outcome


def _drop(folder: Path, keep_log: bool) -> None:
    """A run that never began leaves no folder, unless the engine's log in it says why."""
    with contextlib.suppress(OSError):
        if not keep_log:
            (folder / ENGINE_LOG).unlink(missing_ok=True)
        folder.rmdir()


def sdk_sentence(checked: dict[str, Any]) -> str:
    """Whether an application that uses the official SDK could switch to this endpoint by its base_url alone."""
    if checked["sdk_compatible"]:
        return "openai SDK: an application can switch to this endpoint by its base_url alone"
    return f"openai SDK: base_url alone is not enough: {'; '.join(checked['notes'])}"


# ---- the load

def _measure(options: LoadOptions, scenario: Scenario, engine: Engine, folder: Path, manifest: dict[str, Any],
             console: Console, interrupts: Interrupts) -> RunOutcome:
    outcome = RunOutcome(folder)
    load = scenario.load
    hint = advice(load, scenario.output.max_tokens, options.workers)
    if hint is not None and options.master is None:
        console.print(f"note: {hint}", highlight=False)
    chosen = os.environ.get("GPUS") or os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = GpuSampler.open(only=chosen) if engine.runtime != EXTERNAL else None
    manifest["gpus"] = gpus.names if gpus else []
    manifest["cost"] = price(options.gpu_hourly_cost, manifest)
    telemetry = Telemetry(engine, folder, gpus=gpus, samplers=engine.samplers())
    interrupts.on_first = lambda: None  # from here on there is a run to end in good order
    engine_cpus, load_cpus = cpu_split(options)
    if engine_cpus and load_cpus:
        manifest["cpus"] = {"engine": sorted(engine_cpus), "load_generator": sorted(load_cpus)}
    with affinity(load_cpus):
        locust = LocustProcesses.headless(scenario, folder, engine.base_url, options.workers, options.master)
    interrupts.on_hard_exit.insert(0, locust.kill_at_once)
    interrupts.on_first = locust.ask_to_stop
    if interrupts.interrupted:
        locust.ask_to_stop()
    telemetry.start()
    try:
        with RunProgress(console, load.warmup_s, load.duration_s,
                         load.warmup_max_s if load.warmup_s is None else None,
                         options.watch.progress_interval_s if options.watch else None) as progress:
            interrupts.on_first = lambda: (progress.stopping(), locust.ask_to_stop())
            if options.watch is not None:
                options.watch.begin(folder, scenario)
            RunMonitor(locust, engine, telemetry, manifest, outcome, progress, options.watch).follow()
    except BaseException:  # such as a closed pipe on stdout: nobody follows the run any more
        locust.ask_to_stop()
        raise
    finally:
        interrupts.on_first = lambda: None
        locust.end()
        telemetry.stop()
    if interrupts.interrupted and outcome.status != "aborted":
        outcome.status, outcome.interrupted_at = "interrupted", interrupts.first_at
        manifest.setdefault("ended_early", interruption(interrupts).facts())
    _note_lost_workers(manifest)
    manifest.update(status=outcome.status, ended_at=utc_now(),
                    telemetry=telemetry.facts(),
                    server_latency=telemetry.server_latency())
    write_manifest(folder, manifest)
    if options.watch is not None:
        options.watch.over(outcome)
    return outcome


def interruption(interrupts: Interrupts) -> Abort:
    """The first signal as a reason why the run ended early."""
    return Abort("interrupted", Exit.INTERRUPTED, f"the run was interrupted by {interrupts.first_name}")


def price(gpu_hour_usd: float | None, manifest: dict[str, Any]) -> dict[str, Any] | None:
    """The price, and how many GPUs it is paid for: those named in GPUS, else what a container was given, else as many
    as the engine says it uses."""
    if gpu_hour_usd is None:
        return None
    named = [name for name in os.environ.get("GPUS", "").split(",") if name.strip()]
    effective = manifest["engine"].get("effective") or {}
    used = int(effective.get("tensor_parallel") or 1) * int(effective.get("data_parallel") or 1)
    given = len(manifest["gpus"]) if manifest["engine"].get("runtime") == "docker" else 0
    return {"gpu_hour_usd": gpu_hour_usd, "gpus": len(named) or given or used}


def _note_lost_workers(manifest: dict[str, Any]) -> None:
    """A worker that vanished took its last rows with it, which no figure shows."""
    lost = (manifest["counts"] or {}).get("workers_lost", 0)
    if lost:
        sentence = (f"{lost} of {manifest['load']['workers']} load-generating processes were lost during the run, "
                    "with the rows that they had not handed over")
        reason = {"rule": "workers_lost", "verdict": "INVALID", "value": lost, "limit": 0, "unit": "",
                  "sentence": sentence}
        manifest["validity"] = {"verdict": "INVALID", "reasons": [reason]}
