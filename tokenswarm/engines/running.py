"""Engines that outlive the command which started them: `make up`, KEEP=1, and who finds them again.

An engine in a container is found through Docker. One that runs as processes of this machine is written down in a
small file beside the installed engines: its process id with the time at which it began, so that a process which got
the same id later is never taken for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.engines.adopt import adopt, probe
from tokenswarm.engines.engine import Engine
from tokenswarm.engines.install_paths import default_root
from tokenswarm.engines.local.local_engine import LocalEngine, processes
from tokenswarm.engines.spec.engine_spec import EngineSpec, Scalar, load_description
from tokenswarm.engines.started import tail

_FOLDER = "running"
_STARTS_TOLERANCE_S = 2.0
_LOCAL, _DOCKER = "local", "docker"


@dataclass(frozen=True, slots=True)
class Running:
    """An engine that runs on this machine, whichever command started it."""

    engine: str
    runtime: str
    """local | docker."""
    base_url: str | None
    model: str
    started_at: float
    """Unix seconds; 0 where it is not known."""
    id: str
    """Process id, or container id."""
    log_path: str | None = None
    command: tuple[str, ...] = ()


class TakenEngine(Engine):
    """A running engine that this command took over: it is watched like one's own, and left running."""

    def __init__(self, running: Running, adopted: Engine) -> None:
        super().__init__(running.base_url, adopted.description, adopted._api_key)
        self.runtime = running.runtime
        self.model = running.model
        self.command = list(running.command)
        self._running = running

    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._running.runtime != _LOCAL or _process(self._running) is not None

    def log_tail(self, lines: int = 20) -> list[str]:
        """The last lines of its log."""
        return list(log_lines(self._running, lines))


# ---- written down

def _file(name: str, root: Path | None = None) -> Path:
    return (root or default_root()) / _FOLDER / f"{name}.json"


def new_log(name: str, root: Path | None = None) -> Path:
    """Where the log of an engine goes that no run folder owns; the former one is gone."""
    path = _file(name, root).with_suffix(".log")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    return path


def keep(engine: LocalEngine, root: Path | None = None) -> Running:
    """Let an engine outlive this process, and write down how to find it. Raises UserError(RESULTS)."""
    running = Running(engine.name, _LOCAL, engine.base_url, engine.model, psutil.Process(engine.pid).create_time(),
                      str(engine.pid), str(engine.log_path.resolve()), tuple(engine.command))
    path = _file(engine.name, root)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(running)))
    except OSError as error:
        raise UserError(Exit.RESULTS, f"{path} cannot be written, so the engine could not be found again: "
                                      f"{error.strerror or error}") from None
    engine.release()
    return running


def _read(path: Path) -> Running | None:
    try:
        told = json.loads(path.read_text())
        running = Running(**{**told, "command": tuple(told.get("command", ()))})
    except (OSError, ValueError, TypeError):
        return None
    return running


def _process(running: Running) -> psutil.Process | None:
    with contextlib.suppress(psutil.Error, ValueError):
        process = psutil.Process(int(running.id))
        if (abs(process.create_time() - running.started_at) < _STARTS_TOLERANCE_S
                and process.status() != psutil.STATUS_ZOMBIE):
            return process
    return None


# ---- finding

def find(engine: str | None = None, *, in_containers: bool = True, root: Path | None = None) -> list[Running]:
    """Engines that run: those written down, then those in containers. What has ended is forgotten."""
    found = []
    folder = (root or default_root()) / _FOLDER
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        running = _read(path)
        if running is None or _process(running) is None:
            path.unlink(missing_ok=True)
        elif engine in (None, running.engine):
            found.append(running)
    return found + (list(_containers(engine)) if in_containers else [])


def _containers(engine: str | None) -> Iterator[Running]:
    from tokenswarm.engines.docker import containers

    try:
        listed = containers.find_running(engine)
    except UserError:
        return  # no Docker engine: then nothing runs in one
    for one in listed:
        yield Running(one.engine, _DOCKER, one.base_url, one.model, 0.0, one.id, None, ())


def take(running: Running, api_key: str | None = None) -> Engine:
    """A running engine, ready to be loaded. Raises UserError as `adopt` does."""
    if running.runtime == _DOCKER:
        from tokenswarm.engines.docker import containers
        from tokenswarm.engines.docker.docker_engine import DockerEngine

        found = next(one for one in containers.find_running(running.engine) if one.id == running.id)
        log_path = new_log(f"{running.engine}-docker")
        return DockerEngine.attach(found, load_description(running.engine), log_path, api_key)
    return TakenEngine(running, adopt(running.base_url, api_key))


