"""Files of traces as text: plain, .gz or .zst, one line or one JSON value at a time, in bounded memory."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import zstandard

from tokenswarm.base.errors import Exit, UserError

MAX_LINE_CHARS = 64 << 20
"""A longer line, or JSON value, is not a request."""
_CHUNK_CHARS = 1 << 20
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


@contextmanager
def open_text(path: Path) -> Iterator[IO[str]]:
    """The file as UTF-8 text, decompressed. Raises UserError (DATA) if it cannot be opened, read or decoded."""
    try:
        with path.open("rb") as raw:
            start = raw.read(4)
            raw.seek(0)
            # utf-8-sig: a mark at the beginning is no part of the first line.
            with _decompressed(raw, start) as plain, io.TextIOWrapper(plain, encoding="utf-8-sig",
                                                                           newline="") as text:
                yield text
    except UnicodeDecodeError as error:
        raise UserError(Exit.DATA, f"{path} is not UTF-8 text (at byte {error.start} of a block): convert it") from None
    except (OSError, EOFError, zstandard.ZstdError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(Exit.DATA, f"{path} cannot be read: {reason}") from None


def _decompressed(raw: IO[bytes], start: bytes) -> IO[bytes]:
    if start[:2] == _GZIP:
        return gzip.GzipFile(fileobj=raw)  # type: ignore[return-value]
    if start != _ZSTD:
        return raw
    return io.BufferedReader(_Stream(_zstd_chunks(raw)))


def _zstd_chunks(raw: IO[bytes]) -> Iterator[bytes]:
    """The text of all frames. Raises EOFError for a file that was cut: the library itself would just end there."""
    frame = None
    while compressed := raw.read(_CHUNK_CHARS):
        while compressed:
            frame = frame or zstandard.ZstdDecompressor().decompressobj()
            yield frame.decompress(compressed)
            compressed = frame.unused_data if frame.eof else b""
            frame = None if frame.eof else frame
    if frame is not None:
        raise EOFError("it was cut short")


class _Stream(io.RawIOBase):
    """Chunks of bytes as a file to read from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._ready = chunks, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        while not len(self._ready):
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._ready = memoryview(chunk)
        size = min(len(target), len(self._ready))
        target[:size], self._ready = self._ready[:size], self._ready[size:]
        return size


def lines(text: IO[str]) -> Iterator[tuple[int, str]]:
    """(number from 1 on, line) of each line that is not blank. Raises ValueError for a line without end."""
    number = 0
    while line := text.readline(MAX_LINE_CHARS):
        number += 1
        if len(line) >= MAX_LINE_CHARS:
            raise ValueError(f"line {number} is longer than {MAX_LINE_CHARS:,} characters")
        if line.strip():
            yield number, line


def json_values(text: IO[str]) -> Iterator[tuple[int, Any]]:
    """(number from 1 on, value) of a JSON array's elements, or of JSON values one after another.

    Raises ValueError where the text is not JSON: the elements before it have been given by then.
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
    """Reads JSON values from a stream whose values may be longer than a chunk."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream, self._text, self._at = stream, "", 0
        self._decode = json.JSONDecoder().raw_decode

    def peek(self) -> str:
        """The next character that is not blank; "" at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at].isspace():
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more(_CHUNK_CHARS):
                return ""

    def skip(self, characters: int) -> None:
        self._at += characters

    def value(self, number: int) -> Any:
        """The JSON value that begins here. Each failed attempt doubles what is read, so that the work stays linear."""
        chunk = _CHUNK_CHARS
        while True:
            try:
                value, end = self._decode(self._text, self._at)
                if end < len(self._text) or not self._more(_CHUNK_CHARS):  # a number could go on
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
            self._text, self._at = self._text[self._at:] + chunk, 0
        return bool(chunk)
