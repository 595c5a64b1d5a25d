"""The life of an engine as a process group on this machine: start, ready, stop."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import psutil

from tokenswarm.base import ports
from tokenswarm.base.cpu_affinity import affinity
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.engines import shared_memory
from tokenswarm.engines.install_paths import places
from tokenswarm.engines.kept import LOCAL, Running, write_down
from tokenswarm.engines.local import processes
from tokenswarm.engines.local.process_sampler import ProcessSampler
from tokenswarm.engines.spec.flags import Placement, command
from tokenswarm.engines.start_request import Progress, StartRequest
from tokenswarm.engines.started import StartedEngine, tail

_HERE = "127.0.0.1"
_KEPT_OUT = ("API_KEY",)
"""Variables withheld from the engine: API keys of endpoints under load."""


class LocalEngine(StartedEngine):
    """An engine that this process started and will stop. Make one with `LocalEngine.start`."""

    runtime = "local"

    def __init__(
        self,
        request: StartRequest,
        base_url: str,
        served_name: str,
        process: subprocess.Popen[bytes],
        guard: subprocess.Popen[bytes],
        shm_before: Collection[str],
    ) -> None:
        super().__init__(request.description, base_url, served_name, request.log_path, request.api_key)
        self._process = process
        self._guard = guard
        self._root = request.root
        self._shm_before = set(shm_before)
        self._over = self._released = False

    @classmethod
    def start(cls, request: StartRequest) -> LocalEngine:
        """Start the process and return at once; `wait_ready` waits until it answers.

        Raises UserError: Exit.PORT for a taken port, Exit.USAGE for settings that cannot be honoured or a missing
        model, Exit.ENGINE when the engine is not installed or cannot be executed.
        """
        description = request.description
        device, profile = request.device_profile
        programs = places(description, device, request.root)
        model, served_name = request.model_and_name()
        host = request.host or _HERE
        port = ports.free_port(host) if request.port is None else request.port
        placement = Placement(model, port, host, served_name, str(programs.bin_dir), str(programs.python))
        args = command(description, request.settings, placement, device=device, explicit=request.explicit)
        ports.need_port(host, port)
        shm_before = shared_memory.shared_memory_names()
        layers = [description.command.env, profile.env]
        if Path(model).is_dir():
            layers.append(description.command.local_model_env)
        process = _spawn(request, args, _environment(layers, request.env, programs.bin_dir))
        guard = _guard(process.pid, description.command.stop_grace_s)
        engine = cls(request, f"http://{host}:{port}", served_name, process, guard, shm_before)
        engine.command = args
        engine.notes = request.resolve_settings().notes
        engine.ready_timeout_s = request.ready_timeout_s or profile.ready_timeout_s
        return engine

    def trouble(self) -> str | None:
        """Why the process is not usable (it has ended), as the rest of a sentence; None while it runs."""
        code = self._process.poll()
        return None if code is None else f"ended with code {code}"

    @property
    def pid(self) -> int:
        """Process id of the engine's first process, which leads the group."""
        return self._process.pid

    def samplers(self) -> list[Callable[[float], list[dict[str, object]]]]:
        """Its processes' CPU and memory."""
        return [ProcessSampler(self.pid)]

    def process_ids(self) -> frozenset[int] | None:
        """Those of the engine's first process and all that it started."""
        return frozenset(process.pid for process in processes.family(self.pid))

    def is_alive(self) -> bool:
        """Whether the engine's first process still runs."""
        return self._process.poll() is None

    def log_tail(self, lines: int = 20) -> list[str]:
        """The last lines of the engine's log."""
        return tail(self.log_path, lines)

    def stop(self) -> None:
        """End the engine with everything that it started, and remove the shared memory that it left. Never raises;
        the second call does nothing."""
        if self._over:
            return
        self._over = True
        own = shared_memory.shared_memory_of(process.pid for process in processes.family(self.pid))
        first = signal.Signals[f"SIG{self.description.command.stop_signal}"]
        try:
            processes.end(self._process, first, self.description.command.stop_grace_s)
        except BaseException:  # a second Ctrl-C while waiting: end it the hard way, then let the interrupt go on
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            raise
        finally:
            self._dismiss_guard()
        shared_memory.remove_shared_memory(own, self._shm_before, self.description.shared_memory)

    def kill(self) -> None:
        """End the engine at once, with SIGKILL and without waiting: for a second Ctrl-C."""
        if self._released:
            return
        self._over = True
        for process in [*processes.family(self.pid), *processes.group_members(self.pid)]:
            with contextlib.suppress(psutil.Error):
                process.kill()
        self._dismiss_guard()

    def release(self) -> None:
        """Leave the engine running when this process ends; `stop` and `kill` do nothing afterwards."""
        self._over = self._released = True
        self._dismiss_guard()

    def keep(self) -> bool:
        """Write down how to find it, and release it. Raises UserError(RESULTS)."""
        began = psutil.Process(self.pid).create_time()
        write_down(
            Running(
                self.name,
                LOCAL,
                self.base_url,
                self.model,
                began,
                str(self.pid),
                str(self.log_path.resolve()),
                tuple(self.command),
            ),
            self._root,
        )
        self.release()
        return True

    def _dismiss_guard(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._guard.communicate(b"release\n", timeout=5)


def _environment(layers: Sequence[Mapping[str, str]], variables: Mapping[str, str], bin_dir: Path) -> dict[str, str]:
    """The engine's environment: the description's variables, under the user's own, under those of this call."""
    environment = {key: value for layer in layers for key, value in layer.items()}
    environment |= {key: value for key, value in os.environ.items() if key not in _KEPT_OUT}
    environment["PATH"] = f"{bin_dir}{os.pathsep}{environment.get('PATH', os.defpath)}"
    return environment | dict(variables)


def _spawn(request: StartRequest, args: list[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    request.log_path.parent.mkdir(parents=True, exist_ok=True)
    with request.log_path.open("ab") as log, affinity(request.cpus):
        log.write(f"$ {shlex.join(args)}\n".encode())
        log.flush()
        try:
            # A session of its own: Ctrl-C in the terminal must not reach the engine before the load has ended.
            return subprocess.Popen(
                args,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,
            )
        except OSError as error:
            raise UserError(
                Exit.ENGINE, f"{request.description.title} could not be started ({args[0]}: {error.strerror})."
            ) from error


def _guard(group: int, grace_s: float) -> subprocess.Popen[bytes]:
    """Start a process that ends the engine if this one is killed."""
    path = Path(__file__).with_name("process_guard.py")
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(path), str(group), str(grace_s)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def start_local(request: StartRequest, on_progress: Progress | None = None) -> LocalEngine:
    """Start an engine and wait until it is ready; on failure nothing is left behind.

    Raises UserError as `LocalEngine.start` and `wait_ready` do.
    """
    engine = LocalEngine.start(request)
    try:
        engine.wait_ready(on_progress)
    except BaseException:
        engine.stop()
        raise
    return engine
