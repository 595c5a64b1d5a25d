"""Files that may be compressed, .gz or .zst, as their first bytes say and not their name."""

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
"""What reading a compressed file raises that is damaged or was cut short."""
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_CHUNK_BYTES = 1 << 20
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte order marks; that of UTF-32 begins with that of UTF-16."""


Decompressed = io.BufferedReader | gzip.GzipFile


def decompressed(raw: io.BufferedReader) -> Decompressed:
    """The content of an open file, from its beginning. Reading it raises one of BROKEN where it is no whole file."""
    start = raw.peek(4)[:4]
    if start[:2] == _GZIP:
        return gzip.GzipFile(fileobj=raw)
    return io.BufferedReader(_Stream(_zstd_chunks(raw))) if start == _ZSTD else raw


def encoding_of(start: bytes) -> tuple[int, str]:
    """How long the byte order mark at the beginning of a text is, and its encoding: UTF-8 where there is none."""
    return next(((len(mark), name) for mark, name in _MARKS if start.startswith(mark)), (0, "utf-8"))


def _zstd_chunks(raw: IO[bytes]) -> Iterator[bytes]:
    """The text of all frames. Raises EOFError for a file that was cut: the library itself would just end there."""
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
    """Chunks of bytes as a file to read from."""

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
