"""What somebody else's server says, as plain values that can be kept, compared and shown: the one place for it.

JSON of any type, depth and size comes in; out come None, bool, finite numbers, texts without control characters, lists
and tables of these, or nothing at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from tokenswarm.base.numbers import sane_json

MAX_DEPTH = 40
"""Lists and tables within each other; an engine's own configuration has fewer than ten."""
MAX_TEXT_CHARS = 10_000
"""Of one text; the rest is cut off."""
MAX_LINE_CHARS = 2_000
"""Of one line that people read; a sentence of ours has a tenth of that, if nothing endless was typed or sent."""
MAX_ITEMS = 100_000
"""Values in one document; one with more is not taken."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
"""What moves a terminal's cursor, turns writing round, or cannot be encoded."""


class NotJson(Exception):
    """This is no JSON that is taken; `str()` says why in a few words."""


def decode(data: bytes | str, clean: Callable[[str], str] = str) -> object:
    """The plain value of a JSON document; `clean` is applied to each text and name in it. Raises NotJson."""
    try:
        value = sane_json(data)
    except (ValueError, MemoryError):
        raise NotJson("it cannot be read as JSON") from None
    return _Harmless(clean).of(value, MAX_DEPTH)


class _Harmless:
    """Makes a decoded value harmless. Raises NotJson for one that is too deep or too large."""

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
    """A text without control characters (a blank stands for each) and lone surrogates, cut after `most` characters."""
    clean = _CONTROL.sub(" ", text)
    return clean if most is None or len(clean) <= most else clean[:most] + "..."


def readable(text: str) -> str:
    """A sentence of ours, perhaps with lines of a log under it, without control characters and endless texts that came
    along."""
    return "\n".join(printable(line, MAX_LINE_CHARS) for line in text.split("\n"))


def table(value: object) -> Mapping[str, object]:
    """The value if it is a table, else an empty one."""
    return value if isinstance(value, dict) else {}


def listed(value: object) -> list[object]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []
