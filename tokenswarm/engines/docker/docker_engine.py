"""The life of an engine in a container of this machine: image, start, ready, stop."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.masking import masked
from tokenswarm.engines.docker import compose, containers
from tokenswarm.engines.docker import host as docker_host
from tokenswarm.engines.docker.compose import MODEL_LABEL, START_LABEL, Start
from tokenswarm.engines.docker.container_sampler import ContainerSampler
from tokenswarm.engines.docker.failures import failure
from tokenswarm.engines.local import processes
from tokenswarm.engines.spec.engine_spec import EngineSpec
from tokenswarm.engines.spec.flags import SettingsLike, command, resolve
from tokenswarm.engines.started import Progress, StartedEngine, lines_of, model_and_name

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

_SECRETS = ("HF_TOKEN",)
"""Variables that reach the engine through its environment and must not stand in what is kept of its log."""
_LOG_LINES_KEPT = 50_000
_EVERYWHERE = "0.0.0.0"
_LOOK_S = 1.0
"""Docker is asked at most this often how a container is."""


class DockerEngine(StartedEngine):
    """An engine in a container. `owned`: this process started it and stops it; make one with `DockerEngine.start`, or
    take one that runs with `DockerEngine.attach`."""

    runtime = "docker"
    poll_s = 0.5

    def __init__(self, description: EngineSpec, container: Container, base_url: str, served_name: str, log_path: Path,
                 guard: subprocess.Popen[bytes] | None, api_key: str | None = None) -> None:
        super().__init__(description, base_url, served_name, log_path, api_key)
        self.container = container
        self.owned = guard is not None
        self._guard = guard
        self._over = False
        self._looked_at = time.monotonic()
        self._shm_before = processes.shared_memory_names()
        self._image: str = container.attrs["Config"]["Image"]
        self._digest = containers.digest(container)
        self._gone = False

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
        host: str | None = None,
        device: str | None = None,
        env: Mapping[str, str] | None = None,
        cpus: Collection[int] | None = None,
        explicit: Collection[str] = (),
        root: Path | None = None,
        api_key: str | None = None,
        gpus: str | None = None,
        image: str | None = None,
        on_progress: Progress | None = None,
    ) -> DockerEngine:
        """Fetch the image where it is missing, start the container and return; `wait_ready` waits until it answers.

        As `LocalEngine.start`, and: `host` is the address on which the port is published (None = BIND of the
        environment, or 127.0.0.1), `gpus` are indices ("0,1"; None = GPUS of the environment, or all), `image` takes
        the place of the described one.
        Raises UserError: Exit.PORT for a taken port, Exit.USAGE for settings that cannot be honoured, Exit.ENGINE with
        the cause for whatever Docker cannot do. Nothing stays behind then, nor after an interrupt.
        """
        device_name, form = description.form(device)
        host = compose.bind_address(host, os.environ)
        client = docker_host.connect()
        docker_host.need_compose(os.environ)
        project = containers.project()
        _make_room(client, description, project)
        model, name = model_and_name(description, device_name, model, served_name, root)
        asked = settings if settings is not None else {}
        inside, mounts = compose.model_place(model, Path(model).is_dir())
        port = processes.free_port(host) if port is None else port
        processes.need_port(host, port)
        args = command(description, asked, inside, description.default_port, "container", device=device_name,
                       served_name=name, explicit=explicit)
        start_id = uuid.uuid4().hex
        plan = Start(description.name, args, {START_LABEL: start_id, MODEL_LABEL: name},
                     compose.layers(description, device_name, bool(mounts), env or {}), mounts,
                     [] if device_name == "cpu" else compose.gpu_ids(gpus or os.environ.get("GPUS")),
                     compose.cpu_set(cpus))
        environ = compose.environment(os.environ, description.name, host, port, image)
        wanted = compose.image_of(description, environ)
        _need_image(client, description, wanted, project, environ, on_progress)
        began = time.monotonic()
        container, guard = _up(client, description, plan, project, environ, wanted, device_name != "cpu", on_progress)
        reached = "127.0.0.1" if host == _EVERYWHERE else host
        engine = cls(description, container, f"http://{reached}:{port}", name, log_path, guard, api_key)
        engine.started, engine.command = began, args
        engine.notes = resolve(description, asked, device_name, explicit).notes
        if not ipaddress.ip_address(host).is_loopback:
            engine.notes.append(f"{description.title} is published on {host}: whoever reaches this machine can use it.")
        engine.ready_timeout_s = form.ready_timeout_s
        return engine

    @classmethod
    def attach(cls, found: containers.Found, description: EngineSpec, log_path: Path,
               api_key: str | None = None, client: DockerClient | None = None) -> DockerEngine:
        """The engine in a container that runs already; `stop` leaves it alone.

        Raises UserError(Exit.ENGINE) when it publishes no port.
        """
        if found.base_url is None:
            raise UserError(Exit.ENGINE, f"The container {found.name} publishes no port: `make down "
                                         f"ENGINE={found.engine}` removes it.")
        container = (client or docker_host.connect()).containers.get(found.id)
        engine = cls(description, container, found.base_url, found.model, log_path, None, api_key)
        engine.command = list(container.attrs["Config"].get("Cmd") or [])
        return engine

    def trouble(self) -> str | None:
        """That the container has ended or fails its health check, as the rest of a sentence; None otherwise."""
        state = self._state(_LOOK_S)
        if self._gone:
            return "was removed by someone else"
        if state["Status"] in ("exited", "dead"):
            killed = "was killed because this machine has too little memory" if state.get("OOMKilled") else None
            return killed or f"ended with code {state['ExitCode']}"
        health = state.get("Health") or {}
        return "failed its health check again and again" if health.get("Status") == "unhealthy" else None

    def is_alive(self) -> bool:
        """Whether the container runs."""
        if self._over and self.owned:
            return False
        state = self._state(_LOOK_S)
        return not self._gone and state["Status"] in ("running", "paused")

    def _state(self, at_most_every_s: float) -> dict[str, Any]:
        from docker.errors import DockerException, NotFound

        if time.monotonic() - self._looked_at >= at_most_every_s:
            self._looked_at = time.monotonic()
            try:
                self.container.reload()
            except NotFound:
                self._gone = True
            except (DockerException, OSError):
                pass  # a Docker engine that is slow to answer says nothing about the container
        return self.container.attrs["State"]

    def samplers(self) -> list[Callable[[float], list[dict[str, object]]]]:
        """The container's CPU and memory."""
        return [ContainerSampler(self.container)]

    def log_tail(self, lines: int = 20) -> list[str]:
        """The last lines of the container's log; once it is removed, of the copy at `log_path`."""
        from docker.errors import DockerException

        if not self._over:
            with contextlib.suppress(DockerException, OSError):
                return _readable(self.container.logs(tail=lines))[-lines:]
        with contextlib.suppress(OSError):
            return lines_of(self.log_path.read_text(encoding="utf-8", errors="replace"))[-lines:]
        return []

    def stop(self) -> None:
        """Stop the container, keep its log at `log_path`, and remove it. Never raises; leaves alone what somebody else
        started; the second call does nothing."""
        if self._over or not self.owned:
            return
        from docker.errors import DockerException

        try:
            with contextlib.suppress(DockerException, OSError):
                self.container.stop(timeout=int(self.description.command.stop_grace_s))
            self._keep_log()
        finally:  # also after a second Ctrl-C while waiting
            self._over = True
            containers.remove(self.container)
            self._dismiss_guard()
        processes.remove_shared_memory((), self._shm_before, self.description.shared_memory)

    def kill(self) -> None:
        """End and remove the container at once: for a second Ctrl-C."""
        if self.owned:
            self._over = True
            containers.remove(self.container)
            self._dismiss_guard()

    def release(self) -> None:
        """Leave the container running when this process ends; `stop` does nothing afterwards. Its log until now is
        kept at `log_path`."""
        if self.owned:
            self._keep_log()
        self.owned = False
        self._dismiss_guard()

    def _keep_log(self) -> None:
        from docker.errors import DockerException

        with contextlib.suppress(DockerException, OSError):
            text = "\n".join(_readable(self.container.logs(tail=_LOG_LINES_KEPT)))
            self.log_path.parent.mkdir(parents=True, exist_ok=True)
            self.log_path.write_text(text + "\n", encoding="utf-8")

    def _dismiss_guard(self) -> None:
        if self._guard is not None:
            with contextlib.suppress(OSError, ValueError, subprocess.TimeoutExpired):
                self._guard.communicate(b"release\n", timeout=5)
            self._guard = None

    def manifest(self) -> dict[str, Any]:
        """The `engine` table of run.json, with the image and what names its content."""
        return super().manifest() | {"image": self._image, "image_digest": self._digest,
                                     "container": self.container.name}


