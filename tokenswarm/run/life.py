"""The life of one run: engine up, endpoint checked, load applied, engine down, results written."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from rich.console import Console

from tokenswarm.base.cpu_affinity import affinity
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.signals import Interrupts
from tokenswarm.engines import Engine, GpuSampler, Telemetry
from tokenswarm.engines.cache_reset import reset_cache, reset_note
from tokenswarm.generator.new_run import fresh_salt, make_run_folder, new_manifest, utc_now, write_manifest
from tokenswarm.run.calibrate import advice
from tokenswarm.run.engine_up import ENGINE_LOG, bring_up, leave_running
from tokenswarm.run.locust_process import LocustProcesses
from tokenswarm.run.monitor import RunMonitor, RunOutcome, Watch
from tokenswarm.run.options import EXTERNAL, LoadOptions
from tokenswarm.run.preflight import preflight
from tokenswarm.run.price import price
from tokenswarm.run.progress import RunProgress
from tokenswarm.run.run_plan import RunPlan, resolve
from tokenswarm.scenario.abort import Abort
from tokenswarm.scenario.model import Scenario


def run_load(options: LoadOptions, console: Console, watch: Watch | None = None) -> RunOutcome:
    """Run a scenario against an engine and leave a run folder. Stops whatever it started. `watch` looks on meanwhile.

    Raises UserError for what is wrong before anything was measured.
    """
    plan = resolve(options)
    run_id, folder = make_run_folder(plan.results, plan.engine_name, plan.scenario.name)
    with Interrupts(require_double_ctrl_c=watch is not None) as interrupts, contextlib.ExitStack() as cleanup:
        interrupts.on_hard_exit.append(lambda: console.show_cursor(True))  # a live display hides it
        try:
            engine = bring_up(plan, folder, console)
            cleanup.callback(engine.stop)
            interrupts.on_hard_exit.append(engine.kill)
            manifest = _prepare(plan, engine, run_id)
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
        outcome = _measure(plan, engine, folder, manifest, console, interrupts, watch)
        if plan.keep and outcome.status == "complete":
            leave_running(engine, console)
        return outcome


# ---- before the load

def _prepare(plan: RunPlan, engine: Engine, run_id: str) -> dict[str, Any]:
    """Check the endpoint and describe the run."""
    scenario = plan.scenario
    checked = preflight(engine.base_url, engine.model or plan.model, plan.api_key)
    salt = scenario.prompts.salt
    manifest = new_manifest(
        run_id=run_id, scenario=scenario, overrides=plan.overrides, engine=engine.manifest(),
        model=checked["model"], corpus=plan.corpus, seed=scenario.prompts.seed,
        salt=fresh_salt() if salt == "run" else salt, workers=plan.workers, argv=list(plan.argv),
        simulated=engine.simulated)
    manifest["preflight"] = checked
    manifest["notes"] = list(engine.notes)
    manifest["cache_reset"] = _empty_cache(engine, scenario, manifest)
    if plan.engine_on_this_cpu:
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

def _measure(plan: RunPlan, engine: Engine, folder: Path, manifest: dict[str, Any], console: Console,
             interrupts: Interrupts, watch: Watch | None) -> RunOutcome:
    scenario = plan.scenario
    outcome = RunOutcome(folder)
    load = scenario.load
    hint = advice(load, scenario.output.max_tokens, plan.workers)
    if hint is not None and plan.master is None:
        console.print(f"note: {hint}", highlight=False)
    gpus = GpuSampler.open(only=plan.visible_gpus) if engine.runtime != EXTERNAL else None
    manifest["gpus"] = gpus.names if gpus else []
    manifest["cost"] = price(plan, engine, manifest["gpus"])
    telemetry = Telemetry(engine, folder, gpus=gpus, samplers=engine.samplers())
    interrupts.on_first = lambda: None  # from here on there is a run to end in good order
    if plan.cpus is not None:
        manifest["cpus"] = {"engine": sorted(plan.cpus.engine), "load_generator": sorted(plan.cpus.load_generator)}
    with affinity(plan.cpus.load_generator if plan.cpus else None):
        locust = LocustProcesses.headless(scenario, folder, engine.base_url, plan.workers, plan.master)
    interrupts.on_hard_exit.insert(0, locust.kill_at_once)
    interrupts.on_first = locust.ask_to_stop
    if interrupts.interrupted:
        locust.ask_to_stop()
    telemetry.start()
    try:
        with RunProgress(console, load.warmup_s, load.duration_s,
                         load.warmup_max_s if load.warmup_s is None else None,
                         watch.progress_interval_s if watch else None) as progress:
            interrupts.on_first = lambda: (progress.stopping(), locust.ask_to_stop())
            if watch is not None:
                watch.begin(folder, scenario)
            RunMonitor(locust, engine, telemetry, manifest, outcome, progress, watch).follow()
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
    if watch is not None:
        watch.over(outcome)
    return outcome


def interruption(interrupts: Interrupts) -> Abort:
    """The first signal as a reason why the run ended early."""
    return Abort("interrupted", Exit.INTERRUPTED, f"the run was interrupted by {interrupts.first_name}")


def _note_lost_workers(manifest: dict[str, Any]) -> None:
    """A worker that vanished took its last rows with it, which no figure shows."""
    lost = (manifest["counts"] or {}).get("workers_lost", 0)
    if lost:
        sentence = (f"{lost} of {manifest['load']['workers']} load-generating processes were lost during the run, "
                    "with the rows that they had not handed over")
        reason = {"rule": "workers_lost", "verdict": "INVALID", "value": lost, "limit": 0, "unit": "",
                  "sentence": sentence}
        manifest["validity"] = {"verdict": "INVALID", "reasons": [reason]}
