"""Atomic file replacement: a reader sees the old file or the new one, never a mixture."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import msgspec

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.masking import hidden

Noted = TypeVar("Noted")


def read_note(path: Path, kind: type[Noted]) -> Noted | None:
    """A note that an earlier command left as JSON of a type; None if it is missing or damaged."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError, ValueError, RecursionError):
        return None


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal. Raises UserError (DATA) if it cannot be read, or can be read only once."""
    if is_read_once(path):
        raise UserError(
            Exit.DATA,
            f"{path} is a pipe or a device, which can be read only once, but it is read several times: "
            "write what it gives to a file",
        )
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UserError(Exit.DATA, f"{path} cannot be read: {error.strerror or error}") from None


def is_read_once(path: str | Path) -> bool:
    """Whether a path is a pipe or a device, which may block forever; /dev/stdin differs in each process."""
    text = os.fspath(path)
    special = not os.path.isfile(path) and not os.path.isdir(path) and os.path.exists(path)
    return special or text.startswith(("/dev/fd/", "/dev/std", "/proc/self/"))


def is_there(path: Path) -> bool:
    """Whether the file exists; False for names that no file can have, such as thousands of characters."""
    return os.path.isfile(path)


def at_home(path: str | Path) -> Path:
    """The path with ~ and ~user expanded; unchanged for an unknown user."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def make_folder(folder: Path) -> None:
    """Create a folder and its parents if needed. Raises UserError (RESULTS)."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(Exit.RESULTS, f"{folder} cannot be made: {error.strerror or error}") from None


def link_to(folder: Path, seen_from: Path) -> str:
    """The relative URL of a folder from a page in another folder, with a trailing slash."""
    way = os.path.relpath(folder.resolve(), seen_from.resolve())
    return f"{quote(Path(way).as_posix())}/"


def drop_if_empty(folder: Path) -> None:
    """Remove a folder and its subfolders if they are empty."""
    if folder.is_dir():
        for inner in list(folder.iterdir()):
            if inner.is_dir() and not inner.is_symlink():
                drop_if_empty(inner)
    with contextlib.suppress(OSError):  # not empty, or does not exist
        folder.rmdir()


def write_whole(path: Path, content: str) -> None:
    """Replace a text file atomically (UTF-8, secrets masked). Raises UserError (RESULTS) with the file's name."""
    try:
        replace_whole(path, content)
    except OSError as error:
        raise UserError(Exit.RESULTS, f"{path} cannot be written: {error.strerror or error}") from None


def replace_whole(path: Path, content: str) -> None:
    """The same for callers with their own messages: raises OSError, and leaves no temporary file. The temporary file is
    `.<name>.<pid>` in the same folder: a rename is atomic only within a file system, and whoever kills a writer knows
    what to remove.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(hidden(content).encode("utf-8", "replace"))
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
