"""Stores texts of recorded requests that exceed memory in a file that only this process can open.

Small files stay in memory. For a larger one, the messages of each request are appended to the file and read again when
the request is sent. A turn that continues the previous one is stored without the common part.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import msgspec

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.traces.request import Message, TraceRequest, estimated_tokens, text_bytes

IN_MEMORY_TOKENS = 16 << 20
"""Amount of text that stays in memory (estimated; about 64 MB)."""
_REMEMBERED_BODIES = 256
_NO_FORM = (ValueError, TypeError, OverflowError)
"""Values that cannot be stored (a lone surrogate, a number of 100 digits) stay in memory."""


class StoredMessages(Sequence[Message]):
    """The messages of a request, read from `file` on each access. `before`: the messages that they continue."""

    __slots__ = ("_before", "_file", "_length", "_place", "_size", "text_bytes")

    def __init__(self, file: _File, own: Sequence[Message], before: StoredMessages | None) -> None:
        """Raises OSError if they cannot be written, or one of _NO_FORM if they cannot be stored."""
        self._file, self._before = file, before
        self._length = len(own) + (len(before) if before is not None else 0)
        self.text_bytes: int = text_bytes(own) + (text_bytes(before) if before is not None else 0)
        self._place, self._size = file.write(own)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Message]:
        return iter(self._all())

    @overload
    def __getitem__(self, at: int) -> Message: ...

    @overload
    def __getitem__(self, at: slice) -> list[Message]: ...

    def __getitem__(self, at: int | slice) -> Message | list[Message]:
        return self._all()[at]

    def _all(self) -> list[Message]:
        parts: list[list[Message]] = []
        part: StoredMessages | None = self
        while part is not None:
            parts.append(part._file.read(part._place, part._size))
            part = part._before
        return [message for each in reversed(parts) for message in each]


class _File:
    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="tokenswarm-")  # noqa: SIM115  # as long as its messages
        self._end, self._unwritten = 0, False

    def write(self, messages: Sequence[Message]) -> tuple[int, int]:
        data, place = msgspec.msgpack.encode(messages), self._end
        self._file.write(data)
        self._end, self._unwritten = self._end + len(data), True
        return place, len(data)

    def read(self, place: int, size: int) -> list[Message]:
        if self._unwritten:
            self.flush()
        messages: list[Message] = msgspec.msgpack.decode(os.pread(self._file.fileno(), size, place))
        return messages

    def flush(self) -> None:
        """Flush the file, for processes that are forked later."""
        self._file.flush()
        self._unwritten = False


def with_stored_texts(requests: Iterable[TraceRequest]) -> Iterator[TraceRequest]:
    """The same requests, with texts in bounded memory. Raises UserError (RESULTS) if the disk is full."""
    kept_tokens, store = 0, _Store()
    for request in requests:
        if request.body:
            request.body = store.same_body(request.body)
        if request.messages is not None:
            if kept_tokens <= IN_MEMORY_TOKENS:
                kept_tokens += estimated_tokens(request.messages)
            else:
                request.messages = store.stored(request.messages)
        yield request
    store.finish()


class _Store:
    def __init__(self) -> None:
        self._file: _File | None = None
        self._last: tuple[Sequence[Message], StoredMessages] | None = None
        self._bodies: dict[bytes, dict[str, object]] = {}

    def same_body(self, body: dict[str, object]) -> dict[str, object]:
        """An equal body of an earlier request, if any: tool lists are often long and the same in each request."""
        try:
            key = msgspec.msgpack.encode(body)
        except _NO_FORM:
            return body
        if len(self._bodies) >= _REMEMBERED_BODIES and key not in self._bodies:
            self._bodies.clear()
        return self._bodies.setdefault(key, body)

    def stored(self, messages: Sequence[Message]) -> Sequence[Message]:
        try:
            self._file = self._file or _File()
            before = None
            if self._last is not None:
                last, kept = self._last
                if len(last) <= len(messages) and all(
                    known is other for known, other in zip(last, messages, strict=False)
                ):
                    before = kept
            new = messages[len(before) :] if before is not None else messages
            stored = StoredMessages(self._file, new, before)
        except OSError as error:
            raise _no_room(error) from None
        except _NO_FORM:
            return messages
        self._last = (messages, stored)
        return stored

    def finish(self) -> None:
        try:
            if self._file is not None:
                self._file.flush()
        except OSError as error:
            raise _no_room(error) from None


def _no_room(error: OSError) -> UserError:
    return UserError(
        Exit.RESULTS,
        f"the texts of this file do not fit into the folder for temporary files ({error.strerror or error}): "
        "set TMPDIR to one with more room",
    )
