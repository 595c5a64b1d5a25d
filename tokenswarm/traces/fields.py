"""Checks values of a foreign row: each function returns the value or None if it is missing, or raises ValueError."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime

from tokenswarm.base.numbers import json_value
from tokenswarm.traces.request import Message

MAX_TOKENS = 10**9
"""Larger numbers cannot be a request's length."""
MAX_TIME_S = 10**11
LENGTHS = ("max_completion_tokens", "max_tokens")
"""Names of a request body's field for the maximum answer length."""
_OURS = frozenset({"model", "messages", "prompt", "stream", "stream_options", *LENGTHS})
"""Fields that a run sets in each body itself."""
_SEVERAL_ANSWERS = ("n", "best_of")
_ROLES = {
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "tool_result": "tool",
    "function": "tool",
    "model": "assistant",
    "ai": "assistant",
}


def tokens(row: Mapping[str, object], name: str) -> int | None:
    """A token count."""
    value = number(row, name)
    if value is None:
        return None
    if not 0 <= value <= MAX_TOKENS or value != int(value):
        raise ValueError(f"{name} is {_shown(row[name])}, which is not a number of tokens")
    return int(value)


def number(row: Mapping[str, object], name: str) -> float | None:
    """A finite number, also as text, as in CSV."""
    value = row.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{name} is {_shown(value)}, which is not a number")
    try:
        result = float(value)
    except (ValueError, OverflowError):
        raise ValueError(f"{name} is {_shown(value)}, which is not a number") from None
    if not math.isfinite(result):
        raise ValueError(f"{name} is {_shown(value)}, which is not a number")
    return result


def seconds(row: Mapping[str, object], name: str, per_second: float = 1.0) -> float | None:
    """A time or duration in seconds, given in units of 1/`per_second` s; or a date, as unix seconds."""
    value = row.get(name)
    if isinstance(value, str) and value.strip() and not _is_number(value):
        return date(value, name)
    result = number(row, name)
    if result is None:
        return None
    if abs(result / per_second) > MAX_TIME_S:
        raise ValueError(f"{name} is {_shown(value)}, which is not a time")
    return result / per_second


def date(value: str, name: str) -> float:
    """Unix seconds of an ISO date such as `2023-11-16 18:15:46.6805900`; UTC if it has no time zone."""
    text = value.strip()
    whole, point, rest = text.partition(".")
    # Python parses at most 6 digits after the point; the rest is added as a number.
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    try:
        moment = datetime.fromisoformat(
            whole + rest[len(digits) :].replace("Z", "+00:00") if point else text.replace("Z", "+00:00")
        )
    except ValueError:
        raise ValueError(f"{name} is {_shown(value)}, which is not a time") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp() + (float(f"0.{digits}") if digits else 0.0)


def text(row: Mapping[str, object], name: str) -> str | None:
    """A text, or a number as text: an identity."""
    value = row.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"{name} is {_shown(value)}, which is not a name")
    return str(value)


_WHOLE = {int}


def hash_ids(row: Mapping[str, object], name: str = "hash_ids") -> list[int] | None:
    """Block IDs, as signed 64-bit integers."""
    value = row.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or not set(map(type, value)) <= _WHOLE:
        raise ValueError(f"{name} is not a list of whole numbers")
    if value and (max(value) >= 1 << 63 or min(value) < -(1 << 63)):
        return [((each + (1 << 63)) & ((1 << 64) - 1)) - (1 << 63) for each in value]
    return value


def check_blocks(ids: list[int] | None, input_tokens: int | None, block_tokens: int) -> None:
    """Raise ValueError if there are more blocks than fit into the prompt. Fewer are allowed: the end of the prompt then
    has no ID. The last block may be partial.
    """
    if ids is not None and input_tokens is not None and len(ids) > -(-input_tokens // block_tokens):
        raise ValueError(f"{len(ids)} blocks of {block_tokens} tokens do not fit into {input_tokens:,} tokens")


def messages(value: object, role: str = "role", content: str = "content") -> list[Message]:
    """Chat messages with the usual role names. Raises ValueError unless each has a role and content."""
    if not isinstance(value, list) or not value:
        raise ValueError("the messages are not a list with something in it")
    result: list[Message] = []
    for each in value:
        name = each.get(role) if isinstance(each, dict) else None
        if not isinstance(name, str):
            raise ValueError(f"a message has no {role}")
        words = each.get(content)
        if not isinstance(words, str | list) and not (words is None and ("tool_calls" in each or content in each)):
            raise ValueError(f"a message has no text in {content}")
        others = {key: part for key, part in each.items() if key not in (role, content)} if role == "role" else {}
        result.append({"role": _ROLES.get(name.lower(), name.lower()), "content": words, **others})
    return result


def body(recorded: Mapping[str, object]) -> dict[str, object]:
    """The part of a recorded request body that is kept. Raises ValueError if it asks for several answers, which cannot
    be timed as one."""
    for name in _SEVERAL_ANSWERS:
        if recorded.get(name) not in (None, 1):
            raise ValueError(f"it asks for several answers ({name}), which have no TTFT and no length of their own")
    return {name: value for name, value in recorded.items() if name not in _OURS and name not in _SEVERAL_ANSWERS}


def answer_tokens(recorded: Mapping[str, object]) -> int | None:
    """The maximum answer length in a recorded request body."""
    return next((tokens(recorded, name) for name in LENGTHS if recorded.get(name) is not None), None)


def table(row: Mapping[str, object], name: str) -> dict[str, object]:
    """A JSON object, also as JSON text; an empty one if it is missing."""
    value = row.get(name)
    if isinstance(value, str):
        try:
            value = json_value(value)
        except ValueError:
            raise ValueError(f"{name} is not a JSON object") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"{name} is not a JSON object")
    return value


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _shown(value: object) -> str:
    """The type of a value; the value itself only if it is a number, since others may be private."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value!r}"[:40]
    return f"of type {type(value).__name__}"
