"""What makes an answer valid: a check of its text, from what a scenario or a workload says. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend, validator_for

from tokenswarm.base.bounded_patterns import bounded
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.scenario.requests import Output
from tokenswarm.workloads.base import Prompt

Check = Callable[[str], bool]


def is_json(answer: str) -> bool:
    """Whether the whole answer is one JSON value; NaN and Infinity are none."""
    try:
        json.loads(answer, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def fits_schema(schema: Mapping[str, Any], trusted: bool = False) -> Check:
    """A check that an answer is JSON that fits the schema, by its draft (default: the newest). References are resolved
    within the schema only: none is fetched. Raises UserError (USAGE) if the schema is none, which takes some ms to
    tell; not of one that is `trusted`."""
    kind = validator_for(schema)
    try:
        if not trusted:
            kind.check_schema(schema)
    except SchemaError as error:
        raise UserError(Exit.USAGE, f"the schema to check answers against is no JSON Schema: {error.message}") from None
    if foreign := _foreign_reference(schema):
        raise UserError(Exit.USAGE, f"the schema to check answers against refers to {foreign}, which is not part of it")
    validator = with_bounded_patterns(kind)(schema)
    return lambda answer: is_json(answer) and bool(validator.is_valid(json.loads(answer)))


@cache
def with_bounded_patterns(kind: Any) -> Any:
    """The validator of a draft, whose patterns take no longer than their bound. Its checks raise TooSlow."""
    return extend(
        kind, {"pattern": _pattern, "patternProperties": _pattern_properties, "additionalProperties": _additional}
    )


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if validator.is_type(instance, "string") and not bounded(pattern).is_in(instance):
        yield ValidationError("does not match")


def _pattern_properties(validator: Any, patterns: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if validator.is_type(instance, "object"):
        for pattern, inner in patterns.items():
            for name, value in instance.items():
                if bounded(pattern).is_in(name):
                    yield from validator.descend(value, inner, path=name, schema_path=pattern)


def _additional(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not validator.is_type(instance, "object"):
        return
    patterns = [bounded(pattern) for pattern in schema.get("patternProperties", {})]
    for name in instance.keys() - schema.get("properties", {}).keys():
        if not any(pattern.is_in(name) for pattern in patterns):
            yield from validator.descend(instance[name], wanted, path=name)


def _foreign_reference(value: Any) -> str | None:
    """A `$ref` that points out of the schema: the validator would fetch it from the network."""
    if isinstance(value, Mapping):
        reference = value.get("$ref")
        if isinstance(reference, str) and not reference.startswith("#"):
            return reference
        value = value.values()
    elif not isinstance(value, list):
        return None
    return next((foreign for inner in value if (foreign := _foreign_reference(inner))), None)


def matches(pattern: str) -> Check:
    """A check that the whole answer matches, white space at its ends apart."""
    compiled = bounded(pattern)
    return lambda answer: compiled.matches_whole(answer.strip())


def check_of(output: Output) -> Check | None:
    """The check that [output] asks for, if any. Raises UserError (USAGE)."""
    if output.check == "json":
        return is_json
    if output.check == "json_schema":
        return fits_schema(output.schema_to_check or {})
    return matches(output.check_pattern or "") if output.check == "regex" else None


def with_check(prompt: Prompt, check: Check | None) -> Prompt:
    """The prompt with a further check: its answer is valid if it passes this and its own."""
    if check is None:
        return prompt
    own = prompt.check
    return replace(prompt, check=check if own is None else lambda answer: own(answer) and check(answer))
