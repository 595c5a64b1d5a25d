"""The Docker engine of this machine: reaching it, running Compose, fetching images."""

from __future__ import annotations

import collections
import contextlib
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.engines.docker.failures import NO_DOCKER, explain
from tokenswarm.engines.start_request import Progress

if TYPE_CHECKING:
    from docker import DockerClient

_API_TIMEOUT_S = 60.0
_ASK_TIMEOUT_S = 20.0
_NEEDED_COMPOSE = (2, 24, 4)
"""First version of Compose that accepts `!override` in a second file, which a start uses to select GPUs."""
_LINES_KEPT = 400
_TICK_S = 0.5
_FINISH_S = 60.0
_GPU_SIGNS = ("/dev/nvidiactl", "/dev/dxg")
_GPU_HOOKS = ("nvidia-container-runtime-hook", "nvidia-container-runtime", "nvidia-ctk")
_CDI_FOLDERS = (Path("/etc/cdi"), Path("/var/run/cdi"))


def connect(environ: Mapping[str, str] | None = None) -> DockerClient:
    """A client of the Docker engine that the `docker` command would talk to.

    Raises UserError(Exit.ENGINE) when the command is missing, when no engine answers, or when it is on another machine,
    whose ports on 127.0.0.1 are not reachable from here.
    """
    variables = os.environ if environ is None else environ
    if shutil.which("docker", path=variables.get("PATH")) is None:
        raise UserError(Exit.ENGINE, f"The command `docker` is not there: {NO_DOCKER}.")
    endpoint = _endpoint(variables)
    parts = urlsplit(endpoint)
    if parts.scheme == "ssh" or (parts.scheme in ("tcp", "http", "https") and parts.hostname not in _HERE):
        raise UserError(
            Exit.ENGINE,
            f"The Docker engine at {endpoint} is on another machine: start the inference engine there (`make up`) and "
            "load it from here with HOST=http://...",
        )
    import docker  # half a second of imports that a run without Docker need not pay
    from docker.errors import DockerException

    try:
        client = docker.DockerClient(base_url=endpoint, timeout=_API_TIMEOUT_S)
        client.ping()
    except (DockerException, OSError) as error:
        _, sentence = explain(f"docker: {error}".replace("Permission denied", "permission denied docker"), "")
        reason = sentence if sentence and "group" in sentence else f"no Docker engine answers: {NO_DOCKER}"
        raise UserError(Exit.ENGINE, f"Docker cannot be used at {endpoint}: {reason}.") from error
    return client


_HERE = ("localhost", "127.0.0.1", "::1")


def _endpoint(environ: Mapping[str, str]) -> str:
    """Where the `docker` command finds its engine: DOCKER_HOST, or the current context."""
    if environ.get("DOCKER_HOST"):
        return environ["DOCKER_HOST"]
    command = ["docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        answer = subprocess.run(
            command, env=dict(environ), capture_output=True, text=True, timeout=_ASK_TIMEOUT_S, check=False
        )
        if answer.returncode == 0 and answer.stdout.strip():
            return answer.stdout.strip()
    return "unix:///var/run/docker.sock"


def need_compose(environ: Mapping[str, str]) -> None:
    """Raises UserError(Exit.ENGINE) when the Compose plugin is missing or too old."""
    answer = subprocess.run(
        ["docker", "compose", "version", "--short"],
        env=dict(environ),
        capture_output=True,
        text=True,
        timeout=_ASK_TIMEOUT_S,
        check=False,
    )
    version = re.match(r"v?(\d+)\.(\d+)\.(\d+)", answer.stdout.strip())
    if answer.returncode == 0 and version and tuple(map(int, version.groups())) >= _NEEDED_COMPOSE:
        return
    have = f"is version {version[0]}" if version else "is missing"
    raise UserError(
        Exit.ENGINE,
        f"Docker's Compose plugin {have}; {'.'.join(map(str, _NEEDED_COMPOSE))} or newer is needed: install the "
        "package docker-compose-plugin, or use RUNTIME=local.",
    )


def has_gpu(client: DockerClient) -> bool:
    """Whether there is a GPU here, and a way for this Docker engine to hand it to a container."""
    if not any(Path(sign).exists() for sign in _GPU_SIGNS):
        return False
    runtimes: dict[str, object] = client.info().get("Runtimes") or {}
    cdi = any(folder.glob("*nvidia*") for folder in _CDI_FOLDERS if folder.is_dir())
    return "nvidia" in runtimes or cdi or any(shutil.which(hook) for hook in _GPU_HOOKS)


def run(
    line: Sequence[str],
    environ: Mapping[str, str],
    document: str = "",
    on_progress: Progress | None = None,
    finish: bool = False,
) -> tuple[int, str]:
    """Run a command with `document` on its standard input: its exit code, and the last of what it said.

    It has a session of its own: Ctrl-C in the terminal does not reach it. When this process is interrupted while
    waiting, the command is ended, or with `finish` waited for, since what it makes can then be found and removed.
    """
    began = time.monotonic()
    process = subprocess.Popen(
        list(line),
        env=dict(environ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    output: collections.deque[str] = collections.deque(maxlen=_LINES_KEPT)
    assert process.stdin is not None and process.stdout is not None
    reader = threading.Thread(target=output.extend, args=(process.stdout,), daemon=True)
    reader.start()
    try:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(document)
            process.stdin.close()
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_TICK_S)
                break
            if on_progress is not None:
                on_progress(time.monotonic() - began, output[-1].strip() if output else "")
    except BaseException:
        _end(process, finish)
        raise
    reader.join(_ASK_TIMEOUT_S)
    return process.returncode, "".join(output)


def _end(process: subprocess.Popen[str], finish: bool) -> None:
    if not finish:
        process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_FINISH_S if finish else 10.0)
    if process.poll() is None:
        process.kill()
        process.wait()
