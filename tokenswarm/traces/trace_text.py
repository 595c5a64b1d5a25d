"""Reads trace files as text (plain, .gz or .zst), one line or JSON value at a time, in bounded memory."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tokenswarm.base.compressed import BROKEN, decompressed, encoding_of
from tokenswarm.base.errors import Exit, UserError

MAX_LINE_CHARS = 64 << 20
"""Longest line or JSON value; a longer one is not a request."""
_CHUNK_CHARS = 1 << 20


@contextmanager
def open_text(path: Path) -> Iterator[IO[str]]:
    """The file as decompressed text: UTF-8, or as its byte order mark says. Raises UserError (DATA) if it cannot be
    opened, read or decoded."""
    try:
        with path.open("rb") as raw, decompressed(raw) as plain:
            mark, encoding = encoding_of(plain.peek(4)[:4])
            plain.read(mark)
            with io.TextIOWrapper(plain, encoding=encoding, newline="") as text:
                yield text
    except UnicodeDecodeError as error:
        raise UserError(
            Exit.DATA,
            f"{path} is not {error.encoding.upper()} text (at byte {error.start} of a block): convert it to UTF-8",
        ) from None
    except (OSError, *BROKEN) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(Exit.DATA, f"{path} cannot be read: {reason}") from None


def lines(text: IO[str]) -> Iterator[tuple[int, str]]:
    """(1-based number, line) of each non-blank line. Raises ValueError for a line that is too long."""
    number = 0
    while line := text.readline(MAX_LINE_CHARS):
        number += 1
        if len(line) >= MAX_LINE_CHARS:
            raise ValueError(f"line {number} is longer than {MAX_LINE_CHARS:,} characters")
        if line.strip():
            yield number, line


def json_values(text: IO[str]) -> Iterator[tuple[int, object]]:
    """(1-based number, value) of a JSON array's elements, or of consecutive JSON values. Raises ValueError at text that
    is not JSON, after yielding the values before it.
    """
    buffer, ended, number = _Buffer(text), False, 0
    if buffer.peek() == "[":
        buffer.skip(1)
        closing = "]"
    else:
        closing = ""
    while not ended:
        character = buffer.peek()
        if character == "" or character == closing:
            ended = True
        elif character == "," and number:
            buffer.skip(1)
        else:
            number += 1
            yield number, buffer.value(number)


class _Buffer:
    """Reads JSON values from a stream; values may be longer than a chunk."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream, self._text, self._at = stream, "", 0
        self._decode = json.JSONDecoder().raw_decode

    def peek(self) -> str:
        """The next non-blank character; "" at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at].isspace():
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more(_CHUNK_CHARS):
                return ""

    def skip(self, characters: int) -> None:
        self._at += characters

    def value(self, number: int) -> object:
        """The JSON value that starts here. Each failed attempt doubles the amount read, so the total work is linear."""
        chunk = _CHUNK_CHARS
        while True:
            try:
                value, end = self._decode(self._text, self._at)
                if end < len(self._text) or not self._more(_CHUNK_CHARS):  # a number might continue
                    self._at = end
                    return value
            except ValueError as error:
                if not self._more(chunk):
                    raise ValueError(f"value {number} is not JSON: {error}") from None
                chunk *= 2
            except RecursionError:
                raise ValueError(f"value {number} is nested too deeply") from None
            if len(self._text) > MAX_LINE_CHARS:
                raise ValueError(f"value {number} is longer than {MAX_LINE_CHARS:,} characters")

    def _more(self, characters: int) -> bool:
        chunk = self._stream.read(characters)
        if chunk:
            self._text, self._at = self._text[self._at :] + chunk, 0
        return bool(chunk)
