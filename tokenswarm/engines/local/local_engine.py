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

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.engines.install_paths import places
from tokenswarm.engines.local import processes
from tokenswarm.engines.local.process_sampler import ProcessSampler
from tokenswarm.engines.spec.engine_spec import EngineSpec
from tokenswarm.engines.spec.flags import SettingsLike, command, resolve
from tokenswarm.engines.started import Progress, StartedEngine, model_and_name, tail

_KEPT_OUT = ("API_KEY",)
"""Variables that an engine has no business to see: the key of some endpoint that is to be loaded."""


class LocalEngine(StartedEngine):
    """An engine that this process started and will stop. Make one with `LocalEngine.start`."""

    runtime = "local"

    def __init__(
        self,
        description: EngineSpec,
        base_url: str,
        served_name: str,
        process: subprocess.Popen[bytes],
        guard: subprocess.Popen[bytes],
        log_path: Path,
        shm_before: Collection[str],
        api_key: str | None = None,
    ) -> None:
        super().__init__(description, base_url, served_name, log_path, api_key)
        self._process = process
        self._guard = guard
        self._shm_before = set(shm_before)
        self._over = False

    @classmethod
    def start(
        cls,
        description: EngineSpec,
        *,
        log_path: Path,
        settings: SettingsLike | None = None,
        model: str | None = None,
        served_name: str | None = None,
        port: int | None = None,
        host: str = "127.0.0.1",
        device: str | None = None,
        env: Mapping[str, str] | None = None,
        cpus: Collection[int] | None = None,
        explicit: Collection[str] = (),
        root: Path | None = None,
        api_key: str | None = None,
    ) -> LocalEngine:
        """Start the process and return at once; `wait_ready` waits until it answers.

        `model`: path or hub name; None means the tiny random model on a CPU. `port` None means any free one.
        `cpus`: the CPUs that the engine keeps to. `root`: where engines are installed. `api_key`: what to send where
        `settings` or `env` make the engine ask for a key. Raises UserError: Exit.PORT
        for a taken port, Exit.USAGE for settings that cannot be honoured or a missing model, Exit.ENGINE when the
        engine is not installed or cannot be executed.
        """
        device_name, form = description.form(device)
        found = places(description, device_name, root)
        model, served_name = model_and_name(description, device_name, model, served_name, root)
        port = processes.free_port(host) if port is None else port
        asked = settings if settings is not None else {}
        args = command(
            description,
            asked,
            model,
            port,
            device=device_name,
            host=host,
            served_name=served_name,
            bin_dir=str(found.bin_dir),
            python=str(found.python),
            explicit=explicit,
        )
        processes.need_port(host, port)
        shm_before = processes.shared_memory_names()
        layers = [description.command.env, form.env]
        if Path(model).is_dir():
            layers.append(description.command.local_model_env)
        environment = _environment(layers, env or {}, found.bin_dir)
        process = _spawn(description, args, environment, log_path, cpus)
        guard_path = Path(__file__).with_name("process_guard.py")
        guard_args = [sys.executable, "-I", "-S", str(guard_path), str(process.pid)]
        guard = subprocess.Popen(
            [*guard_args, str(description.command.stop_grace_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        engine = cls(description, f"http://{host}:{port}", served_name, process, guard, log_path, shm_before, api_key)
        engine.command = args
        engine.notes = resolve(description, asked, device_name, explicit).notes
        engine.ready_timeout_s = form.ready_timeout_s
        return engine

    def trouble(self) -> str | None:
        """That the process has ended, as the rest of a sentence; None while it runs."""
        code = self._process.poll()
        return None if code is None else f"ended with code {code}"

    @property
    def pid(self) -> int:
        """Process id of the engine's first process, which leads the group."""
        return self._process.pid

    def samplers(self) -> list[Callable[[float], list[dict[str, object]]]]:
        """Its processes' CPU and memory."""
        return [ProcessSampler(self.pid)]

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
        own = processes.shared_memory_of(process.pid for process in processes.family(self.pid))
        first = signal.Signals[f"SIG{self.description.command.stop_signal}"]
        try:
            processes.end(self._process, first, self.description.command.stop_grace_s)
        except BaseException:  # a second Ctrl-C while waiting: end it the hard way, then let the interrupt go on
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            raise
        finally:
            self._dismiss_guard()
        processes.remove_shared_memory(own, self._shm_before, self.description.shared_memory)

    def kill(self) -> None:
        """End the engine at once, with SIGKILL and without waiting: for a second Ctrl-C."""
        self._over = True
        for process in [*processes.family(self.pid), *processes.group_members(self.pid)]:
            with contextlib.suppress(psutil.Error):
                process.kill()
        self._dismiss_guard()

    def release(self) -> None:
        """Leave the engine running when this process ends; `stop` does nothing afterwards."""
        self._over = True
        self._dismiss_guard()

    def _dismiss_guard(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._guard.communicate(b"release\n", timeout=5)


def _environment(layers: Sequence[Mapping[str, str]], given: Mapping[str, str], bin_dir: Path) -> dict[str, str]:
    """The engine's environment: the description's variables, under the user's own, under those of this call."""
    environment = {key: value for layer in layers for key, value in layer.items()}
    environment |= {key: value for key, value in os.environ.items() if key not in _KEPT_OUT}
    environment["PATH"] = f"{bin_dir}{os.pathsep}{environment.get('PATH', os.defpath)}"
    return environment | dict(given)


def _spawn(
    description: EngineSpec,
    args: list[str],
    environment: Mapping[str, str],
    log_path: Path,
    cpus: Collection[int] | None,
) -> subprocess.Popen[bytes]:
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("ab") as log, processes.affinity(cpus):
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
                Exit.ENGINE, f"{description.title} could not be started ({args[0]}: {error.strerror})."
            ) from error


def start_local(
    description: EngineSpec,
    *,
    on_progress: Progress | None = None,
    ready_timeout_s: float | None = None,
    **options: object,
) -> LocalEngine:
    """Start an engine and wait until it is ready; whatever goes wrong, nothing stays behind.

    `options` are those of `LocalEngine.start`. Raises UserError as `start` and `wait_ready` do.
    """
    engine = LocalEngine.start(description, **options)  # type: ignore[arg-type]
    try:
        engine.wait_ready(on_progress, ready_timeout_s)
    except BaseException:
        engine.stop()
        raise
    return engine