def find_matching(description: EngineSpec, model: str | None, wanted: dict[str, Scalar], api_key: str | None, *,
            in_containers: bool = True) -> Engine | None:
    """The engine of this kind that runs here already, left running by `up`, by KEEP=1 or by somebody else at its
    default port; None if there is none.

    Raises UserError(ENGINE) if what runs does not fit: another model, or another configuration than wanted.
    """
    found = find(description.name, in_containers=in_containers and not description.simulated)
    if found:
        engine = take(found[0], api_key)
    elif not description.simulated and not processes.port_is_free("127.0.0.1", description.default_port):
        url = f"http://127.0.0.1:{description.default_port}"
        if (there := probe(url, api_key)) is None or there.name != description.name:
            return None
        engine = adopt(url, api_key)
    else:
        return None
    wrong = mismatches(wanted, engine.effective)
    served = found[0].model if found else None
    names = {model, Path(model).name} if model else set()
    if served is not None and names and served not in names:
        wrong.insert(0, f"its model is {served}, wanted {model}")
    if wrong:
        raise UserError(Exit.ENGINE, f"{description.title} runs already at {engine.base_url}, but not as wanted: "
                                     f"{'; '.join(wrong)}. Stop it (make down ENGINE={description.name}), or load it "
                                     f"as it is with HOST={engine.base_url}")
    return engine


def mismatches(wanted: dict[str, Scalar], effective: dict[str, Scalar]) -> list[str]:
    """Where a running engine's configuration is not what is wanted: sentences' ends such as `prefix_cache is false,
    wanted true`. What an engine does not tell, and `auto`, cannot be judged."""
    found = []
    for name, value in wanted.items():
        told = effective.get(name)
        if told is None or "auto" in (value, told) or _same(value, told):
            continue
        found.append(f"{name} is {_word(told)}, wanted {_word(value)}")
    return found


def _same(wanted: Scalar, told: Scalar) -> bool:
    if isinstance(wanted, bool) or isinstance(told, bool):
        return bool(wanted) == bool(told)
    if isinstance(wanted, int | float) and isinstance(told, int | float):
        return abs(wanted - told) <= 1e-6 * max(abs(wanted), abs(told))
    return str(wanted) == str(told)


def _word(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


# ---- the rest of its life

def stop(running: Running, root: Path | None = None) -> None:
    """End an engine with everything that it started. Raises UserError(ENGINE) if a container cannot be stopped."""
    description = load_description(running.engine)
    if running.runtime == _DOCKER:
        from tokenswarm.engines.docker import containers

        containers.stop(running.id, description.command.stop_grace_s)
        return
    process = _process(running)
    if process is not None:
        _end(process, description)
    _file(running.engine, root).unlink(missing_ok=True)


def _end(process: psutil.Process, description: EngineSpec) -> None:
    """As `LocalEngine.stop`, of a process that is nobody's child here."""
    relatives = processes.family(process.pid)
    own = processes.shared_memory_of(relative.pid for relative in relatives)
    with contextlib.suppress(psutil.Error):
        process.send_signal(signal.Signals[f"SIG{description.command.stop_signal}"])
        process.wait(description.command.stop_grace_s)
    for relative in {one.pid: one for one in [*relatives, *processes.group_members(process.pid)]}.values():
        with contextlib.suppress(psutil.Error):
            relative.kill()
    psutil.wait_procs(relatives, timeout=10)
    processes.remove_shared_memory(own, processes.shared_memory_names(), description.shared_memory)


def log_lines(running: Running, lines: int, follow: bool = False) -> Iterator[str]:
    """The last lines of its log, and with `follow` those to come while it runs."""
    if running.runtime == _DOCKER:
        from tokenswarm.engines.docker import containers

        yield from containers.logs(running.id, lines, follow=follow)
        return
    path = Path(running.log_path or os.devnull)
    yield from tail(path, lines)
    if not follow:
        return
    with path.open(errors="replace") as file:
        file.seek(0, os.SEEK_END)
        while True:
            line = file.readline()
            if line:
                yield line.rstrip("\n")
            elif _process(running) is None:
                return
            else:
                time.sleep(0.2)
