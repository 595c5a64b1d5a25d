"""`tokenswarm ui`: an engine, and Locust with its web UI, in which people start one run after another.

The command line starts both and watches the engine during each run; Locust itself is a process of its own, which
generates no load either: its workers do.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from tokenswarm.base.cpu_affinity import affinity
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.signals import Interrupts
from tokenswarm.contract.tables import MANIFEST_JSON
from tokenswarm.engines import Engine, GpuSampler, Telemetry
from tokenswarm.engines.cache_reset import reset_cache, reset_note
from tokenswarm.generator.new_run import make_run_folder, write_manifest
from tokenswarm.generator.ui_session import Session
from tokenswarm.run.engine_up import bring_up, leave_running
from tokenswarm.run.life import sdk_sentence
from tokenswarm.run.locust_process import LOG_NAME, LocustProcesses
from tokenswarm.run.options import EXTERNAL, LoadOptions
from tokenswarm.run.preflight import preflight
from tokenswarm.run.price import price
from tokenswarm.run.run_plan import RunPlan, resolve
from tokenswarm.scenario.model import load_scenario, scenario_names

PASSWORD_VARIABLE = "UI_PASSWORD"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_UP_S = 60.0


def run_ui(options: LoadOptions, web_host: str, web_port: int, console: Console,
           published_on: str | None = None) -> None:
    """Serve the UI until Ctrl-C or SIGTERM, then stop what was started. Raises UserError.

    `published_on`: in a container, the address of the host at which the port is published.
    """
    reached_at, option = (published_on, "--published-on") if published_on else (web_host, "--web-host")
    if reached_at not in _LOOPBACK and not os.environ.get(PASSWORD_VARIABLE):
        raise UserError(Exit.USAGE, f"{option} {reached_at} lets others on the network in: set a password for them in "
                                    f"the environment variable {PASSWORD_VARIABLE}, or keep to 127.0.0.1")
    _check_port(web_host, web_port)
    plan = resolve(options)
    _, folder = make_run_folder(plan.results, "ui", plan.engine_name)
    with Interrupts() as interrupts, contextlib.ExitStack() as cleanup:
        cleanup.callback(_drop_if_empty, folder)
        engine = bring_up(plan, folder, console)
        cleanup.callback(engine.stop)
        interrupts.on_hard_exit.append(engine.kill)
        session = _session(plan, engine)
        console.print(f"[bold]{engine.title}[/] {engine.version or ''}  model {session.model}  {engine.base_url}",
                      highlight=False)
        console.print(sdk_sentence(session.preflight), highlight=False)
        web = ["--web-host", web_host, "--web-port", str(web_port)]
        if reached_at not in _LOOPBACK:
            web.append("--web-login")
        if "load.duration_s" in plan.overrides:
            web += ["--run-time", f"{plan.scenario.load.duration_s:g}s"]
        files = sorted({load_scenario(name, {}).locustfile_path for name in session.scenarios})
        with affinity(plan.cpus.load_generator if plan.cpus else None):
            locust = LocustProcesses.with_ui(plan.scenario, files, session.to_environment(), folder / LOG_NAME,
                                             engine.base_url, plan.workers, plan.master, web)
        interrupts.on_hard_exit.insert(0, locust.kill_at_once)
        interrupts.on_first = locust.ask_to_stop
        try:
            _announce(web_host, web_port, locust, plan, console, reached_at)
            _Watcher(engine, locust, plan, console).follow()
        finally:
            interrupts.on_first = lambda: None
            locust.end()
        if plan.keep:
            leave_running(engine, console)


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(Exit.PORT, f"the web UI cannot listen at {host}:{port} ({error.strerror}); choose another "
                                       "port with WEB_PORT=... (--web-port)") from None


def _session(plan: RunPlan, engine: Engine) -> Session:
    """Check the endpoint and describe what all runs share."""
    checked = preflight(engine.base_url, engine.model or plan.model, plan.api_key)
    gpus = GpuSampler.open(only=plan.visible_gpus) if engine.runtime != EXTERNAL else None
    names = gpus.names if gpus else []
    notes = list(engine.notes)
    if plan.engine_on_this_cpu:
        notes.append(f"{engine.title} runs on a CPU here: its speed says nothing about a GPU")
    scenarios = scenario_names()
    if plan.scenario_name not in scenarios:
        scenarios.insert(0, plan.scenario_name)
    return Session(
        engine=engine.manifest(), model=checked["model"], preflight=checked, scenario=plan.scenario_name,
        scenarios=scenarios, results=str(plan.results), corpus=plan.corpus_path, overrides=dict(plan.overrides),
        notes=notes, gpus=names, simulated=engine.simulated,
        cost=price(plan, engine, names))


def _announce(host: str, port: int, locust: LocustProcesses, plan: RunPlan, console: Console,
              reached_at: str) -> None:
    """Wait until the UI answers, and say where it is."""
    address = ("127.0.0.1" if host in ("0.0.0.0", "") else "::1" if host == "::" else host, port)
    deadline = time.monotonic() + _UP_S
    while True:
        with contextlib.suppress(OSError), socket.create_connection(address, 1.0):
            break
        if locust.leader.poll() is not None or time.monotonic() > deadline:
            shown = "\n".join(f"  | {line}" for line in locust.log_tail())
            raise UserError(Exit.LOAD_GENERATOR, f"the web UI did not start. Locust said:\n{shown}")
        time.sleep(0.1)
    shown = f"[{reached_at}]" if ":" in reached_at else reached_at
    console.print(f"web UI: [bold]http://{shown}:{port}[/]   (Ctrl-C ends it)", highlight=False)
    if reached_at not in _LOOPBACK:
        console.print(f"others can reach it; they log in as tokenswarm with the password in {PASSWORD_VARIABLE}",
                      highlight=False)
    if plan.master is not None:
        console.print(f"waiting for workers at {plan.master[0]}:{plan.master[1]}: "
                      "python -m tokenswarm worker --master HOST:PORT", highlight=False)


def _drop_if_empty(folder: Path) -> None:
    """The session's own folder holds logs; without any it tells nobody anything."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.stat().st_size == 0:
                path.unlink()
        folder.rmdir()


