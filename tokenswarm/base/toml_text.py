"""Reads and writes TOML.

`tomllib` raises its own error for a wrong sign, and others for tables within tables without end and for numbers of
thousands of digits; here they are one.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from copy import deepcopy
from functools import lru_cache

_MOST_DEEP = 100
"""Deepest nesting of tables and arrays; a large JSON Schema has a dozen levels."""
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


class NotToml(ValueError):
    """The text is not readable TOML; `str()` says why."""


def decode(text: str) -> dict[str, object]:
    """The values of a TOML text. Raises NotToml."""
    return deepcopy(_decoded(text))  # the caller may change them


@lru_cache(maxsize=256)
def _decoded(text: str) -> dict[str, object]:
    """Cached, since a process reads the same few descriptions and settings again and again."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise NotToml(str(error)) from None
    except RecursionError:
        raise NotToml("it is nested too deeply") from None
    except ValueError:  # int() takes no more than some thousand digits
        raise NotToml("a number in it has too many digits") from None
    if _depth_beyond(values, _MOST_DEEP):
        raise NotToml("it is nested too deeply")
    return values


def _depth_beyond(value: object, left: int) -> bool:
    """Whether tables and arrays are nested deeper than `left`."""
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return bool(inner) and (left <= 0 or any(_depth_beyond(each, left - 1) for each in inner))


def toml_text(values: Mapping[str, object]) -> str:
    """The values as TOML. None is left out, since TOML has no null and an absent key means the same."""
    plain = {key: value for key, value in values.items() if not isinstance(value, Mapping)}
    tables = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    blocks = ["\n".join(_lines(plain))]
    blocks += ["\n".join([f"[{_key(key)}]", *_lines(table)]) for key, table in tables.items()]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _lines(table: Mapping[str, object]) -> list[str]:
    return [f"{_key(key)} = {toml_value(value)}" for key, value in table.items() if value is not None]


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _string(key)


def _string(text: str) -> str:
    """A basic string: JSON's escapes are valid TOML, except for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def toml_value(value: object) -> str:
    """A value as TOML in one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(_lines(value)) + " }" if any(_lines(value)) else "{}"
    assert isinstance(value, Iterable), "nothing else is a value of TOML"
    return "[" + ", ".join(toml_value(each) for each in value if each is not None) + "]"
