"""Configuration text: `SET` overrides, durations, and validation errors as one sentence."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.masking import hidden
from tokenswarm.base.sentences import unknown
from tokenswarm.base.toml_text import NotToml, decode

_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_KEY = re.compile(r"[A-Za-z_][\w-]*(\.[A-Za-z_][\w-]*)*")


def parse_duration(text: str) -> float:
    """Seconds of a duration such as `30s`, `1h30m`, `250ms` or `45` (seconds). Raises ValueError."""
    squeezed = text.strip().replace(" ", "")
    if re.fullmatch(r"\d+(\.\d+)?", squeezed):
        return float(squeezed)
    parts = _DURATION_PART.findall(squeezed)
    if not parts or "".join(number + unit for number, unit in parts) != squeezed:
        raise ValueError("should be seconds, or a duration such as 30s, 20m, 8h or 1h30m")
    return sum(float(number) * _UNIT_S[unit] for number, unit in parts)


def _words(text: str) -> list[str]:
    """Split at white space outside quotes and brackets, so that lists and inline tables stay together."""
    words, word, quote, depth = [], "", "", 0
    for ch in text:
        if ch.isspace() and not quote and depth <= 0:
            words.append(word)
            word = ""
            continue
        word += ch
        if quote:
            quote = "" if ch == quote else quote
        elif ch in "\"'":
            quote = ch
        else:
            depth += (ch in "[{") - (ch in "]}")
    return [w for w in [*words, word] if w]


def parse_set(text: str) -> dict[str, str]:
    """`load.users=200 slo.ttft_p95_ms=400` as {"load.users": "200", "slo.ttft_p95_ms": "400"}; a later one wins.

    Raises UserError (USAGE) for a word that is not KEY=VALUE.
    """
    values: dict[str, str] = {}
    for word in _words(text):
        key, equals, value = word.partition("=")
        if not equals or not _KEY.fullmatch(key):
            raise UserError(Exit.USAGE, f"SET: got '{word}', but wants KEY=VALUE, such as load.users=200")
        values[key] = value
    return values


def override_value(raw: str) -> object:
    """The value of an override: a TOML value if it parses as one, None for `none`, otherwise the text itself."""
    if raw.strip().lower() in ("none", "null"):
        return None
    try:
        parsed = decode(f"value = {raw}")
    except NotToml:
        return raw
    return parsed["value"] if list(parsed) == ["value"] else raw


def with_overrides(
    data: Mapping[str, object], overrides: Mapping[str, str], texts: Collection[str] = ()
) -> dict[str, object]:
    """A copy of `data` (nested dicts) with the dotted keys of `overrides` set. `texts`: dotted keys whose values are
    always text (`prompts.salt=42` is not a number); a key that ends with a dot stands for all keys of a table.
    """
    merged = _copy(data)
    tables = tuple(key for key in texts if key.endswith("."))
    for key, raw in overrides.items():
        *path, last = key.split(".")
        table = merged
        for name in path:
            below = table.get(name)
            if not isinstance(below, dict):
                below = table[name] = {}
            table = below
        value = override_value(raw)
        is_text = (key in texts or key.startswith(tables)) and value is not None
        table[last] = raw if is_text and not isinstance(value, str) else value
    return merged


def _copy(data: Mapping[str, object]) -> dict[str, object]:
    return {key: _copy(value) if isinstance(value, dict) else value for key, value in data.items()}


def explain(error: ValidationError, model: type[BaseModel], source: str, overrides: Iterable[str] = ()) -> str:
    """A validation error as one sentence with the place, the key, its value and what is allowed. `source` names the
    file; an error in one of `overrides` (dotted keys) is attributed to SET.
    """
    details = error.errors()
    sentence = _sentence(_as_one(details), model)
    dotted = ".".join(str(part) for part in details[0]["loc"])
    from_set = any(dotted == key or dotted.startswith(key + ".") or key.startswith(dotted + ".") for key in overrides)
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return f"{'SET' if from_set and dotted else source}: {sentence}{more}"


def _as_one(details: Sequence[ErrorDetails]) -> ErrorDetails:
    """The first error; for a key with alternatives (some words or something else), both errors combined."""
    first, loc = details[0], details[0]["loc"]
    if first["type"] != "literal_error" or not str(loc[-1]).startswith("literal["):
        return first
    other = next((each for each in details[1:] if each["loc"][:-1] == loc[:-1]), None)
    words = first["ctx"]["expected"] + (f", or {_wanted(other).removeprefix('should be ')}" if other else "")
    return {**first, "loc": loc[:-1], "type": "value_error", "ctx": {"error": f"should be {words}"}}


def _sentence(detail: ErrorDetails, model: type[BaseModel]) -> str:
    loc = [str(part) for part in detail["loc"]]
    owner = _model_at(model, loc[:-1])
    if owner is not None and loc and loc[-1] not in owner.model_fields and not loc[-1].isdigit():
        table = f"[{'.'.join(loc[:-1])}]: " if loc[:-1] else ""
        return table + unknown("key", loc[-1], owner.model_fields)
    key = ".".join(loc)
    if detail["type"] == "missing":
        return f"the key {key} is missing"
    wanted = _wanted(detail)
    if not key:
        return wanted
    if isinstance(detail["input"], dict):
        return f"{key}: {wanted}"
    return f"{key} is {_shown(detail['input'])}, but {wanted}"


def _shown(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    text = hidden(repr(value))
    return text if len(text) <= 80 else text[:77] + "..."


def _wanted(detail: ErrorDetails) -> str:
    ctx = detail.get("ctx", {})
    kind = detail["type"]
    sentences = {
        "int_type": "should be a whole number",
        "float_type": "should be a number",
        "bool_type": "should be true or false",
        "string_type": "should be a text",
        "dict_type": "should be a table",
        "model_type": "should be a table",
        "tuple_type": "should be a list",
        "finite_number": "should be a finite number",
        "string_too_short": "should not be empty",
    }
    if kind in sentences:
        return sentences[kind]
    if kind == "literal_error":
        return f"should be one of {ctx['expected']}"
    for name, phrase in (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below")):
        if name in ctx:
            return f"should be {phrase} {ctx[name]:g}"
    if kind == "value_error":
        return str(ctx["error"])
    return detail["msg"].replace("Input should", "should")


def _model_at(model: type[BaseModel], loc: list[str]) -> type[BaseModel] | None:
    """The model with the keys under `loc`; None if the keys are not fixed."""
    current: type[BaseModel] | None = model
    for name in loc:
        if current is None:
            return None
        field = current.model_fields.get(name)
        if field is None:
            return None
        candidates = [field.annotation, *get_args(field.annotation)]
        current = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
    return current
