"""Does what a page of the documentation says, in a copy of the checkout, as a reader would."""

from __future__ import annotations

import os
import re
from pathlib import Path

from .support import PROJECT, environment

_NOT_SHARED = {".git", "results", ".github"}
_STEP = re.compile(r'^```\w+ title="(?P<path>[^"]+)"\n(?P<text>.*?)^```$|^```.*?^```$|^ {4}(?P<command>\S[^\n]*)$',
                   re.MULTILINE | re.DOTALL)


def checkout(folder: Path) -> Path:
    """A folder that looks like this checkout; what a reader makes in it does not get into the real one."""
    folder.mkdir()
    for entry in PROJECT.iterdir():
        if entry.name not in _NOT_SHARED:
            (folder / entry.name).symlink_to(entry)
    return folder


def steps(page: str) -> list[tuple[str, str]]:
    """What the page tells its reader to do, in order: ("write PATH", the text) and ("run", a command)."""
    text = (PROJECT / "docs" / page).read_text("utf-8")
    found = []
    for step in _STEP.finditer(text):
        if step["path"]:
            found.append((f"write {step['path']}", step["text"]))
        elif step["command"]:
            found.append(("run", step["command"]))
    return found


def reader_environment(**extra: str) -> dict[str, str]:
    """The environment of somebody at a terminal: no variable of make or of pytest steers what they start."""
    clean = {key: value for key, value in environment(**extra).items() if not key.startswith(("MAKE", "PYTEST"))}
    return clean | {"PATH": os.environ["PATH"]}