def _readable(log: bytes) -> list[str]:
    """A container's log as lines, without the secrets that the engine was given."""
    text = log.decode("utf-8", "replace")
    for name in _SECRETS:
        text = masked(text, os.environ.get(name))
    return lines_of(text)


def _make_room(client: DockerClient, description: EngineSpec, project: str) -> None:
    """Remove what an earlier start left stopped. Raises UserError(Exit.ENGINE) when the service runs already: Compose
    would end it, under whoever uses it."""
    for container in containers.containers_of(client, description.name, project):
        found = containers.describe(container)
        if found.state in ("running", "paused", "restarting"):
            raise UserError(
                Exit.ENGINE,
                f"{description.title} runs already in container {found.name} ({found.base_url or 'no port'}): load it "
                f"with HOST={found.base_url or '...'}, stop it with `make down ENGINE={description.name}`, or set "
                "COMPOSE_PROJECT_NAME to start one beside it.",
            )
        containers.remove(container)


def _need_image(client: DockerClient, description: EngineSpec, image: str, project: str, environ: Mapping[str, str],
                on_progress: Progress | None) -> None:
    """Fetch the image where it is not here. Raises UserError(Exit.ENGINE) with the cause when that fails."""
    from docker.errors import DockerException

    with contextlib.suppress(DockerException):
        client.images.get(image)
        return
    hint = description.image.hint if description.image else ""
    if hint:
        raise UserError(Exit.ENGINE, f"The image {image} is not on this machine: {hint}.")
    line = compose.arguments(project, description.name, True, ["pull", description.name], with_override=False)
    code, said = docker_host.run(line, environ, on_progress=on_progress)
    if code != 0:
        raise failure(f"The image of {description.title} could not be fetched", said, image)


