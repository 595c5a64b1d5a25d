"""The commands that README.md, docs/*.md and the workflows show, taken out of the text."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_START = r"(?:[A-Z_]+=\S+ +)*(?:make|(?:exec )?(?:\.venv/bin/)?python3? -m tokenswarm)(?![\w/-])"
_BLOCK = re.compile(rf"^(?: {{4}}|\$ )?({_START}.*)$")
_INLINE = re.compile(rf"`({_START}[^`]*)`")
_COLUMNS = re.compile(r" {3,}| +#|\\$| \|\| | && | >+ ")
"""What ends a command on its line: an explanation in a column of its own, a comment, the shell's own signs."""
_PLACEHOLDER = {"...", "<run-id>"}


@dataclass(frozen=True)
class Command:
    """A command as words, without leading assignments, and where it stands."""

    where: str
    words: tuple[str, ...]


def commands_of(name: str, text: str) -> Iterator[Command]:
    """All commands of a text. Optional parts in brackets count as given, `a|b` as a, `...` as nothing."""
    for number, line in enumerate(text.replace("\\\n", " ").splitlines(), 1):
        whole = _BLOCK.match(line)
        # `make status        make logs`: several commands side by side
        found = re.split(r" {2,}(?=make )", whole[1]) if whole else _INLINE.findall(line)
        for each in found:
            bare = re.sub(r"<earlier run>|<run-id>|<run>|<name>", "NAME", _COLUMNS.split(each)[0])
            bare = re.sub(r"[\[\]](?![^\"]*\"(?:[^\"]*\"[^\"]*\")*[^\"]*$)", "", bare) if "[" in bare else bare
            words = [word for word in shlex.split(bare) if word not in _PLACEHOLDER and word != "exec"]
            while words and re.match(r"[A-Z_]+=", words[0]):
                del words[0]
            words = [re.sub(r"\|\w+$", "", word) for word in words]
            yield Command(f"{name}:{number}", tuple(words))


def documented() -> list[Command]:
    """All commands of all pages."""
    return [
        command for page in PAGES for command in commands_of(page.relative_to(ROOT).as_posix(), page.read_text("utf-8"))
    ]


MIX = "rag:6 chat:3 batch:1"
"""What a setting is of that names several scenarios, or a mix, where no command says it."""


def settings() -> list[tuple[str, str, str]]:
    """(where, scenario, the value) of each SET="..." on the pages, in commands and alone."""
    found = []
    for page in PAGES:
        for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
            for value in re.findall(r'(?<!\w)(?:SET=|--set )"([^"]+)"', line):
                named = re.search(r'SCENARIO=(?:"([^"]+:[^"]+)"|(\w[\w-]*))', line)  # a mix, or one
                tables = sorted(set(re.findall(r"\b(rag|chat|batch|reasoning)\.", value)))
                about = MIX if "mix." in value or len(tables) > 1 else tables[0] if tables else "rag"
                found.append((f"{page.name}:{number}", named[1] or named[2] if named else about, value))
    return found
