"""`tokenswarm ui`: an engine, and Locust with its web UI, in which people start one run after another.

The command line starts both and watches the engine during each run; Locust itself is a process of its own, which
generates no load either: its workers do.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tokenswarm.base.cpu_affinity import affinity
from tokenswarm.base.environment import PASSWORD_VARIABLE, UI_HOSTS_VARIABLE
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.signals import Interrupts
from tokenswarm.engines import known_engines, load_description
from tokenswarm.generator.new_run import make_run_folder
from tokenswarm.generator.ui_session import UiSession
from tokenswarm.run.checked_engine import CheckedEngine, checked_engine
from tokenswarm.run.engine_up import ENGINE_LOG, leave_running
from tokenswarm.run.locust_process import LOG_NAME, Leader, LocustProcesses, quoted, users_arguments
from tokenswarm.run.options import LoadOptions
from tokenswarm.run.run_plan import RunPlan, resolve
from tokenswarm.run.web_run import WebRun
from tokenswarm.scenario.loading import load_scenario, scenario_names

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_UP_S = 60.0


def run_ui(
    options: LoadOptions, web_host: str, web_port: int, console: Console, published_on: str | None = None
) -> None:
    """Serve the UI until Ctrl-C or SIGTERM, then stop what was started. Raises UserError.

    `published_on`: in a container, the address of the host at which the port is published.
    """
    reached_at, option = (published_on, "--published-on") if published_on else (web_host, "--web-host")
    if reached_at not in _LOOPBACK and not os.environ.get(PASSWORD_VARIABLE):
        raise UserError(
            Exit.USAGE,
            f"{option} {reached_at} can be reached from the network: set a password for it in "
            f"the environment variable {PASSWORD_VARIABLE}, or keep to 127.0.0.1",
        )
    _check_port(web_host, web_port)
    plan = resolve(options)
    _, folder = make_run_folder(plan.results, "ui", plan.engine_name, label=plan.label)
    with Interrupts() as interrupts, contextlib.ExitStack() as cleanup:
        cleanup.callback(_drop_if_empty, folder)
        checked = cleanup.enter_context(checked_engine(plan, folder, console, interrupts))
        checked.announce(console)
        web = _web_arguments(plan, web_host, web_port, with_login=reached_at not in _LOOPBACK)
        locust = _start_locust(checked, folder, web, [web_host, reached_at])
        interrupts.on_hard_exit.insert(0, locust.kill_at_once)
        interrupts.on_first = locust.ask_to_stop
        try:
            _announce(web_host, web_port, locust, plan, console, reached_at)
            _Watcher(checked, locust, console).follow()
        finally:
            interrupts.on_first = lambda: None
            locust.end()
        if plan.keep:
            leave_running(checked.engine, console)


def _web_arguments(plan: RunPlan, host: str, port: int, with_login: bool) -> list[str]:
    """Locust's arguments for its web UI."""
    arguments = ["--web-host", host, "--web-port", str(port)]
    if with_login:
        arguments.append("--web-login")
    if "load.duration_s" in plan.overrides:
        arguments += ["--run-time", f"{plan.scenario.load.duration_s:g}s"]
    return arguments


def _start_locust(checked: CheckedEngine, folder: Path, web: list[str], hosts: list[str]) -> LocustProcesses:
    """`hosts`: host names of the UI, besides those in UI_HOSTS."""
    plan = checked.plan
    session = _session(checked, folder)
    files = sorted({path for name in session.scenarios for path in load_scenario(name, {}).locustfile_paths})
    # The form begins with the scenario's users; the process that serves the UI generates no load.
    leader = Leader(
        files,
        checked.engine.base_url,
        [*users_arguments(plan.scenario), *web, "--loglevel", "INFO"],
        {**session.to_environment(), UI_HOSTS_VARIABLE: ",".join([*hosts, os.environ.get(UI_HOSTS_VARIABLE, "")])},
    )
    with affinity(plan.cpus.load_generator if plan.cpus else None):
        return LocustProcesses(leader, folder / LOG_NAME, plan.workers, plan.master)


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(
                Exit.PORT,
                f"the web UI cannot listen at {host}:{port} ({error.strerror}); choose another "
                "port with WEB_PORT=... (--web-port)",
            ) from None


def _session(checked: CheckedEngine, folder: Path) -> UiSession:
    """Settings that all runs share, for Locust and its start form. `folder`: has the engine's log, if there is one."""
    log = folder / ENGINE_LOG
    plan = checked.plan
    scenarios = [name for name in scenario_names() if _is_usable(name)]
    if plan.scenario_name not in scenarios:
        scenarios.insert(0, plan.scenario_name)
    titles = {name: load_description(name).title for name in known_engines() if _can_start(name)}
    return UiSession(
        engine=checked.engine.record(),
        model=checked.model,
        preflight=checked.preflight,
        scenario=plan.scenario_name,
        scenarios=scenarios,
        results=str(plan.results),
        corpus=plan.corpus_path,
        overrides=_overrides(plan, checked.preflight.chars_per_token),
        notes=list(checked.notes),
        gpus=checked.gpu_names,
        simulated=checked.engine.simulated,
        cost=checked.cost,
        engine_log=str(log) if log.is_file() else None,
        engines=list(titles),
        engine_titles=titles,
        workers=plan.workers,
        asked_model=plan.model,
    )


