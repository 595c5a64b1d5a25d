"""Answers under a constraint: values that fit a JSON Schema, calls of tools, and such as do not fit. Pure."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tokenswarm.base.ebnf import Grammar
from tokenswarm.sim.patterns import matching

_DEEPEST = 32
"""References and tables inside each other that an answer follows."""
_MOST_VALUES = 20_000
"""Of one answer: lists within lists would have no end. What is beyond is null, as no context would hold it."""
_TEXTS = ("a short text", "the scheduler", "cache and queue", "src/core/parser.py", "nothing else", "an open file")
REFUSAL = "I cannot help with that."
REFUSED = "content_filter"
"""The finish_reason of an answer that was refused."""
CALLS_SHARE = 0.8
"""Share of the answers that call a tool where the model may also answer in text."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that a request defines."""

    name: str
    parameters: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class TextForm:
    """A text that is asked for by a regular expression, a list of choices or a grammar. Raises ValueError for what an
    engine could not compile."""

    kind: Literal["regex", "choice", "grammar"]
    value: object

    def __post_init__(self) -> None:
        self.text(random.Random(0))

    def text(self, rng: random.Random, *, fits: bool = True) -> str:
        """A text of that form, or one that is not."""
        if self.kind == "choice":
            if not isinstance(self.value, list) or not self.value or not all(isinstance(x, str) for x in self.value):
                raise ValueError("choice must be a list of texts")
            text = rng.choice(self.value)
        elif not isinstance(self.value, str):
            raise ValueError(f"{self.kind} must be a text")
        else:
            text = matching(self.value, rng) if self.kind == "regex" else Grammar(self.value).text(rng)
        return text if fits else f"{text} or so?"


def name_token(name: str) -> bytes:
    """The token that stands for the name of a tool: a call's first one."""
    return zlib.crc32(name.encode("utf-8", "replace")).to_bytes(4, "big")


def called(tools: Sequence[Tool], choice: object, rng: random.Random) -> Tool | None:
    """The tool that an answer calls, if it calls one. `choice`: as tool_choice has it."""
    if not tools or choice == "none":
        return None
    if isinstance(choice, Mapping):
        function = choice.get("function")
        wanted = function.get("name") if isinstance(function, Mapping) else None
        return next((tool for tool in tools if tool.name == wanted), None)
    if choice != "required" and rng.random() >= CALLS_SHARE:
        return None
    return rng.choice(tools)


def json_text(schema: Mapping[str, object] | None, rng: random.Random, *, fits: bool = True) -> str:
    """JSON that fits a schema (None: any object), or does not."""
    value: object = (
        instance(schema, rng)
        if schema is not None
        else {
            "title": "The scheduler keeps the order of events",
            "score": rng.randrange(1, 100),
            "tags": rng.sample(["cache", "queue", "token", "batch", "stream"], 2),
            "confirmed": rng.random() < 0.5,
        }
    )
    if fits:
        return json.dumps(value)
    if isinstance(value, dict) and value and rng.random() < 0.5:  # JSON, but of another form
        name = next(iter(value))
        value[f"{name}_"] = value.pop(name)
        return json.dumps(value)
    return json.dumps(value)[:-1] or "-"


def schema_of_format(response_format: Mapping[str, object]) -> Mapping[str, object] | None:
    """The schema that a response_format asks for, if it does."""
    schema = response_format.get("json_schema")
    inner = schema.get("schema") if isinstance(schema, Mapping) else None
    return inner if isinstance(inner, Mapping) else None


def instance(schema: Mapping[str, object], rng: random.Random) -> object:
    """A value that fits the common part of JSON Schema."""
    known = {
        f"#/{place}/{name}": value
        for place in ("$defs", "definitions")
        if isinstance(inner := schema.get(place), Mapping)
        for name, value in inner.items()
    }
    return _instance(schema, rng, 0, known, [_MOST_VALUES])


def _instance(
    schema: Mapping[str, object], rng: random.Random, depth: int, known: Mapping[str, object], left: list[int]
) -> object:
    """A value that fits: type, enum, const, properties, items, bounds, and references to what is `known`."""
    left[0] -= 1
    if left[0] < 0:
        return None
    referred = known.get(str(schema.get("$ref")))
    if isinstance(referred, Mapping) and depth < _DEEPEST:
        return _instance(referred, rng, depth + 1, known, left)
    if "const" in schema:
        return schema["const"]
    enum = schema.get("enum")
    if isinstance(enum, list) and enum:
        return rng.choice(enum)
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0] if kind else None
    if (kind == "object" or "properties" in schema) and depth < _DEEPEST:
        properties = schema.get("properties")
        items = properties.items() if isinstance(properties, Mapping) else ()
        return {
            name: _instance(value if isinstance(value, Mapping) else {}, rng, depth + 1, known, left)
            for name, value in items
        }
    if kind == "array" and depth < _DEEPEST:
        items_schema = schema.get("items")
        count = min(max(2, _bound(schema, "minItems", 0)), _bound(schema, "maxItems", 1 << 30), max(0, left[0]))
        return [
            _instance(items_schema if isinstance(items_schema, Mapping) else {}, rng, depth + 1, known, left)
            for _ in range(count)
        ]
    return _simple(str(kind), schema, rng)


def _simple(kind: str, schema: Mapping[str, object], rng: random.Random) -> object:
    low = _bound(schema, "minimum", 0)
    if kind in ("integer", "number"):
        whole = rng.randint(low, max(low, _bound(schema, "maximum", low + 99)))
        return whole if kind == "integer" or "maximum" in schema else whole + rng.randrange(10) / 10
    if kind == "boolean":
        return rng.random() < 0.5
    if kind == "null":
        return None
    text = rng.choice(_TEXTS)
    least, most = min(_bound(schema, "minLength", 0), _MOST_VALUES), _bound(schema, "maxLength", 1 << 30)
    return (text * (least // len(text) + 1) if least > len(text) else text)[:most]


def _bound(schema: Mapping[str, object], name: str, default: int) -> int:
    value = schema.get(name)
    return round(value) if isinstance(value, int | float) and not isinstance(value, bool) else default
