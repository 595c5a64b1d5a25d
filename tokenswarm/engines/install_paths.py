"""Paths of installed engines: one root folder, with a virtual environment per engine and device."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.files import at_home
from tokenswarm.engines.spec.engine_spec import Device, EngineSpec

ROOT_VARIABLE = "TOKENSWARM_ENGINES"
STAMP = "tokenswarm-stamp.json"
"""File in an installed folder that records what it was made from. A folder without it is incomplete."""
_TINY_MODEL = "tiny-llama"
_TINY_GGUF = "tiny-gguf"
TINY_GGUF_FILE = "tiny-llama.gguf"


@dataclass(frozen=True, slots=True)
class EnginePaths:
    """Paths of an engine's Python interpreter and programs."""

    python: Path
    bin_dir: Path


def default_root() -> Path:
    """The folder for installed engines: $TOKENSWARM_ENGINES, or ~/.cache/tokenswarm/engines."""
    named = os.environ.get(ROOT_VARIABLE)
    return at_home(named) if named else Path.home() / ".cache" / "tokenswarm" / "engines"


def tiny_model_folder(root: Path | None = None) -> Path:
    """The folder for the tiny random model; it may not exist yet."""
    return (root or default_root()) / _TINY_MODEL


def tiny_gguf_folder(root: Path | None = None) -> Path:
    """The folder for the tiny random model as a GGUF file; it may not exist yet."""
    return (root or default_root()) / _TINY_GGUF


def tiny_model(description: EngineSpec, root: Path | None = None) -> Path:
    """Path of the tiny random model in the format that the engine loads."""
    gguf = description.tiny_model == "gguf"
    return tiny_gguf_folder(root) / TINY_GGUF_FILE if gguf else tiny_model_folder(root)


def places(description: EngineSpec, device: Device, root: Path | None = None) -> EnginePaths:
    """The engine's Python and programs: in its own environment, or in the current one if it needs none.

    Raises UserError(Exit.ENGINE) with the install command if the engine is not installed, or if it cannot be installed
    for the device.
    """
    if not description.install:
        return EnginePaths(Path(sys.executable), Path(sys.executable).parent)
    venv = venv_folder(description.name, device, root)
    if device not in description.install:
        raise UserError(Exit.ENGINE, f"{description.title} cannot be installed for device {device}.")
    if not (venv / STAMP).is_file():
        others = " or ".join(f"DEVICE={other}" for other in description.install if other != device)
        raise UserError(
            Exit.ENGINE,
            f"{description.title} is not installed for device {device}: run `make engine-venv "
            f"ENGINE={description.name} DEVICE={device}` or `python -m tokenswarm engine install "
            f"--engine {description.name} --device {device}`"
            + (
                f"; without such a device, give {others}; or load a server that runs already with HOST=..."
                if others
                else ""
            )
            + ".",
        )
    return EnginePaths(venv / "bin" / "python", venv / "bin")


def venv_folder(engine: str, device: str, root: Path | None = None) -> Path:
    """The virtual environment of an engine for a device."""
    return (root or default_root()) / f"{engine}-{device}"