class _Watcher:
    """Watches the engine during each run, and makes its dashboard when it has ended."""

    def __init__(self, engine: Engine, locust: LocustProcesses, plan: RunPlan, console: Console) -> None:
        self._engine, self._locust, self._console = engine, locust, console
        self._gpus = GpuSampler.open(only=plan.visible_gpus) if engine.runtime != EXTERNAL else None
        self._telemetry: Telemetry | None = None
        self._folder: Path | None = None
        self._reset: dict[str, Any] | None = None
        self._reports: list[threading.Thread] = []
        self._engine_ended = False

    def follow(self) -> None:
        """Until Locust ends."""
        hear: dict[str, Callable[[dict[str, Any]], None]] = {
            "begun": self._begun, "phase": self._phase, "done": self._done, "dropped": self._dropped,
            "fatal": lambda event: self._say(event["sentence"])}
        for event in self._locust.events():
            if event is None:
                self._look_at_engine()
            elif event["event"] in hear:
                hear[event["event"]](event)
        if self._telemetry is not None:  # Locust died in the middle of a run
            self._telemetry.stop()
        for thread in self._reports:
            thread.join()

    def _say(self, sentence: str) -> None:
        self._console.print(sentence, highlight=False, markup=False, soft_wrap=True)

    def _look_at_engine(self) -> None:
        if not self._engine_ended and not self._engine.is_alive():
            self._engine_ended = True
            shown = "\n".join(f"  | {line}" for line in self._engine.log_tail(12))
            self._say(f"tokenswarm: {self._engine.title} has ended; runs will fail. Its log ends with:\n{shown}")

    def _begun(self, event: dict[str, Any]) -> None:
        """A run begins: a cold cache, then somebody who watches."""
        self._folder = Path(event["folder"])
        wanted = self._manifest()["scenario"]["values"]["load"]["reset_cache"]
        self._reset = reset_cache(self._engine, wanted)
        self._telemetry = Telemetry(self._engine, self._folder, gpus=self._gpus, samplers=self._engine.samplers(),
                                    on_sample=lambda at, values: self._locust.tell("engine", at=at, values=values))
        self._telemetry.start()
        self._locust.tell("ready")
        self._say(f"run {self._folder.name} ...")

    def _phase(self, event: dict[str, Any]) -> None:
        if self._telemetry is not None and event["name"] == "measure":
            self._telemetry.mark("start", event["measure_start"])

    def _dropped(self, event: dict[str, Any]) -> None:
        """A run was stopped before it had sent anything."""
        if self._telemetry is not None:
            self._telemetry.stop()
            self._telemetry = None

    def _done(self, event: dict[str, Any]) -> None:
        """A run has ended: complete its run.json, make its dashboard."""
        telemetry, folder = self._telemetry, self._folder
        if telemetry is None or folder is None:
            return
        telemetry.mark("end", time.time())
        telemetry.stop()
        self._telemetry = None
        manifest = self._manifest()
        wanted = manifest["scenario"]["values"]["load"]["reset_cache"]
        fresh = manifest["scenario"]["values"]["prompts"]["salt"] == "run"
        note = reset_note(self._reset, wanted, manifest["salt"], fresh=fresh)
        manifest["notes"] += [note] if note else []
        manifest |= {"cache_reset": self._reset, "telemetry": telemetry.facts(),
                     "server_latency": telemetry.server_latency()}
        try:
            write_manifest(folder, manifest)
        except UserError as error:
            self._say(f"tokenswarm: {error}")
        thread = threading.Thread(target=self._report, args=(folder,))
        thread.start()
        self._reports = [*(t for t in self._reports if t.is_alive()), thread]

    def _manifest(self) -> dict[str, Any]:
        return json.loads((self._folder / MANIFEST_JSON).read_text("utf-8"))

    def _report(self, folder: Path) -> None:
        """In a process of its own, so that a run that is started meanwhile has someone who listens."""
        made = subprocess.run([sys.executable, "-m", "tokenswarm", "report", str(folder)], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
                              env={**os.environ, "COLUMNS": str(self._console.width)})
        self._say(made.stdout.rstrip())
