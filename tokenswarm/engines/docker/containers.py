"""Containers of engines: finds those that tokenswarm or plain Compose started, reads their logs and stops them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tokenswarm.engines.docker.compose import ENGINE_LABEL, MODEL_LABEL, PROJECT
from tokenswarm.engines.docker.host import connect
from tokenswarm.engines.started import lines_of

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

_PROJECT_LABEL = "com.docker.compose.project"
_ANY_ADDRESS = ("", "0.0.0.0", "::")
_SLOW_API_S = 20.0


@dataclass(frozen=True, slots=True)
class Found:
    """Current state of an engine's container. `base_url` is None while it publishes no port."""

    id: str
    name: str
    engine: str
    model: str
    state: str
    """created | running | paused | restarting | removing | exited | dead, as Docker says."""
    health: str | None
    """starting | healthy | unhealthy; None without a health check."""
    base_url: str | None
    image: str
    image_digest: str
    started_at: str
    """ISO 8601, UTC; empty before it starts."""
    exit_code: int


def project(environ: Mapping[str, str] | None = None) -> str:
    """Name of the Compose project: COMPOSE_PROJECT_NAME, or tokenswarm."""
    return (os.environ if environ is None else environ).get("COMPOSE_PROJECT_NAME") or PROJECT


def find_running(
    engine: str | None = None,
    *,
    all_states: bool = False,
    client: DockerClient | None = None,
    environ: Mapping[str, str] | None = None,
) -> list[Found]:
    """The containers of an engine (of all engines: None) in this Compose project; stopped ones too with `all_states`.

    Raises UserError(Exit.ENGINE) where no Docker engine is reachable.
    """
    client = client or connect(environ)
    containers = containers_of(client, engine, project(environ))
    described = [describe(container) for container in containers]
    return [each for each in described if all_states or each.state in ("running", "restarting", "paused")]


def containers_of(client: DockerClient, engine: str | None, project_name: str) -> list[Container]:
    """The project's containers of an engine, or of all engines, in any state."""
    label = ENGINE_LABEL if engine is None else f"{ENGINE_LABEL}={engine}"
    return client.containers.list(
        all=True, ignore_removed=True, filters={"label": [label, f"{_PROJECT_LABEL}={project_name}"]}
    )


def describe(container: Container) -> Found:
    """Read the state of a container."""
    attrs: dict[str, Any] = container.attrs
    state, config = attrs["State"], attrs["Config"]
    return Found(
        id=container.id,
        name=container.name,
        engine=config["Labels"].get(ENGINE_LABEL, ""),
        model=config["Labels"].get(MODEL_LABEL, ""),
        state=state["Status"],
        health=(state.get("Health") or {}).get("Status"),
        base_url=_base_url(attrs),
        image=config["Image"],
        image_digest=digest(container),
        started_at="" if state["StartedAt"].startswith("0001") else state["StartedAt"],
        exit_code=state["ExitCode"],
    )


def _base_url(attrs: Mapping[str, Any]) -> str | None:
    for bindings in (attrs["NetworkSettings"].get("Ports") or {}).values():
        for binding in bindings or []:
            host = "127.0.0.1" if binding["HostIp"] in _ANY_ADDRESS else binding["HostIp"]
            return f"http://[{host}]:{binding['HostPort']}" if ":" in host else f"http://{host}:{binding['HostPort']}"
    return None


def digest(container: Container) -> str:
    """Identifies the image's content: the registry's digest (`sha256:...`), or the image id if it came from no
    registry."""
    from docker.errors import DockerException

    own = str(container.attrs["Image"])
    with contextlib.suppress(DockerException):  # the image may be gone while its container lives
        digests = container.client.images.get(own).attrs.get("RepoDigests") or []
        repository = container.attrs["Config"]["Image"].partition("@")[0].rpartition(":")[0]
        fitting = [each for each in digests if each.partition("@")[0] == repository] or digests
        return fitting[0].partition("@")[2] if fitting else own
    return own


def logs(
    container_id: str, lines: int | None = None, *, follow: bool = False, client: DockerClient | None = None
) -> Iterator[str]:
    """The log of a container, line by line: the last `lines` of it (all: None), and what comes with `follow`.

    Raises UserError(Exit.ENGINE) where no Docker engine is reachable.
    """
    container = (client or connect()).containers.get(container_id)
    tail: int | str = "all" if lines is None else lines
    if not follow:
        yield from lines_of(container.logs(tail=tail).decode("utf-8", "replace"))
        return
    rest = b""
    for part in container.logs(tail=tail, stream=True, follow=True):
        *whole, rest = (rest + part).split(b"\n")
        for line in whole:
            yield line.decode("utf-8", "replace").rstrip()
    if rest:
        yield rest.decode("utf-8", "replace").rstrip()


def stop(container_id: str, grace_s: float = 20.0, *, client: DockerClient | None = None) -> None:
    """Stop and remove a container, and the project's network if it was the last one. A container that no longer exists
    is not an error.

    Raises UserError(Exit.ENGINE) where no Docker engine is reachable.
    """
    from docker.errors import DockerException, NotFound

    client = client or connect()
    try:
        container = client.containers.get(container_id)
    except NotFound:
        return
    with contextlib.suppress(DockerException):
        container.stop(timeout=int(grace_s))
    remove(container)


def remove(container: Container) -> None:
    """Remove a container, running or not, and the project's network when it was the last one there. Never raises."""
    from docker.errors import DockerException

    name = container.labels.get(_PROJECT_LABEL)
    with contextlib.suppress(DockerException, OSError):
        container.remove(force=True, v=True)
    with contextlib.suppress(DockerException, OSError):
        for network in container.client.networks.list(filters={"label": f"{_PROJECT_LABEL}={name}"}) if name else []:
            with contextlib.suppress(DockerException):  # others are still in it
                network.remove()