def _can_start(name: str) -> bool:
    """Whether an engine's description is valid and says how to start it."""
    try:
        return bool(load_description(name).forms)
    except UserError:
        return False


def _overrides(plan: RunPlan, chars_per_token: float | None) -> dict[str, str]:
    """The user's settings and the check's measurements, since runs of the UI have no check of their own."""
    measured = {} if chars_per_token is None else {"prompts.chars_per_token": str(chars_per_token)}
    return measured | dict(plan.overrides)


def _is_usable(name: str) -> bool:
    """Whether a scenario can be loaded: a broken one must not prevent offering the others."""
    try:
        load_scenario(name, {})
    except UserError:
        return False
    return True


def _announce(host: str, port: int, locust: LocustProcesses, plan: RunPlan, console: Console, reached_at: str) -> None:
    """Wait until the UI answers, and say where it is."""
    address = ("127.0.0.1" if host in ("0.0.0.0", "") else "::1" if host == "::" else host, port)
    deadline = time.monotonic() + _UP_S
    while True:
        with contextlib.suppress(OSError), socket.create_connection(address, 1.0):
            break
        if locust.leader.poll() is not None or time.monotonic() > deadline:
            raise (
                locust.failure()
                if locust.leader.poll() is not None
                else UserError(Exit.LOAD_GENERATOR, quoted("the web UI did not start.", locust.log_tail()))
            )
        time.sleep(0.1)
    shown = f"[{reached_at}]" if ":" in reached_at else reached_at
    console.print(Text.assemble("web UI: ", (f"http://{shown}:{port}", "bold"), "   (Ctrl-C ends it)"))
    if reached_at not in _LOOPBACK:
        console.print(
            f"others can reach it; they log in as tokenswarm with the password in {PASSWORD_VARIABLE}", highlight=False
        )
    if plan.master is not None:
        console.print(
            f"waiting for workers at {plan.master[0]}:{plan.master[1]}: python -m tokenswarm worker --master HOST:PORT",
            highlight=False,
        )


def _drop_if_empty(folder: Path) -> None:
    """Remove the session's folder if it has no logs."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.stat().st_size == 0:
                path.unlink()
        folder.rmdir()


class _Watcher:
    """Follows Locust: watches the engine during each run, and makes its dashboard when it has ended."""

    def __init__(self, checked: CheckedEngine, locust: LocustProcesses, console: Console) -> None:
        self._checked, self._locust, self._console = checked, locust, console
        self._reports: list[threading.Thread] = []
        self._engine_ended = False
        self._run_is_on = False

    def follow(self) -> None:
        """Until Locust ends."""
        events = self._locust.events()
        for event in events:
            if event is not None and event["event"] == "begun":
                self._follow_run(Path(str(event["folder"])), events)
            else:
                self._hear(event)
        for thread in self._reports:
            thread.join()
        failure = self._locust.failure()
        if not self._locust.asked_to_stop and self._locust.leader.returncode:
            raise failure

    def _follow_run(self, folder: Path, events: Iterator[Mapping[str, object] | None]) -> None:
        run = WebRun(self._checked, folder, self._locust)
        run.prepare()
        self._say(f"run {folder.name} ...")
        self._run_is_on = True
        try:
            if not run.measure(events, self._hear):
                return
        finally:
            self._run_is_on = False
        try:
            run.finish()
        except UserError as error:
            self._say(f"tokenswarm: {error}")
        thread = threading.Thread(target=self._report, args=(folder,))
        thread.start()
        self._reports = [*(t for t in self._reports if t.is_alive()), thread]

    def _hear(self, event: Mapping[str, object] | None) -> None:
        if event is None:
            self._look_at_engine()
            for sentence in self._locust.ended_workers("another one is started when no run is in progress"):
                self._say(f"tokenswarm: {sentence}")
            if not self._run_is_on and not self._locust.asked_to_stop:  # none are admitted during a run
                self._locust.replace_ended_workers()
        elif event["event"] == "fatal":
            self._say(str(event["sentence"]))

    def _say(self, sentence: str) -> None:
        self._console.print(sentence, highlight=False, markup=False, soft_wrap=True)

    def _look_at_engine(self) -> None:
        engine = self._checked.engine
        if not self._engine_ended and not engine.is_alive():
            self._engine_ended = True
            shown = "\n".join(f"  | {line}" for line in engine.log_tail(12))
            self._say(f"tokenswarm: {engine.title} has ended; runs will fail. Its log ends with:\n{shown}")

    def _report(self, folder: Path) -> None:
        """Make the report in a separate process, so that a run started meanwhile is followed."""
        made = subprocess.run(
            [sys.executable, "-m", "tokenswarm", "report", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, "COLUMNS": str(self._console.width)},
        )
        self._say(made.stdout.rstrip())
