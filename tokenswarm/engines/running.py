"""Finds, checks, takes over and stops engines that are already running here, left by `engine up`, KEEP=1 or someone
else.

An engine in a container is found through Docker; one that runs as processes of this machine is written down (see
`kept`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.lookup import ENGINES
from tokenswarm.base.ports import port_is_free
from tokenswarm.base.presence import present
from tokenswarm.engines import shared_memory
from tokenswarm.engines.adopt import adopt, probe
from tokenswarm.engines.engine_protocol import Engine
from tokenswarm.engines.kept import DOCKER, LOCAL, Running, forget, new_log, process_of, written_down
from tokenswarm.engines.local import processes
from tokenswarm.engines.spec.engine_spec import EngineSpec, Scalar, load_description
from tokenswarm.engines.started import tail

_STOP_GRACE_S = 30.0
"""How long an engine without a description may take to end."""


class TakenEngine(Engine):
    """A running engine that this command took over: it is monitored like one that this command started, and left
    running."""

    def __init__(self, running: Running, adopted: Engine) -> None:
        super().__init__(present(running.base_url), adopted.description, adopted.api_key)
        self.runtime = running.runtime
        self.model = running.model
        self.version, self.effective = adopted.version, adopted.effective
        self.command = list(running.command)
        self._running = running

    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._running.runtime != LOCAL or process_of(self._running) is not None

    def process_ids(self) -> frozenset[int] | None:
        """Those of a process of this machine and all that it started."""
        process = process_of(self._running) if self._running.runtime == LOCAL else None
        return None if process is None else frozenset(each.pid for each in processes.family(process.pid))

    def log_tail(self, lines: int = 20) -> list[str]:
        """The last lines of its log."""
        return list(log_lines(self._running, lines))


# ---- finding


def find(engine: str | None = None, *, in_containers: bool = True, root: Path | None = None) -> list[Running]:
    """Running engines: recorded processes first, then containers. Records of ended engines are removed. `engine`: a
    name, or the path of a description. Raises UserError (USAGE) for a path without one."""
    if engine is not None and ENGINES.is_path(engine):
        engine = load_description(engine).name
    local = [running for running in written_down(root) if engine in (None, running.engine)]
    return local + (list(_containers(engine)) if in_containers else [])


def _containers(engine: str | None) -> Iterator[Running]:
    from tokenswarm.engines.docker import containers

    try:
        listed = containers.find_running(engine)
    except UserError:
        return  # no Docker engine: then nothing runs in one
    for container in listed:
        yield Running(container.engine, DOCKER, container.base_url, container.model, 0.0, container.id)


def take(running: Running, api_key: str | None = None, description: EngineSpec | None = None) -> Engine:
    """A running engine, ready to be loaded. `description`: where it was read already. Raises UserError as `adopt`
    does."""
    description = description or load_description(running.engine)
    if running.runtime == DOCKER:
        from tokenswarm.engines.docker import containers
        from tokenswarm.engines.docker.docker_engine import DockerEngine

        container = next(each for each in containers.find_running(running.engine) if each.id == running.id)
        log_path = new_log(f"{running.engine}-docker")
        return DockerEngine.attach(container, description, log_path, api_key)
    return TakenEngine(running, adopt(present(running.base_url), api_key, description=description))


def find_matching(
    description: EngineSpec,
    model: str | None,
    wanted: Mapping[str, Scalar],
    api_key: str | None,
    *,
    in_containers: bool = True,
) -> Engine | None:
    """The engine of this kind that is already running here, left running by `up`, by KEEP=1 or by somebody else at its
    default port; None if there is none.

    Raises UserError(ENGINE) if what runs does not fit: another model, or another configuration than wanted.
    """
    candidates = find(description.name, in_containers=in_containers and not description.simulated)
    if candidates:
        engine = take(candidates[0], api_key, description)
    elif not description.simulated and not port_is_free("127.0.0.1", description.default_port):
        url = f"http://127.0.0.1:{description.default_port}"
        if (there := probe(url, api_key)) is None or there.name != description.name:
            return None
        engine = adopt(url, api_key, description=there)
    else:
        return None
    wrong = mismatches(wanted, engine.effective)
    served = candidates[0].model if candidates else None
    names = {model, Path(model).name} if model else set()
    if served is not None and names and served not in names:
        wrong.insert(0, f"its model is {served}, wanted {model}")
    if wrong:
        raise UserError(
            Exit.ENGINE,
            f"{description.title} is already running at {engine.base_url}, but not as wanted: "
            f"{'; '.join(wrong)}. Stop it (make down ENGINE={description.name}), or load it "
            f"as it is with HOST={engine.base_url}",
        )
    return engine


def mismatches(wanted: Mapping[str, Scalar], effective: dict[str, Scalar]) -> list[str]:
    """Where a running engine's configuration is not what is wanted: sentences' ends such as `prefix_cache is false,
    wanted true`. What an engine does not tell, and `auto`, cannot be judged."""
    differences = []
    for name, value in wanted.items():
        actual = effective.get(name)
        if actual is None or "auto" in (value, actual) or _same(value, actual):
            continue
        differences.append(f"{name} is {_word(actual)}, wanted {_word(value)}")
    return differences


def _same(wanted: Scalar, actual: Scalar) -> bool:
    if isinstance(wanted, bool) or isinstance(actual, bool):
        return bool(wanted) == bool(actual)
    if isinstance(wanted, int | float) and isinstance(actual, int | float):
        return abs(wanted - actual) <= 1e-6 * max(abs(wanted), abs(actual))
    return str(wanted) == str(actual)


def _word(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


# ---- the rest of its life


def stop(running: Running, root: Path | None = None) -> None:
    """End an engine with everything that it started. Raises UserError(ENGINE) if a container cannot be stopped."""
    description = _described(running)
    if running.runtime == DOCKER:
        from tokenswarm.engines.docker import containers

        containers.stop(running.id, description.command.stop_grace_s if description else _STOP_GRACE_S)
        return
    process = process_of(running)
    if process is not None:
        _end(process, description)
    forget(running.engine, root)


def _described(running: Running) -> EngineSpec | None:
    """Its description; None where it was started from one in a folder that is not looked into."""
    with contextlib.suppress(UserError):
        return load_description(running.engine)
    return None


def _end(process: psutil.Process, description: EngineSpec | None) -> None:
    """As `LocalEngine.stop`, of a process that this one did not start."""
    relatives = processes.family(process.pid)
    own = shared_memory.shared_memory_of(relative.pid for relative in relatives)
    with contextlib.suppress(psutil.Error):
        process.send_signal(signal.Signals[f"SIG{description.command.stop_signal if description else 'TERM'}"])
        process.wait(description.command.stop_grace_s if description else _STOP_GRACE_S)
    for relative in {each.pid: each for each in [*relatives, *processes.group_members(process.pid)]}.values():
        with contextlib.suppress(psutil.Error):
            relative.kill()
    psutil.wait_procs(relatives, timeout=10)
    if description is not None:
        shared_memory.remove_shared_memory(own, shared_memory.shared_memory_names(), description.shared_memory)


def log_lines(running: Running, lines: int, follow: bool = False) -> Iterator[str]:
    """The last lines of its log, and with `follow` those to come while it runs."""
    if running.runtime == DOCKER:
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
            elif process_of(running) is None:
                return
            else:
                time.sleep(0.2)
