"""Texts that match a regular expression, made at random. Pure."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from re import _constants as opcodes  # type: ignore[attr-defined]  # the parser of the standard library itself
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

_MOST_REPEATS = 4
"""Repeats of what may be repeated without end."""
_MOST_CHARS = 50_000
"""Of a text: repeats within repeats would have no end."""
_PRINTABLE = [chr(code) for code in range(32, 127)]
_CLASSES = {
    "CATEGORY_DIGIT": r"\d",
    "CATEGORY_NOT_DIGIT": r"\D",
    "CATEGORY_SPACE": r" ",
    "CATEGORY_NOT_SPACE": r"\S",
    "CATEGORY_WORD": r"\w",
    "CATEGORY_NOT_WORD": r"\W",
}


class NotSupported(ValueError):
    """The expression has a part that engines refuse too (a look-ahead, a reference to a group), or is none."""


def matching(pattern: str, rng: random.Random) -> str:
    """A text that the whole pattern matches. Raises NotSupported."""
    try:
        return _made(parser.parse(pattern), rng, _MOST_CHARS)
    except re.error as error:
        raise NotSupported(f"{error}") from None
    except RecursionError:
        raise NotSupported("it is nested too deeply") from None


def _made(parts: Iterable[tuple[object, object]], rng: random.Random, room: int) -> str:
    """A text of these parts. Raises NotSupported where it gets longer than `room`."""
    text = ""
    for operation, value in parts:
        text += _part(operation, value, rng, room - len(text))
        if len(text) > room:
            raise NotSupported(f"its texts are longer than {_MOST_CHARS:,} characters")
    return text


def _part(operation: object, value: Any, rng: random.Random, room: int) -> str:
    if operation is opcodes.LITERAL:
        return chr(value)
    if operation in (opcodes.IN, opcodes.NOT_LITERAL, opcodes.ANY):
        return rng.choice(_signs(operation, value))
    if operation is opcodes.BRANCH:
        return _made(rng.choice(value[1]), rng, room)
    if operation is opcodes.SUBPATTERN:
        return _made(value[-1], rng, room)
    if operation in (opcodes.MAX_REPEAT, opcodes.MIN_REPEAT):
        least, most, inner = value
        times = rng.randint(least, min(most, max(least, _MOST_REPEATS)))
        if times > _MOST_CHARS:
            raise NotSupported(f"it has more than {_MOST_CHARS:,} repeats")
        return _made(((opcodes.SUBPATTERN, (None, 0, 0, inner)) for _ in range(times)), rng, room)
    if operation is opcodes.AT:
        return ""
    raise NotSupported(f"{str(operation).lower()} is not supported")


def _signs(operation: object, value: Any) -> list[str]:
    """The characters that one place may hold."""
    if operation is opcodes.ANY:
        return _PRINTABLE
    if operation is opcodes.NOT_LITERAL:
        return [sign for sign in _PRINTABLE if ord(sign) != value]
    negated = any(kind is opcodes.NEGATE for kind, _ in value)
    chosen = [sign for sign in _PRINTABLE if any(_is_one(sign, *each) for each in value) is not negated]
    if not chosen:
        raise NotSupported("a set of characters without a printable one")
    return chosen


def _is_one(sign: str, kind: object, value: Any) -> bool:
    if kind is opcodes.LITERAL:
        return ord(sign) == value
    if kind is opcodes.RANGE:
        return bool(value[0] <= ord(sign) <= value[1])
    if kind is opcodes.CATEGORY:
        return re.fullmatch(_CLASSES[str(value)], sign) is not None
    return False
