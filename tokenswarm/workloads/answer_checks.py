"""Checks of an answer's text, from the settings of a scenario or workload. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Generic, TypeVar

from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend, validator_for

from tokenswarm.base.bounded_patterns import bounded
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.numbers import json_value
from tokenswarm.scenario.requests import Output
from tokenswarm.workloads.base import Prompt

Check = Callable[[str], bool]
_Checked = TypeVar("_Checked")
_REASON_CHARS = 300
_UNDECODED = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, slots=True)
class Explained(Generic[_Checked]):
    """A check that can say what is wrong. `why` returns None if nothing is."""

    why: Callable[[_Checked], str | None]

    def __call__(self, checked: _Checked) -> bool:
        return self.why(checked) is None


def why_not(check: Callable[[_Checked], bool] | None, checked: _Checked) -> str | None:
    """What a check finds wrong; None if it passes or cannot explain."""
    return check.why(checked) if isinstance(check, Explained) else None


def why_no_json(answer: str) -> str | None:
    """Why the whole answer is not one JSON value, or None. NaN and Infinity are not JSON."""
    try:
        json_value(answer, constants=_refuse)
    except ValueError as error:
        return f"no JSON: {error}"
    return None


def is_json(answer: str) -> bool:
    """Whether the whole answer is a single JSON value."""
    return why_no_json(answer) is None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def fits_schema(schema: Mapping[str, object], trusted: bool = False) -> Check:
    """A check that an answer is JSON that matches the schema, by its draft (default: the newest). References are
    resolved only within the schema; nothing is fetched. Raises UserError (USAGE) for an invalid schema, unless it is
    `trusted` (the validation takes some ms)."""
    kind = validator_for(schema)
    try:
        if not trusted:
            kind.check_schema(schema)
    except SchemaError as error:
        raise UserError(
            Exit.USAGE, f"the schema to check answers against is not a JSON Schema: {error.message}"
        ) from None
    if foreign := _foreign_reference(schema):
        raise UserError(Exit.USAGE, f"the schema to check answers against refers to {foreign}, which is not part of it")
    validator = with_bounded_patterns(kind)(schema)

    def why(answer: str) -> str | None:
        return why_no_json(answer) or _against_schema(validator, answer)

    return Explained(why)


def _against_schema(validator: Validator, answer: str) -> str | None:
    try:
        error = next(validator.iter_errors(json_value(answer)), None)
    except RecursionError:  # for a schema that refers to itself endlessly
        return "too deeply nested to be held against the schema"
    if error is None:
        return None
    place = "/".join(map(str, error.absolute_path))
    reason = f"{place}: {error.message}" if place else error.message
    if len(reason) > _REASON_CHARS:
        reason = f"{reason[: _REASON_CHARS // 2]} … {reason[-_REASON_CHARS // 2 :]}"
    # Each invalid UTF-8 byte becomes a character, so the text is longer than the engine counted.
    return f"{reason} (the answer holds bytes that are no UTF-8: {_UNDECODED})" if _UNDECODED in answer else reason


@cache
def with_bounded_patterns(kind: object) -> Any:
    """The validator of a draft with a time limit on patterns. Its checks raise TooSlow."""
    return extend(
        kind, {"pattern": _pattern, "patternProperties": _pattern_properties, "additionalProperties": _additional}
    )


def _pattern(validator: Any, pattern: str, instance: Any, schema: object) -> Iterator[ValidationError]:
    if validator.is_type(instance, "string") and not bounded(pattern).is_in(instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Any, instance: Any, schema: object) -> Iterator[ValidationError]:
    if validator.is_type(instance, "object"):
        for pattern, inner in patterns.items():
            for name, value in instance.items():
                if bounded(pattern).is_in(name):
                    yield from validator.descend(value, inner, path=name, schema_path=pattern)


def _additional(validator: Any, wanted: object, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not validator.is_type(instance, "object"):
        return
    patterns = [bounded(pattern) for pattern in schema.get("patternProperties", {})]
    for name in instance.keys() - schema.get("properties", {}).keys():
        if not any(pattern.is_in(name) for pattern in patterns):
            yield from validator.descend(instance[name], wanted, path=name)


def _foreign_reference(value: object) -> str | None:
    """A `$ref` that points outside the schema, which the validator would fetch from the network."""
    if isinstance(value, Mapping):
        reference = value.get("$ref")
        if isinstance(reference, str) and not reference.startswith("#"):
            return reference
        value = value.values()
    elif not isinstance(value, list):
        return None
    return next((foreign for inner in value if (foreign := _foreign_reference(inner))), None)


def matches(pattern: str) -> Check:
    """A check that the whole answer matches, ignoring white space at both ends."""
    compiled = bounded(pattern)
    return lambda answer: compiled.matches_whole(answer.strip())


def check_of(output: Output) -> Check | None:
    """The check configured in [output], if any. Raises UserError (USAGE)."""
    if output.check == "json":
        return Explained(why_no_json)
    if output.check == "json_schema":
        return fits_schema(output.schema_to_check or {})
    return matches(output.check_pattern or "") if output.check == "regex" else None


def with_check(prompt: Prompt, check: Check | None) -> Prompt:
    """The prompt with an additional check: an answer is valid if it passes both."""
    if check is None:
        return prompt
    own = prompt.check
    return replace(prompt, check=check if own is None else _both(own, check))


def _both(first: Check, second: Check) -> Check:
    def why(answer: str) -> str | None:
        failed = next((check for check in (first, second) if not check(answer)), None)
        return None if failed is None else why_not(failed, answer) or "the scenario's own check does not pass"

    return Explained(why)
