"""Files that are replaced as a whole: a reader sees the old one or the new one, never half of either."""

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
    """What an earlier command noted for later ones, as JSON of a type; None where it is missing or damaged."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError, ValueError, RecursionError):
        return None


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits. Raises UserError (DATA) if it cannot be read, or only once."""
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
    """Whether a path is that of a pipe or a device, which may give nothing for ever; /dev/stdin is another one in each
    process."""
    text = os.fspath(path)
    special = not os.path.isfile(path) and not os.path.isdir(path) and os.path.exists(path)
    return special or text.startswith(("/dev/fd/", "/dev/std", "/proc/self/"))


def is_there(path: Path) -> bool:
    """Whether a file lies there. A name that no file can have, such as one of thousands of characters, has none."""
    return os.path.isfile(path)


def at_home(path: str | Path) -> Path:
    """The path with ~ and ~user as their folders; as it is where nobody has that name."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, where it is not there yet. Raises UserError (RESULTS)."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(Exit.RESULTS, f"{folder} cannot be made: {error.strerror or error}") from None


def link_to(folder: Path, seen_from: Path) -> str:
    """The relative URL of a folder from a page that lies in another one, with a slash at its end."""
    way = os.path.relpath(folder.resolve(), seen_from.resolve())
    return f"{quote(Path(way).as_posix())}/"


def drop_if_empty(folder: Path) -> None:
    """Remove a folder, and folders in it, as far as they hold nothing."""
    if folder.is_dir():
        for inner in list(folder.iterdir()):
            if inner.is_dir() and not inner.is_symlink():
                drop_if_empty(inner)
    with contextlib.suppress(OSError):  # it holds something, or is not there
        folder.rmdir()


def write_whole(path: Path, content: str) -> None:
    """Replace a text file as a whole (UTF-8, without secrets). Raises UserError (RESULTS) with the file's name."""
    try:
        replace_whole(path, content)
    except OSError as error:
        raise UserError(Exit.RESULTS, f"{path} cannot be written: {error.strerror or error}") from None


def replace_whole(path: Path, content: str) -> None:
    """The same for callers that have a sentence of their own: raises OSError, and leaves no temporary file behind.

    The temporary lies in the same folder, `.<name>.<pid>`: a rename is atomic only within one file system, and who
    kills a writer knows what to clear away.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(hidden(content).encode("utf-8", "replace"))
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
