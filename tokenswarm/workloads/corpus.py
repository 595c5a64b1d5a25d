"""The text that prompts are made of: real English that comes with every CPython, or a folder of yours.

A `Corpus` is one long string; `take` cuts excerpts out of it. Nothing here uses a clock or the network.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.files import at_home, is_there
from tokenswarm.base.numbers import json_value
from tokenswarm.workloads.text_files import UnreadableText, is_text_file, kind_of, read_lines, read_text

DEFAULT_NAME = "pydoc_data.topics"
MIN_CHARS = 2_000
"""A smaller corpus cannot make enough different prompts."""
MAX_CHARS = 64_000_000
"""Reading stops here, to save memory; more text would not change any figure."""

# A place where an excerpt can begin: after an empty line, or after the end of a sentence.
_BORDER = re.compile(r"\n\n+|[.!?][\"')\]]*\s+(?=[A-Z0-9\"'(\[])|[。！？]")
_SPACE = re.compile(r"\s+")
_BORDER_WINDOW = 2_000
_WORD_WINDOW = 100
_HOW_TO_MEND = (
    'give a folder with .txt, .md or .jsonl files ({"text": "..."} on each line), also as .gz, or none for the default'
)


@dataclass(frozen=True, slots=True)
class Corpus:
    """Text to make prompts of. `name` and `sha256` identify it in run.json; `size_bytes` is its size in UTF-8."""

    name: str
    text: str
    size_bytes: int
    sha256: str

    def take(self, rng: Random, chars: int) -> str:
        """An excerpt of about `chars` characters: it begins at a paragraph or sentence and ends with a whole word.

        Wraps around at the end of the corpus, so a text longer than the corpus repeats itself. The same state of `rng`
        gives the same excerpt.
        """
        begin = self._border_after(rng.randrange(len(self.text)))
        excerpt = self.text[begin : begin + chars + _WORD_WINDOW]
        while len(excerpt) < chars:
            excerpt = f"{excerpt}\n\n{self.text[: chars + _WORD_WINDOW - len(excerpt)]}"
        if len(excerpt) > chars and (space := _SPACE.search(excerpt, chars)):
            return excerpt[: space.start()].rstrip()
        return excerpt[:chars].rstrip()

    def _border_after(self, position: int) -> int:
        border = _BORDER.search(self.text, position, position + _BORDER_WINDOW)
        if border is None:
            border = _SPACE.search(self.text, position, position + _BORDER_WINDOW)
        begin = border.end() if border else position
        return begin if begin < len(self.text) else 0

    def identity(self) -> dict[str, Any]:
        """Name, size in bytes and SHA-256 of the text, for run.json."""
        return {"name": self.name, "bytes": self.size_bytes, "sha256": self.sha256}


def load_corpus(path: str | Path | None = None) -> Corpus:
    """The corpus in folder (or file) `path`, read recursively in sorted order; the default one for None or "".

    Raises UserError (CORPUS) if it is missing, unreadable, or holds too little text.
    """
    if not path:
        return _default_corpus()
    return corpus_of(_folder_text(at_home(path)), str(path))


def corpus_of(text: str, name: str) -> Corpus:
    """A corpus of this very text. Raises UserError (CORPUS) if it is too short."""
    clean = _clean(text)
    if len(clean) < MIN_CHARS:
        raise UserError(
            Exit.CORPUS,
            f"corpus {name} holds {len(clean)} characters of text, but needs at least {MIN_CHARS}: {_HOW_TO_MEND}",
        )
    encoded = clean.encode("utf-8")
    return Corpus(name, clean, len(encoded), hashlib.sha256(encoded).hexdigest())


@cache
def _default_corpus() -> Corpus:
    from pydoc_data import topics  # imported only when needed: it takes 0.5 MB

    return corpus_of("\n\n".join(topics.topics[name] for name in sorted(topics.topics)), DEFAULT_NAME)


def _clean(text: str) -> str:
    """Unix line ends, no control characters, no lone surrogates (they cannot be sent), at most one empty line."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "replace").decode("utf-8")
    text = re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", " ", text)
    return re.sub(r"\n[ \t]*(?:\n[ \t]*)+", "\n\n", text).strip()


def _folder_text(path: Path) -> str:
    if not os.path.exists(path):  # also False for a name that no file can have
        raise UserError(Exit.CORPUS, f"corpus {path} does not exist: {_HOW_TO_MEND}")
    paths = [path] if is_there(path) else sorted(path.rglob("*"))
    files = [file for file in paths if file.is_file() and is_text_file(file)]
    if not files:
        raise UserError(Exit.CORPUS, f"corpus {path} has no .txt, .md or .jsonl file: {_HOW_TO_MEND}")
    texts: list[str] = []
    room = MAX_CHARS
    for file in files:
        text = _file_text(file, room)
        texts.append(text)
        room -= len(text)
        if room <= 0:
            break
    return "\n\n".join(texts)


def _file_text(file: Path, limit: int) -> str:
    try:
        if kind_of(file) != ".jsonl":
            return read_text(file, limit)
        return "\n\n".join(_jsonl_texts(file, read_lines(file), limit))
    except OSError as error:
        raise UserError(Exit.CORPUS, f"corpus file {file} cannot be read: {error.strerror or error}") from None
    except UnreadableText as why:
        raise UserError(Exit.CORPUS, f"corpus file {file} {why}") from None


def _jsonl_texts(file: Path, lines: Iterable[str], limit: int) -> list[str]:
    texts: list[str] = []
    size = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            document = json_value(line)
        except ValueError:
            document = None
        text = document.get("text") if isinstance(document, dict) else None
        if not isinstance(text, str):
            raise UserError(
                Exit.CORPUS, f'corpus file {file}, line {number}: is not a JSON object with a text in "text"'
            )
        texts.append(text)
        size += len(text)
        if size >= limit:
            break
    return texts
