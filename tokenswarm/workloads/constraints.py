"""Constraints on an answer: what is requested, the check of an answer, and the request fields of each engine."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from tokenswarm.base.ebnf import Grammar
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.scenario.requests import Output
from tokenswarm.workloads.answer_checks import fits_schema, matches

JSON_SCHEMA, REGEX, CHOICE, GRAMMAR = KINDS = ("json_schema", "regex", "choice", "grammar")

OPENAI_FIELDS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        JSON_SCHEMA: {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "{name}", "schema": "{schema}", "strict": True},
            }
        }
    }
)
"""Constraint fields of the OpenAI API, which has no other kinds; used for endpoints without a description."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """One constraint. `value`: the schema, the pattern, the choices, or the grammar's text, by `kind`."""

    kind: str
    name: str
    value: Any

    def check(self, trusted: bool = True) -> Callable[[str], bool]:
        """The check of an answer. Raises UserError (USAGE) for an invalid schema, unless `trusted`."""
        if self.kind == JSON_SCHEMA:
            return fits_schema(self.value, trusted)
        if self.kind == REGEX:
            return matches(self.value)
        if self.kind == CHOICE:
            return lambda answer: answer.strip() in self.value
        grammar = Grammar(self.value)
        return lambda answer: grammar.fits(answer.strip())

    def body(self, fields: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
        """Fields of the request body. `fields`: a template per kind, in which {schema} and the like stand for the
        value; see docs/structured.md. Raises KeyError if there is no template for this kind."""
        choices = self.value if self.kind == CHOICE else ()
        values = {
            "{name}": self.name,
            "{schema}": self.value,
            "{pattern}": self.value,
            "{choices}": list(choices),
            "{choices_pattern}": "|".join(map(re.escape, choices)),
            "{choices_grammar}": "root ::= " + " | ".join(json.dumps(choice, ensure_ascii=False) for choice in choices),
            "{grammar}": self.value,
        }
        filled: dict[str, object] = _filled(fields[self.kind], values)
        return filled


def fields_of(described: Mapping[str, Mapping[str, object]]) -> Mapping[str, Mapping[str, object]]:
    """The endpoint's templates, or those of the OpenAI API."""
    return described or OPENAI_FIELDS


def left_out(kinds: Sequence[str], fields: Mapping[str, Mapping[str, object]]) -> list[str]:
    """The kinds without a template."""
    return [kind for kind in dict.fromkeys(kinds) if kind not in fields]


def require_answers_that_end(output: Output, what: str) -> None:
    """Raise UserError (USAGE) if answers are to continue past the end of `what` (ignore_eos)."""
    if output.ignore_eos:
        raise UserError(
            Exit.USAGE,
            f"output.ignore_eos lets no answer end by itself, so none could be {what} (some engines crash on it): "
            "leave it false, and bound answers by output.max_tokens",
        )


def require_not_extra(output: Output, keys: Iterable[str], instead: str) -> None:
    """Raise UserError (USAGE) if `output.extra` has a field that the workload sets itself."""
    for key in sorted(set(keys) & output.extra.keys()):
        raise UserError(Exit.USAGE, f"output.extra may not hold '{key}' in this scenario: {instead}")


def _filled(template: object, values: Mapping[str, object]) -> Any:
    if isinstance(template, Mapping):
        return {key: _filled(inner, values) for key, inner in template.items()}
    if isinstance(template, list):
        return [_filled(inner, values) for inner in template]
    return values.get(template, template) if isinstance(template, str) else template
