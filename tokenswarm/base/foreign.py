"""Turns what foreign servers say into plain values that can be stored, compared and shown.

Accepts JSON of any type, depth and size; returns None, bool, finite numbers, texts without control characters, and
lists and tables of these, or rejects it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from tokenswarm.base.numbers import sane_json

MAX_DEPTH = 40
"""Deepest nesting of lists and tables; an engine's configuration has fewer than ten levels."""
MAX_TEXT_CHARS = 10_000
"""Longest text; the rest is cut off."""
MAX_LINE_CHARS = 2_000
"""Longest line shown to people; our sentences have a tenth of that unless something endless was typed or sent."""
MAX_ITEMS = 100_000
"""Most values in a document; larger ones are rejected."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
"""Characters that move the cursor, reverse the writing direction, or cannot be encoded."""


class NotJson(Exception):
    """The JSON is invalid or rejected; `str()` says why in a few words."""


def decode(data: bytes | str, clean: Callable[[str], str] = str) -> object:
    """The plain value of a JSON document, with `clean` applied to each text and name. Raises NotJson."""
    try:
        value = sane_json(data)
    except (ValueError, MemoryError):
        raise NotJson("it cannot be read as JSON") from None
    return _Harmless(clean).of(value, MAX_DEPTH)


class _Harmless:
    """Sanitizes a decoded value. Raises NotJson if it is too deep or too large."""

    def __init__(self, clean: Callable[[str], str]) -> None:
        self._clean, self._left = clean, MAX_ITEMS

    def of(self, value: object, depth: int) -> object:
        self._left -= 1
        if self._left < 0 or depth < 0:
            raise NotJson("it is nested too deeply" if depth < 0 else "it holds too many values")
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, dict):
            return {self._text(str(key)): self.of(item, depth - 1) for key, item in value.items()}
        if isinstance(value, list):
            return [self.of(item, depth - 1) for item in value]
        return value

    def _text(self, text: str) -> str:
        return printable(self._clean(text[:MAX_TEXT_CHARS]))


def printable(text: str, most: int | None = None) -> str:
    """A text with control characters and lone surrogates replaced by blanks, cut after `most` characters."""
    clean = _CONTROL.sub(" ", text)
    return clean if most is None or len(clean) <= most else clean[:most] + "..."


def readable(text: str) -> str:
    """One of our messages, possibly followed by log lines, without control characters and endless texts."""
    return "\n".join(printable(line, MAX_LINE_CHARS) for line in text.split("\n"))


def table(value: object) -> Mapping[str, object]:
    """The value if it is a table, otherwise an empty one."""
    return value if isinstance(value, dict) else {}


def listed(value: object) -> list[object]:
    """The value if it is a list, otherwise an empty one."""
    return value if isinstance(value, list) else []
