"""Install engines without Docker: a virtual environment per engine and device, with the description's pinned packages.

    python -m tokenswarm engine install --engine vllm --device cpu

Idempotent: a stamp records what was installed, and nothing is done while it matches.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.engines.install_paths import (
    ROOT_VARIABLE,
    STAMP,
    EnginePaths,
    places,
    tiny_gguf_folder,
    tiny_model_folder,
    venv_folder,
)
from tokenswarm.engines.local import tiny_gguf, tiny_model
from tokenswarm.engines.spec.engine_spec import Device, EngineSpec, Install, load_description

DATA = Path(__file__).with_name("data")
_SHOWN_LINES = 15

Say = Callable[[str], None]


def fingerprint(recipe: Install) -> str:
    """A hash of everything the installation depends on: the recipe, its data files and the Python version."""
    digest = hashlib.sha256(recipe.model_dump_json().encode())
    digest.update(sysconfig.get_python_version().encode())
    used = [DATA / name for name in recipe.overlays]
    used += [Path(part.replace("{data}", str(DATA))) for step in recipe.steps for part in step if "{data}" in part]
    for path in sorted(file for top in used for file in (top, *top.rglob("*"))):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(str(path.relative_to(DATA)).encode() + path.read_bytes())
    return digest.hexdigest()


def install(engine: str, device: Device = "cpu", root: Path | None = None, say: Say = print) -> EnginePaths:
    """Create the engine's environment (and the tiny model on a CPU) unless it is up to date.

    Raises UserError(Exit.ENGINE) with the end of pip's output if a step fails, and UserError(Exit.USAGE) for an unknown
    engine.
    """
    description = load_description(engine)
    if not description.install:
        say(f"{description.title} needs no environment of its own.")
        return places(description, device, root)
    if device not in description.install:
        known = ", ".join(description.install)
        raise UserError(Exit.USAGE, f"{description.title} cannot be installed for device {device!r}; known: {known}.")
    recipe = description.install[device]
    venv = venv_folder(engine, device, root)
    with _locked(venv):
        wanted = fingerprint(recipe)
        if _stamp(venv) == wanted:
            say(f"{description.title} for {device} is installed already in {venv}.")
        else:
            started = time.monotonic()
            _build(description, recipe, venv, say)
            (venv / STAMP).write_text(json.dumps({"fingerprint": wanted}) + "\n", encoding="utf-8")
            say(f"{description.title} for {device} is installed in {venv} ({time.monotonic() - started:.0f} s).")
    programs = places(description, device, root)
    if device == "cpu" and description.tiny_model == "gguf":
        _make(tiny_gguf_folder(root), [Path(tiny_gguf.__file__), Path(tiny_model.__file__)], programs.python, say)
    elif device == "cpu":
        make_tiny_model(programs.python, root, say)
    return programs


def make_tiny_model(python: Path, root: Path | None = None, say: Say = print) -> Path:
    """Create the tiny random model with an engine environment's Python unless it is up to date; returns its folder."""
    return _make(tiny_model_folder(root), [Path(tiny_model.__file__)], python, say)


def _make(folder: Path, sources: Sequence[Path], python: Path, say: Say) -> Path:
    """Run the first source file to create the folder, unless its stamp matches the sources."""
    source = sources[0]
    wanted = hashlib.sha256(b"".join(each.read_bytes() for each in sources)).hexdigest()
    with _locked(folder):
        if _stamp(folder) != wanted:
            shutil.rmtree(folder, ignore_errors=True)
            # -P keeps the script's folder from preceding the standard library in the search path.
            _run([str(python), "-P", str(source), str(folder)], "making the tiny model")
            (folder / STAMP).write_text(json.dumps({"fingerprint": wanted}) + "\n", encoding="utf-8")
            say(f"The tiny random model is in {folder}.")
    return folder


def _build(description: EngineSpec, recipe: Install, venv: Path, say: Say) -> None:
    shutil.rmtree(venv, ignore_errors=True)
    say(f"Making {venv}")
    _run([sys.executable, "-m", "venv", str(venv)], "making the virtual environment")
    python = str(venv / "bin" / "python")
    # --no-compile below: compiling all files takes longer than installing them, and imports compile what is used.
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    for step in recipe.steps:
        args = [part.replace("{data}", str(DATA)) for part in step]
        say(f"pip install {' '.join(args)}")
        _run([*pip, "install", "--no-compile", *args], f"installing {description.title}")
    if recipe.uninstall:
        _run([*pip, "uninstall", "-y", *recipe.uninstall], f"installing {description.title}")
    purelib = Path(_run([python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"], "finding").strip())
    for name in recipe.overlays:
        shutil.copytree(DATA / name, purelib / name, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    for patch in recipe.patches:
        patch_file(purelib / patch.file, patch.pattern, patch.replacement)
    for alias in recipe.aliases:
        write_alias(purelib, alias.name, alias.version)
    _run([python, "-c", recipe.check], f"checking {description.title}")


def patch_file(path: Path, pattern: str, replacement: str) -> None:
    """Replace a pattern in a file. Raises UserError(Exit.ENGINE) if it does not match, as with another version."""
    text = path.read_text(encoding="utf-8")
    changed, count = re.subn(pattern, replacement, text, flags=re.MULTILINE)
    if count == 0:
        raise UserError(Exit.ENGINE, f"{path} does not match the engine's description: it lacks {pattern!r}.")
    path.write_text(changed, encoding="utf-8")


def write_alias(purelib: Path, name: str, version: str) -> None:
    """Make `importlib.metadata` find a distribution called `name`, for a package installed under another name."""
    folder = purelib / f"{name.replace('-', '_')}-{version.partition('+')[0]}.dist-info"
    folder.mkdir(exist_ok=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    (folder / "INSTALLER").write_text("tokenswarm\n", encoding="utf-8")
    (folder / "RECORD").write_text("", encoding="utf-8")


def _stamp(folder: Path) -> str | None:
    try:
        return json.loads((folder / STAMP).read_text(encoding="utf-8"))["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextlib.contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Hold a file lock, so that two commands do not install the same engine at once. Raises UserError(Exit.ENGINE) if
    the folder is not writable."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = target.with_name(target.name + ".lock").open("w")
    except OSError as error:
        raise UserError(
            Exit.ENGINE, f"{target.parent} cannot be written ({error.strerror}): set {ROOT_VARIABLE} to another folder."
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(args: list[str], what: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    result = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    if result.returncode != 0:
        shown = "\n".join(f"  | {line}" for line in result.stdout.splitlines()[-_SHOWN_LINES:])
        raise UserError(Exit.ENGINE, f"{what} failed ({args[0]} ended with code {result.returncode}):\n{shown}")
    return result.stdout
