"""Reads files that may be compressed (.gz or .zst), as detected from their first bytes, not their name."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

import zstandard

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BROKEN = (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError)
"""Errors of reading a damaged or truncated compressed file."""
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_CHUNK_BYTES = 1 << 20
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte order marks; UTF-32's begins with UTF-16's, so it comes first."""


Decompressed = io.BufferedReader | gzip.GzipFile


def decompressed(raw: io.BufferedReader) -> Decompressed:
    """The decompressed content of an open file, from its beginning. Reading raises one of BROKEN if the file is damaged
    or truncated."""
    start = raw.peek(4)[:4]
    if start[:2] == _GZIP:
        return gzip.GzipFile(fileobj=raw)
    return io.BufferedReader(_Stream(_zstd_chunks(raw))) if start == _ZSTD else raw


def encoding_of(start: bytes) -> tuple[int, str]:
    """(length of the byte order mark, encoding) of a text; UTF-8 if there is none."""
    return next(((len(mark), name) for mark, name in _MARKS if start.startswith(mark)), (0, "utf-8"))


def _zstd_chunks(raw: IO[bytes]) -> Iterator[bytes]:
    """The content of all frames. Raises EOFError for a truncated file, where the library itself would just stop."""
    frame = None
    while compressed := raw.read(_CHUNK_BYTES):
        while compressed:
            frame = frame or zstandard.ZstdDecompressor().decompressobj()
            yield frame.decompress(compressed)
            compressed = frame.unused_data if frame.eof else b""
            frame = None if frame.eof else frame
    if frame is not None:
        raise EOFError("it was cut short")


class _Stream(io.RawIOBase):
    """A readable file made of chunks of bytes."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._ready = chunks, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, target: WriteableBuffer) -> int:
        while not len(self._ready):
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._ready = memoryview(chunk)
        room = memoryview(target)
        size = min(len(room), len(self._ready))
        room[:size], self._ready = self._ready[:size], self._ready[size:]
        return size
