"""Matches users' regular expressions against engines' texts in bounded time.

Some patterns take time that doubles with each character, such as (a|aa)+$ on "aaaa...b". Answers are checked in the
process that times the streams, so such a pattern would stop the load and delay all other timestamps.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import regex

_BOUND_S = 0.05
"""In CPU time, so that a busy machine makes no difference. An ordinary pattern takes some microseconds."""
_PATTERNS = 1000
_SHOWN_CHARS = 80

NoPattern: type[Exception] = regex.error
"""The error that `bounded` raises for an invalid pattern."""


class TooSlow(Exception):
    """A pattern exceeded its time limit on some text and is not tried again in this process. `str()` is a sentence with
    the pattern."""


class BoundedPattern:
    """A compiled pattern that is disabled once it exceeds its time limit, so that it does so only once."""

    def __init__(self, pattern: str) -> None:
        """Raises NoPattern if it is not a regular expression."""
        self._compiled = regex.compile(pattern)
        self._slow = False

    def matches_whole(self, text: str) -> bool:
        """Whether the whole text matches. Raises TooSlow."""
        return self._in_time(self._compiled.fullmatch, text)

    def is_in(self, text: str) -> bool:
        """Whether some part of the text matches. Raises TooSlow."""
        return self._in_time(self._compiled.search, text)

    def _in_time(self, match: Callable[..., object], text: str) -> bool:
        if not self._slow:
            try:
                return match(text, timeout=_BOUND_S) is not None
            except TimeoutError:
                self._slow = True
        shown = self._compiled.pattern[:_SHOWN_CHARS]
        raise TooSlow(f"the pattern '{shown}' takes too long on some answers, so it is not tried on the rest")


@lru_cache(maxsize=_PATTERNS)
def bounded(pattern: str) -> BoundedPattern:
    """The pattern, compiled once in a process. Raises NoPattern if it is not a regular expression."""
    return BoundedPattern(pattern)
