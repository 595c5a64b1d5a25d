"""Starts an engine in a container: fetches the image, brings up the service with an override and a guard, and waits
until it is ready."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tokenswarm.base import ports
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.engines.docker import compose, containers
from tokenswarm.engines.docker import host as docker_host
from tokenswarm.engines.docker.compose import MODEL_LABEL, START_LABEL, Start
from tokenswarm.engines.docker.docker_engine import DockerEngine
from tokenswarm.engines.docker.failures import failure
from tokenswarm.engines.spec.engine_spec import EngineSpec
from tokenswarm.engines.spec.flags import Placement, command
from tokenswarm.engines.start_request import Progress, StartRequest

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

_EVERYWHERE = "0.0.0.0"


@dataclass(frozen=True, slots=True)
class _Service:
    """An engine's service of the Compose project, about to be brought up."""

    client: DockerClient
    description: EngineSpec
    project: str
    environ: Mapping[str, str]
    """Of the Compose command."""
    image: str


def launch(request: StartRequest, on_progress: Progress | None = None) -> DockerEngine:
    """Fetch the image where it is missing, start the container and return; `wait_ready` waits until it answers.

    Raises UserError: Exit.PORT for a taken port, Exit.USAGE for settings that cannot be honoured, Exit.ENGINE with the
    cause for whatever Docker cannot do. On failure or interrupt nothing is left behind.
    """
    description = request.description
    _, profile = request.device_profile
    host = compose.bind_address(request.host, os.environ)
    client = docker_host.connect()
    docker_host.need_compose(os.environ)
    project = containers.project()
    _make_room(client, description, project)
    start, name = _start(request)
    port = ports.free_port(host) if request.port is None else request.port
    ports.need_port(host, port)
    environ = compose.environment(os.environ, description.name, host, port, request.image)
    service = _Service(client, description, project, environ, compose.image_of(description, environ))
    _need_image(service, on_progress)
    began = time.monotonic()
    container, guard = _up(service, start, on_progress)
    reached = "127.0.0.1" if host == _EVERYWHERE else host
    engine = DockerEngine(description, container, f"http://{reached}:{port}", name, request.log_path, guard)
    engine.api_key = request.api_key
    engine.started, engine.command = began, start.command
    engine.notes = request.resolve_settings().notes
    if not ipaddress.ip_address(host).is_loopback:
        engine.notes.append(
            f"{description.title} is published on {host}: anyone who can reach this machine can use it."
        )
    engine.ready_timeout_s = request.ready_timeout_s or profile.ready_timeout_s
    return engine


def _start(request: StartRequest) -> tuple[Start, str]:
    """The overrides of this start, and the model name that clients use."""
    description = request.description
    device, _ = request.device_profile
    model, name = request.model_and_name()
    inside, mounts = compose.model_place(model, Path(model).is_dir())
    args = command(
        description,
        request.settings,
        Placement(inside, description.default_port, served_name=name),
        "container",
        device=device,
        explicit=request.explicit,
    )
    return Start(
        description.name,
        args,
        {START_LABEL: uuid.uuid4().hex, MODEL_LABEL: name},
        compose.layers(description, device, bool(mounts), request.env),
        mounts,
        [] if device == "cpu" else compose.gpu_ids(request.gpus or os.environ.get("GPUS")),
        compose.cpu_set(request.cpus),
    ), name


def _make_room(client: DockerClient, description: EngineSpec, project: str) -> None:
    """Remove stopped containers of earlier starts. Raises UserError(Exit.ENGINE) when the service is already running:
    Compose would stop it while someone may be using it."""
    for container in containers.containers_of(client, description.name, project):
        there = containers.describe(container)
        if there.state in ("running", "paused", "restarting"):
            raise UserError(
                Exit.ENGINE,
                f"{description.title} is already running in container {there.name} ({there.base_url or 'no port'}): "
                f"load it with HOST={there.base_url or '...'}, stop it with `make down ENGINE={description.name}`, or "
                "set COMPOSE_PROJECT_NAME to start one beside it.",
            )
        containers.remove(container)


def _need_image(service: _Service, on_progress: Progress | None) -> None:
    """Fetch the image where it is not here. Raises UserError(Exit.ENGINE) with the cause when that fails."""
    from docker.errors import DockerException

    description = service.description
    with contextlib.suppress(DockerException):
        service.client.images.get(service.image)
        return
    hint = description.image.hint if description.image else ""
    if hint:
        raise UserError(Exit.ENGINE, f"The image {service.image} is not on this machine: {hint}.")
    line = compose.arguments(service.project, description.name, True, ["pull", description.name], with_override=False)
    code, output = docker_host.run(line, service.environ, on_progress=on_progress)
    if code != 0:
        raise failure(f"The image of {description.title} could not be fetched", output, service.image)


def _up(service: _Service, start: Start, on_progress: Progress | None) -> tuple[Container, subprocess.Popen[bytes]]:
    """Bring the service up under a guard. On failure its container is removed."""
    label = f"{START_LABEL}={start.labels[START_LABEL]}"
    guard = _guard(label, service.description.command.stop_grace_s)
    on_a_gpu = start.gpus != []
    line = compose.arguments(
        service.project,
        start.engine,
        on_a_gpu,
        ["up", "--detach", "--no-build", "--pull", "never", "--no-deps", start.engine],
    )
    containers_here = service.client.containers
    try:
        code, output = docker_host.run(line, service.environ, compose.override(start), on_progress, finish=True)
        started = containers_here.list(all=True, filters={"label": label})
        if code != 0 or not started:
            raise failure(f"{service.description.title} could not be started in a container", output, service.image)
        return started[0], guard
    except BaseException:
        for container in containers_here.list(all=True, filters={"label": label}, ignore_removed=True):
            containers.remove(container)
        with contextlib.suppress(OSError, ValueError, subprocess.TimeoutExpired):
            guard.communicate(b"release\n", timeout=5)
        raise


def _guard(label: str, grace_s: float) -> subprocess.Popen[bytes]:
    path = Path(__file__).with_name("container_guard.py")
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(path), label, str(grace_s)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def start_docker(request: StartRequest, on_progress: Progress | None = None) -> DockerEngine:
    """Start an engine in a container and wait until it is ready; on failure nothing is left behind.

    Raises UserError as `launch` and `wait_ready` do.
    """
    engine = launch(request, on_progress)
    try:
        engine.wait_ready(on_progress)
    except BaseException:
        engine.stop()
        raise
    return engine
