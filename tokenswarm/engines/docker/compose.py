"""Builds what Docker Compose needs to start an engine: pure functions of a description and plain values.

`compose/compose.yaml` holds one service per engine. What a start changes in it (command, environment, labels, mounts,
GPUs) is an override document, passed to Compose on standard input and never written to a file.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tokenswarm.base.data_files import COMPOSE_DIR
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.engines.spec.engine_spec import EngineSpec

COMPOSE_FILE = COMPOSE_DIR / "compose.yaml"
NO_GPU_FILE = COMPOSE_FILE.with_name("no-gpu.yaml")

PROJECT = "tokenswarm"
"""Name of the Compose project where COMPOSE_PROJECT_NAME is not set."""

ENGINE_LABEL = "io.tokenswarm.engine"
MODEL_LABEL = "io.tokenswarm.model"
START_LABEL = "io.tokenswarm.start"
"""Label that identifies one start: its container belongs to the process that created the label."""

LOCAL_MODELS = PurePosixPath("/models")
"""Where a model folder of this machine is mounted."""

_KEPT_OUT = ("API_KEY",)


@dataclass(frozen=True, slots=True)
class Start:
    """One start of an engine's service. `gpus` None = as compose.yaml has it, empty = no GPU."""

    engine: str
    command: list[str]
    labels: dict[str, str]
    environment: dict[str, str] = field(default_factory=dict)
    mounts: dict[str, str] = field(default_factory=dict)
    """Folder of this machine -> where it appears in the container, read-only."""
    gpus: list[str] | None = None
    cpus: frozenset[int] | None = None


def override(start: Start) -> str:
    """The override document: YAML, of JSON values so that nothing needs quoting rules of its own."""
    service: dict[str, object] = {"command": start.command, "labels": start.labels}
    if start.environment:
        service["environment"] = start.environment
    if start.mounts:
        service["volumes"] = [
            {"type": "bind", "source": source, "target": target, "read_only": True}
            for source, target in start.mounts.items()
        ]
    if start.cpus:
        service["cpuset"] = ",".join(str(cpu) for cpu in sorted(start.cpus))
    lines = ["services:", f"  {start.engine}:"]
    lines += [f"    {key}: {_literal(value)}" for key, value in service.items()]
    if start.gpus:
        device = {"driver": "nvidia", "device_ids": start.gpus, "capabilities": ["gpu"]}
        lines.append(f"    deploy: {{resources: {{reservations: {{devices: !override {_literal([device])}}}}}}}")
    return "\n".join(lines) + "\n"


def _literal(value: object) -> str:
    """A value that Compose takes literally: without `$$` it would expand variables."""
    return json.dumps(value, ensure_ascii=False).replace("$", "$$")


def arguments(
    project: str, engine: str, with_gpu: bool, action: Sequence[str], with_override: bool = True
) -> list[str]:
    """The command line that does `action` ("up", ...) to an engine's profile; the override comes on standard input."""
    files = [COMPOSE_FILE, *([] if with_gpu else [NO_GPU_FILE])]
    line = ["docker", "compose", "--ansi", "never", "--progress", "plain", "--project-name", project]
    line += ["--project-directory", str(COMPOSE_FILE.parent), "--profile", engine]
    for file in files:
        line += ["--file", str(file)]
    return [*line, *(["--file", "-"] if with_override else []), *action]


def environment(
    environ: Mapping[str, str], engine: str, host: str, port: int, image: str | None = None
) -> dict[str, str]:
    """The environment of the Compose command: the caller's, with what compose.yaml asks of it."""
    own = {"BIND": host, "PORT": str(port)} | ({f"{variable(engine)}_IMAGE": image} if image else {})
    return {key: value for key, value in environ.items() if key not in _KEPT_OUT} | own


def variable(engine: str) -> str:
    """The prefix of the engine's environment variables: VLLM for vllm."""
    return engine.upper().replace("-", "_")


def image_of(description: EngineSpec, environ: Mapping[str, str]) -> str:
    """The image that compose.yaml will take: <ENGINE>_IMAGE, else the description's with <ENGINE>_TAG as its tag.

    Raises UserError(Exit.USAGE) for an engine that is not described for Docker.
    """
    if description.image is None:
        raise UserError(Exit.USAGE, f"{description.title} is described without a container image: use RUNTIME=local.")
    name = variable(description.name)
    tag = environ.get(f"{name}_TAG") or description.image.tag
    return environ.get(f"{name}_IMAGE") or f"{description.image.repository}:{tag}"


def gpu_ids(text: str | None) -> list[str] | None:
    """`0,1` -> ["0", "1"]; None and `all` -> None. Raises UserError(Exit.USAGE) for what names no GPU."""
    if text is None or text.strip().lower() in ("", "all"):
        return None
    ids = [part.strip() for part in text.split(",")]
    if not all(part and part.replace("-", "").replace("_", "").isalnum() for part in ids) or len(set(ids)) < len(ids):
        raise UserError(Exit.USAGE, f"GPUS={text!r} is not a list of GPUs: give indices or UUIDs, such as GPUS=0,1.")
    return ids


def bind_address(host: str | None, environ: Mapping[str, str]) -> str:
    """The address of this machine on which the port is published: `host`, else BIND, else 127.0.0.1.

    Raises UserError(Exit.USAGE) for what is not an IPv4 address.
    """
    address = host or environ.get("BIND") or "127.0.0.1"
    try:
        return str(ipaddress.IPv4Address(address))
    except ValueError:
        raise UserError(
            Exit.USAGE, f"BIND={address!r} is not an IPv4 address: give one of this machine, or 0.0.0.0 for all."
        ) from None


def model_place(model: str, is_folder: bool) -> tuple[str, dict[str, str]]:
    """What the engine is told as its model, and the mounts that it needs: a folder of this machine is mounted."""
    if not is_folder:
        return model, {}
    folder = Path(model).resolve()
    inside = str(LOCAL_MODELS / folder.name)
    return inside, {str(folder): inside}


def layers(description: EngineSpec, device: str, local_model: bool, variables: Mapping[str, str]) -> dict[str, str]:
    """The engine's environment in the container: the description's variables under those of this call."""
    _, form = description.form(device)
    merged = description.command.env | form.env
    if local_model:
        merged |= description.command.local_model_env
    return merged | dict(variables)


def cpu_set(cpus: Collection[int] | None) -> frozenset[int] | None:
    """The CPUs to pin to; None for all."""
    return frozenset(cpus) if cpus else None
