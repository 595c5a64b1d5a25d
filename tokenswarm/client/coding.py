"""Decompresses bodies. Requests ask for no compression, but some proxies compress anyway."""

from __future__ import annotations

import zlib
from typing import Any

MAX_DECOMPRESSED_BYTES = 64 * 1024 * 1024
"""Limit on the decompressed size: a small body can expand to a huge one."""
_GZIP, _ZLIB, _RAW = 31, 15, -15
"""zlib's window sizes by format. Some servers send `deflate` without the zlib header."""


class Undecodable(Exception):
    """The body cannot be read; `str()` is a sentence."""


class Decompressor:
    """Takes a body of one content coding in pieces. Raises Undecodable for a coding that is not known."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._size = 0
        self._fed = False
        if coding in ("gzip", "x-gzip"):
            self._unpacker: Any = zlib.decompressobj(_GZIP)
        elif coding == "deflate":
            self._unpacker = zlib.decompressobj(_ZLIB)
        elif coding == "br":
            self._unpacker = _brotli()
        else:
            raise Undecodable(
                f"the answer is compressed in a way that is not read here ({coding[:40]!r}); switch the "
                "compression off at the server or the proxy"
            )

    def feed(self, piece: bytes) -> bytes:
        """The next bytes of the body. Raises Undecodable."""
        try:
            plain = self._unpack(piece)
        except Exception as error:  # zlib.error or brotli.error, which cannot be named: brotli is optional
            raise Undecodable(f"the answer says that it is {self._coding}, but is not ({error})") from None
        self._size += len(plain)
        if self._size > MAX_DECOMPRESSED_BYTES:
            raise Undecodable(f"the answer is larger than {MAX_DECOMPRESSED_BYTES >> 20} MiB when decompressed")
        return plain

    def _unpack(self, piece: bytes) -> bytes:
        room = MAX_DECOMPRESSED_BYTES + 1 - self._size
        if self._coding == "br":
            plain: bytes = self._unpacker.process(piece, output_buffer_limit=room)
            return plain
        first, self._fed = not self._fed, True
        try:
            plain = self._unpacker.decompress(piece, room)
        except zlib.error:
            if self._coding != "deflate" or not first:
                raise
            self._unpacker = zlib.decompressobj(_RAW)
            plain = self._unpacker.decompress(piece, room)
        parts = [plain]
        while self._unpacker.eof and self._unpacker.unused_data.strip(b"\0") and len(plain) < room:
            rest, self._unpacker = self._unpacker.unused_data, zlib.decompressobj(_GZIP)  # one gzip member per event
            room -= len(plain)
            plain = self._unpacker.decompress(rest, room)
            parts.append(plain)
        return b"".join(parts)


def _brotli() -> object:
    try:
        import brotli
    except ImportError:
        raise Undecodable(
            "the answer is compressed with br, and the package brotli is not there to read it; switch "
            "the compression off at the server or the proxy"
        ) from None
    return brotli.Decompressor()
