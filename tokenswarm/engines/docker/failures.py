"""Turns Docker's error messages into sentences for the user. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tokenswarm.base.errors import Exit, UserError

NO_DOCKER = (
    "install Docker Engine with its Compose plugin and start it, use RUNTIME=local to run the engine without "
    "Docker, or load a server that runs already with HOST=URL"
)


@dataclass(frozen=True, slots=True)
class Cause:
    """A pattern that identifies a cause, and what the user can do about it. `{image}` stands for the image."""

    pattern: str
    sentence: str
    code: Exit = Exit.ENGINE


CAUSES = (
    Cause(
        r"permission denied .*docker|docker.*permission denied while trying to connect",
        "this user may not talk to the Docker engine: join the group that owns its socket (usually `docker`)",
    ),
    Cause(
        r"Cannot connect to the Docker daemon|error during connect|Is the docker daemon running|"
        r"dial unix .*(no such file|connection refused)",
        f"no Docker engine answers: {NO_DOCKER}",
    ),
    Cause(
        r"port is already allocated|address already in use|ports are not available",
        "the port is taken: choose another, or stop what listens there",
        Exit.PORT,
    ),
    Cause(
        r"could not select device driver|unknown or invalid runtime name: nvidia|nvidia-container-cli|"
        r"nvidia-container-runtime|CDI device injection failed|unresolvable CDI devices|no adapters were found|"
        r"libnvidia-ml\.so|unknown device driver",
        "Docker can hand out no such GPU: check `nvidia-smi` and GPUS, and install the NVIDIA Container Toolkit "
        "(`nvidia-ctk runtime configure`, then restart Docker)",
    ),
    Cause(
        r"toomanyrequests|rate limit",
        "the registry refuses more downloads for now: log in to it (`docker login`) or wait",
    ),
    Cause(
        r"no space left on device", "the disk is full: engine images take 10 to 30 GB (`docker system df` shows them)"
    ),
    Cause(
        r"manifest unknown|manifest for .* not found|not found: manifest|: not found$",
        "the registry has no image {image}: check its tag",
    ),
    Cause(
        r"pull access denied|repository does not exist|requested access to the resource is denied|unauthorized",
        "there is no image {image} that this user may pull: check its name, or log in with `docker login`",
    ),
    Cause(
        r"no such host|i/o timeout|TLS handshake timeout|connection refused|network is unreachable|"
        r"Client\.Timeout exceeded|server misbehaving|EOF$",
        "image {image} is not on this machine and its registry cannot be reached: check the network, or load the "
        "image from a file with `docker load`",
    ),
    Cause(r"No such image|image .* not found", "image {image} is not on this machine: pull it first"),
    Cause(
        r"executable file not found|exec: .*no such file or directory",
        "image {image} does not hold the engine's program: check which image it is",
    ),
    Cause(
        r"is not a docker command|unknown (shorthand )?flag|unknown command",
        "Docker's Compose plugin is missing or too old (2.24.4 is needed): install docker-compose-plugin",
    ),
)
"""The first match wins."""


def explain(text: str, image: str) -> tuple[Exit, str | None]:
    """Exit code and sentence for the first known cause in Docker's words; (Exit.ENGINE, None) for none."""
    for cause in CAUSES:
        if re.search(cause.pattern, text, re.IGNORECASE | re.MULTILINE):
            return cause.code, cause.sentence.replace("{image}", image)
    return Exit.ENGINE, None


def failure(what: str, text: str, image: str, lines: int = 12) -> UserError:
    """`what` with the cause, and the last lines of what Docker said."""
    code, sentence = explain(text, image)
    last_lines = [line.rstrip() for line in text.splitlines() if line.strip()][-lines:]
    shown = "\n".join(f"  | {line}" for line in last_lines)
    because = f": {sentence}" if sentence else ""
    return UserError(code, f"{what}{because}." + (f" Docker said:\n{shown}" if shown else ""))
