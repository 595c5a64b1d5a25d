"""Parses numbers in text from outside, and rejects values that no measurement can have.

Whoever makes numbers of foreign text (run folders, /metrics) asks here, so that nothing behind it meets an infinite or
an absurd one.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable

LARGEST = 1e15
"""No count, time or rate of a run comes near this; integers up to it are exact as floats."""

_HALF = re.compile("[\ud800-\udfff]")


def is_sane(value: float) -> bool:
    """Whether a number is finite and not absurdly large."""
    return math.isfinite(value) and -LARGEST <= value <= LARGEST


def significant(value: float, digits: int = 3) -> str:
    """So many digits, and never an exponent for what is large: 0.057, 4.2, 240, 1,250."""
    return f"{value:,.0f}" if abs(value) >= 10.0 ** (digits - 1) else f"{value:.{digits}g}"


def load_number(value: float) -> str:
    """Users or requests/s for display: four digits distinguish recorded rates well enough."""
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:.10g}"


def sane_json(text: str | bytes) -> object:
    """The value of a JSON text in which numbers that are not sane became None, and halves of characters (which cannot
    be written) blanks. Raises ValueError if it is no JSON."""
    try:
        value = json.loads(text, parse_float=_sane_float, parse_int=_sane_int, parse_constant=lambda _: None)
        escaped = b"\\ud" in text.lower() if isinstance(text, bytes) else "\\ud" in text.lower()
        return _writable(value) if escaped else value
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def json_value(text: str | bytes, constants: Callable[[str], object] | None = None) -> object:
    """The value of a JSON text, as it stands; `constants` makes one of NaN and the like. Raises ValueError if it is
    none, or is nested too deeply to be read."""
    try:
        return json.loads(text, parse_constant=constants)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def loose_json(content: bytes) -> object:
    """The value of what Python's own reader and the servers of others take for JSON: texts may hold control characters,
    bytes that are no UTF-8 (which become U+FFFD), and halves of characters, which are left as they are. Numbers are
    sane, or None. Raises ValueError if it is nothing like JSON."""
    try:
        return json.loads(
            content.decode("utf-8", "replace"),
            strict=False,
            parse_float=_sane_float,
            parse_int=_sane_int,
            parse_constant=lambda _: None,
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def without_halves(text: str) -> str:
    """The text with lone surrogates replaced by U+FFFD; pairs become one character."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _writable(value: object) -> object:
    """The value with lone surrogates removed from texts and names."""
    if isinstance(value, str):
        return _HALF.sub(" ", value)
    if isinstance(value, dict):
        return {_writable(key): _writable(item) for key, item in value.items()}
    return [_writable(item) for item in value] if isinstance(value, list) else value


def _sane_float(digits: str) -> float | None:
    value = float(digits)
    return value if is_sane(value) else None


def _sane_int(digits: str) -> int | None:
    value = int(digits) if len(digits) < 32 else None
    return value if value is not None and abs(value) < 2**63 else None
