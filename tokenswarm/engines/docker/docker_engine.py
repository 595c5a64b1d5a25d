"""An engine in a container of this machine: watched, stopped, left running."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.masking import masked
from tokenswarm.contract.manifest import EngineRecord
from tokenswarm.engines import shared_memory
from tokenswarm.engines.docker import containers
from tokenswarm.engines.docker import host as docker_host
from tokenswarm.engines.docker.container_sampler import ContainerSampler
from tokenswarm.engines.spec.engine_spec import EngineSpec
from tokenswarm.engines.started import StartedEngine, lines_of

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

_SECRETS = ("HF_TOKEN",)
"""Environment variables of the engine whose values must not appear in the stored log."""
_LOG_LINES_KEPT = 50_000
_LOOK_S = 1.0
"""Shortest interval between two status requests to Docker."""


class DockerEngine(StartedEngine):
    """An engine in a container. `owned`: this process started it and stops it; make one with `launch.start_docker`, or
    take one that runs with `DockerEngine.attach`."""

    runtime = "docker"
    poll_s = 0.5

    def __init__(
        self,
        description: EngineSpec,
        container: Container,
        base_url: str,
        served_name: str,
        log_path: Path,
        guard: subprocess.Popen[bytes] | None,
    ) -> None:
        super().__init__(description, base_url, served_name, log_path)
        self.container = container
        self.owned = guard is not None
        self._guard = guard
        self._over = False
        self._looked_at = time.monotonic()
        self._shm_before = shared_memory.shared_memory_names()
        self._image: str = container.attrs["Config"]["Image"]
        self._digest = containers.digest(container)
        self._gone = False

    @classmethod
    def attach(
        cls,
        there: containers.Found,
        description: EngineSpec,
        log_path: Path,
        api_key: str | None = None,
        client: DockerClient | None = None,
    ) -> DockerEngine:
        """The engine in a container that runs already; `stop` leaves it alone.

        Raises UserError(Exit.ENGINE) when it publishes no port.
        """
        if there.base_url is None:
            raise UserError(
                Exit.ENGINE,
                f"The container {there.name} publishes no port: `make down ENGINE={there.engine}` removes it.",
            )
        container = (client or docker_host.connect()).containers.get(there.id)
        engine = cls(description, container, there.base_url, there.model, log_path, None)
        engine.api_key = api_key
        engine.command = list(container.attrs["Config"].get("Cmd") or [])
        engine.read_configuration()
        return engine

    def trouble(self) -> str | None:
        """Why the container is not usable (ended, or failing its health check), as the rest of a sentence; None if it
        is."""
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
        """Stop the container, keep its log at `log_path`, and remove it. Never raises. Does nothing for a container
        that someone else started, or on a second call."""
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
        shared_memory.remove_shared_memory((), self._shm_before, self.description.shared_memory)

    def kill(self) -> None:
        """Kill and remove the container at once: for a second Ctrl-C."""
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

    def keep(self) -> bool:
        """Release it; later commands find it through Docker."""
        self.release()
        return True

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

    def record(self) -> EngineRecord:
        """With the image and what names its content."""
        return msgspec.structs.replace(
            super().record(), image=self._image, image_digest=self._digest, container=self.container.name
        )


def _readable(log: bytes) -> list[str]:
    """A container's log as lines, without the secrets that the engine was given."""
    text = log.decode("utf-8", "replace")
    for name in _SECRETS:
        text = masked(text, os.environ.get(name))
    return lines_of(text)