def _up(client: DockerClient, description: EngineSpec, plan: Start, project: str, environ: Mapping[str, str],
        image: str, with_gpu: bool, on_progress: Progress | None) -> tuple[Container, subprocess.Popen[bytes]]:
    """Bring the service up under a guard. Whatever goes wrong, its container is removed again."""
    label = f"{START_LABEL}={plan.labels[START_LABEL]}"
    guard = _guard(label, description.command.stop_grace_s)
    line = compose.arguments(project, plan.engine, with_gpu,
                             ["up", "--detach", "--no-build", "--pull", "never", "--no-deps", plan.engine])
    try:
        code, said = docker_host.run(line, environ, compose.override(plan), on_progress, finish=True)
        found = client.containers.list(all=True, filters={"label": label})
        if code != 0 or not found:
            raise failure(f"{description.title} could not be started in a container", said, image)
        return found[0], guard
    except BaseException:
        for container in client.containers.list(all=True, filters={"label": label}, ignore_removed=True):
            containers.remove(container)
        with contextlib.suppress(OSError, ValueError, subprocess.TimeoutExpired):
            guard.communicate(b"release\n", timeout=5)
        raise


def _guard(label: str, grace_s: float) -> subprocess.Popen[bytes]:
    path = Path(__file__).with_name("container_guard.py")
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(path), label, str(grace_s)], stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )


def start_docker(description: EngineSpec, *, on_progress: Progress | None = None,
                 ready_timeout_s: float | None = None, **options: Any) -> DockerEngine:
    """Start an engine in a container and wait until it is ready; whatever goes wrong, nothing stays behind.

    `options` are those of `DockerEngine.start`. Raises UserError as `start` and `wait_ready` do.
    """
    engine = DockerEngine.start(description, on_progress=on_progress, **options)
    try:
        engine.wait_ready(on_progress, ready_timeout_s)
    except BaseException:
        engine.stop()
        raise
    return engine


def default_runtime(description: EngineSpec, device: str | None = None) -> str:
    """`docker` where a Docker engine that can hand out a GPU is reachable and the engine wants one; else `local`."""
    if description.simulated or description.image is None or description.form(device)[0] == "cpu":
        return "local"
    try:
        return "docker" if docker_host.has_gpu(docker_host.connect()) else "local"
    except UserError:
        return "local"
