"""Text files that people bring, decoded or refused: never silent garbage. Compressed ones (.gz, .zst) too."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

from tokenswarm.base.compressed import BROKEN, Decompressed, decompressed, encoding_of

SUFFIXES = (".txt", ".md", ".jsonl")
_PACKED = (".gz", ".zst")
_NOT_TEXT = ("._", ".DS_Store")
_NOT_TEXT_FOLDERS = ("__MACOSX",)
"""What macOS puts beside the files of an archive; none of it is anybody's text."""
_CHUNK_BYTES = 1 << 20


class UnreadableText(Exception):
    """The file cannot be read as text; `str()` is the rest of a sentence about it."""


def is_text_file(path: Path) -> bool:
    """Whether the file's name says that it is text, compressed or not, and of a person's own."""
    if path.name.startswith(_NOT_TEXT) or not set(_NOT_TEXT_FOLDERS).isdisjoint(path.parts):
        return False
    return kind_of(path) in SUFFIXES


def kind_of(path: Path) -> str:
    """The suffix that tells what the text is, in lower case."""
    name = path.name.lower()
    return Path(name.removesuffix(next(filter(name.endswith, _PACKED), ""))).suffix


def read_text(path: Path, limit_chars: int) -> str:
    """The file's text, at most `limit_chars` characters of it. Raises Unreadable and OSError."""
    parts: list[str] = []
    room = limit_chars
    for text in _pieces(path):
        parts.append(text[:room])
        room -= len(text)
        if room <= 0:
            break
    return "".join(parts)


def read_lines(path: Path) -> Iterator[str]:
    """The file's lines, without their ends. Raises Unreadable and OSError."""
    rest = ""
    for text in _pieces(path):
        *lines, rest = (rest + text).split("\n")
        yield from lines
    yield rest


def _pieces(path: Path) -> Iterator[str]:
    with path.open("rb") as raw, decompressed(raw) as file:
        try:
            yield from _decoded(file)
        except BROKEN:
            raise UnreadableText("is compressed, but damaged or cut short") from None


def _decoded(file: Decompressed) -> Iterator[str]:
    data = file.read(_CHUNK_BYTES)
    mark, encoding = encoding_of(data)
    decoder = codecs.getincrementaldecoder(encoding)()
    position, data = mark, data[mark:]
    chars, at_end = 0, False
    while not at_end:
        waiting, at_end = len(decoder.getstate()[0]), not data
        try:
            text = decoder.decode(data, final=at_end)
        except UnicodeDecodeError as error:
            at = position - waiting + error.start
            raise UnreadableText(
                f"is not UTF-8 (byte {error.object[error.start]:#04x} at position {at}); write it anew in "
                "UTF-8, with: iconv -f ENCODING -t UTF-8"
                if encoding == "utf-8"
                else f"begins with the mark of {encoding.upper()}, but is not (at byte {at})"
            ) from None
        if encoding == "utf-8" and "\0" in text:
            raise UnreadableText(
                f"holds a NUL at character {chars + text.index(chr(0))}: it is not text, or UTF-16 without "
                "its mark; write it anew in UTF-8"
            )
        yield text
        chars += len(text)
        position += len(data)
        data = file.read(_CHUNK_BYTES)
