"""Structured output: a record is drawn out of a document, as JSON by a schema, or in another form that is constrained.

Schemas come in three tiers, beside a regular expression, a choice and a grammar, all written for this project. A part
of the requests asks for the same without any constraint: the control arm, in the same minutes, tells what constraining
costs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.scenario.distribution import Distribution, constant
from tokenswarm.scenario.model import Scenario
from tokenswarm.scenario.workload_kinds import WorkloadSettings
from tokenswarm.workloads.base import (
    Prompt,
    Session,
    Workload,
    cache_buster_prefix,
    require_text,
    rng_for,
)
from tokenswarm.workloads.constraints import (
    CHOICE,
    GRAMMAR,
    JSON_SCHEMA,
    REGEX,
    Constraint,
    fields_of,
    left_out,
    require_answers_that_end,
    require_not_extra,
)
from tokenswarm.workloads.corpus import Corpus

Tier = Literal["flat", "nested", "large", "regex", "choice", "grammar"]
Schema = dict[str, Any]

CONTROL = "control"
"""Begins the column `document` of a request without a constraint; that of the others begins with their tier."""
_WORD: Schema = {"type": "string", "maxLength": 24}
_KINDS = ["syntax", "data", "execution", "tools", "other"]
_INSTRUCTIONS: Mapping[str, str] = MappingProxyType(
    {
        JSON_SCHEMA: "Draw one record out of the document. Answer with one JSON object that fits this JSON Schema, and "
        "with nothing else:\n\n",
        REGEX: "When was the document changed, and how urgent is it? Answer with one line that this regular expression "
        "matches, and with nothing else:\n\n",
        CHOICE: "What is the document about? Answer with one of these words, and with nothing else:\n\n",
        GRAMMAR: "Write the query that finds the document. Answer with one line by this grammar, and with nothing "
        "else:\n\n",
    }
)
_AGAINST = (
    "Write two sentences in plain English about the weather at sea. Begin with the word Yesterday. Do not use JSON, "
    "braces, brackets, digits or quotation marks of any kind."
)
_PATTERN = r"(19|20)[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01]) (low|middle|high) [A-Z]{2}-[0-9]{4}"
_GRAMMAR = """root ::= "select " column (", " column)? " from " table (" where " column " " operator " " value)? ";"
column ::= "title" | "kind" | "owner" | "changed" | "size"
table ::= "documents" | "sections" | "people"{more}
operator ::= "=" | "<" | ">"
value ::= digit digit? digit? | "'" letter letter? letter? letter? letter? "'"
digit ::= [0-9]
letter ::= [a-z]
"""


def _object(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _flat() -> Schema:
    return _object({"title": _WORD, "kind": {"enum": _KINDS}, "confirmed": {"type": "boolean"}})


def _nested() -> Schema:
    person = _object({"name": _WORD, "role": {"enum": ["author", "editor", "reader"]}})
    section = _object({"heading": _WORD, "kind": {"enum": _KINDS}, "confirmed": {"type": "boolean"}})
    return _object(
        {
            "title": _WORD,
            "people": {"type": "array", "items": person, "minItems": 1, "maxItems": 3},
            "sections": {"type": "array", "items": section, "minItems": 1, "maxItems": 3},
        }
    )


def _large() -> Schema:
    names = ("source", "claim", "example", "limit", "term", "step", "change", "owner")
    definitions: Schema = {"kind": {"enum": _KINDS}, "word": _WORD}
    for before, name in zip(("kind", *names), names, strict=False):
        inner = {"$ref": f"#/$defs/{before}"}
        definitions[name] = _object(
            {
                "label": {"$ref": "#/$defs/word"},
                "kind": {"$ref": "#/$defs/kind"},
                "confirmed": {"type": "boolean"},
                "of": inner,
            }
        )
    return {**_object({"title": {"$ref": "#/$defs/word"}, "owner": {"$ref": "#/$defs/owner"}}), "$defs": definitions}


_SCHEMAS: Mapping[str, Callable[[], Schema]] = MappingProxyType({"flat": _flat, "nested": _nested, "large": _large})


def kind_of(tier: str) -> str:
    """The kind of constraint that a tier is."""
    return JSON_SCHEMA if tier in _SCHEMAS else tier


def constraint_of(tier: str, unique: str = "") -> Constraint:
    """The constraint of a tier. `unique`: letters and digits that make it another one than before, to an engine that
    keeps what it has compiled: a property that an answer may have, or one more text that it may be."""
    if tier == REGEX:
        return Constraint(REGEX, tier, f"{_PATTERN}|{unique}" if unique else _PATTERN)
    if tier == CHOICE:
        return Constraint(CHOICE, tier, (*_KINDS, unique) if unique else tuple(_KINDS))
    if tier == GRAMMAR:
        return Constraint(GRAMMAR, tier, _GRAMMAR.format(more=f' | "{unique}"' if unique else ""))
    schema = _SCHEMAS[tier]()
    if unique:
        schema["properties"] = {**schema["properties"], f"note_{unique}": {"type": "boolean"}}
    return Constraint(JSON_SCHEMA, tier, schema)


class StructuredSettings(WorkloadSettings):
    """Records that are drawn out of documents."""

    tiers: Annotated[tuple[Tier, ...], Field(min_length=1)] = Field(
        default=("flat", "nested", "large"),
        description="constraints, assigned in turn: JSON schemas flat (3 fields), nested (arrays and enums) and "
        "large (8 definitions that refer to each other); regex, choice and grammar, if it is known how "
        "to send them to the engine",
    )
    control_share: Annotated[float, Field(strict=True, ge=0, le=1)] = Field(
        default=0.25,
        description="share of interleaved requests that ask for the same without a constraint, as a baseline for "
        "the cost of constraining; their answers are not checked",
    )
    unique: bool = Field(
        default=False, strict=True, description="make every constraint new to the engine, so that each is compiled"
    )
    document_tokens: Distribution = Field(default=constant(250), description="approximate length of a document, tokens")


@dataclass(frozen=True, slots=True)
class Extraction:
    """What one request asks: a document under a constraint, with the check of its answer and the body's keys; neither
    without a constraint."""

    arm: str
    check: Callable[[str], bool] | None
    body: dict[str, object] | None
    system: str
    document: str


class StructuredWorkload(Workload):
    """Documents, each with a constraint for what is drawn out of it."""

    name = "structured"
    Settings = StructuredSettings

    def __init__(self, scenario: Scenario, corpus: Corpus, seed: int, salt: str) -> None:
        super().__init__(scenario, corpus, seed, salt)
        self._fields = fields_of({str(kind): table for kind, table in scenario.endpoint.constraints.items()})
        self._lacking = left_out([kind_of(tier) for tier in self.settings.tiers], self._fields)
        self._tiers = [tier for tier in self.settings.tiers if kind_of(tier) not in self._lacking]
        if not self._tiers:
            raise UserError(
                Exit.USAGE,
                f"it is not known how this endpoint takes {' and '.join(self._lacking)}: say "
                "so in [endpoint.constraints] (docs/structured.md), or choose other "
                "structured.tiers",
            )
        require_answers_that_end(scenario.output, "of the form that is asked for")
        require_not_extra(
            scenario.output,
            {"response_format", *(key for table in self._fields.values() for key in table)},
            "it would constrain the control arm too; what is asked for is said by structured.tiers and "
            "[endpoint.constraints]",
        )
        # New to the engine in each run: what it compiled in an earlier one must not make a first use look cheap.
        self._of_run = hashlib.sha256(salt.encode()).hexdigest()[:8] if salt else ""
        self._constraint = cache(lambda tier: constraint_of(tier, self._of_run))
        self._check = cache(lambda tier: self._constraint(tier).check())
        require_text(
            corpus, self.settings.document_tokens.typical() * self.chars_per_token, "structured.document_tokens"
        )

    def notes(self) -> list[str]:
        """See `Workload`: which kinds are not asked for."""
        return (
            []
            if not self._lacking
            else [
                f"Answers by {' and '.join(self._lacking)} are not asked for: it is not known how this endpoint "
                "takes them ([endpoint.constraints])."
            ]
        )

    def session(self, phase: str, number: int) -> StructuredSession:
        """Document `number` of a phase."""
        rng = rng_for(self.seed, phase, number)
        settings = self.settings
        tier = self._tiers[number % len(self._tiers)]
        free = rng.random() < settings.control_share
        own = f"{self._of_run}{rng.getrandbits(64):016x}" if settings.unique else ""
        constraint = constraint_of(tier, own) if own else self._constraint(tier)
        return StructuredSession(
            phase,
            number,
            Extraction(
                f"{CONTROL}-{tier}" if free else tier,
                None if free else constraint.check() if own else self._check(tier),
                None if free else constraint.body(self._fields),
                cache_buster_prefix(self.salt, self.scope(phase)) + instruction(tier),
                f"Document {phase}-{number:06d}:\n\n{self._document(rng)}",
            ),
        )

    def _document(self, rng: Random) -> str:
        return self.corpus.take(rng, max(1, round(self.settings.document_tokens.sample(rng) * self.chars_per_token)))

    def argued_against(self) -> Sequence[Prompt]:
        """See `Workload`: constraints that the prompt argues against, one of each kind, so that only the engine makes
        the answer fit."""
        tiers = {kind_of(tier): tier for tier in reversed(self._tiers)}
        return [
            Prompt(
                [{"role": "user", "content": _AGAINST}],
                f"check {kind}",
                1,
                0,
                body=constraint_of("flat" if kind == JSON_SCHEMA else kind).body(self._fields),
                check=_BEGINNINGS[kind],
            )
            for kind in tiers
        ]


def _begins_as_choice(answer: str) -> bool:
    text = answer.strip()
    return bool(text) and any(word.startswith(text) or text == word for word in _KINDS)


_BEGINNINGS: Mapping[str, Callable[[str], bool]] = MappingProxyType(
    {
        JSON_SCHEMA: lambda answer: answer.lstrip().startswith("{"),
        REGEX: lambda answer: answer.lstrip()[:2] in ("1", "2", "19", "20"),
        CHOICE: _begins_as_choice,
        GRAMMAR: lambda answer: bool(answer.strip()) and "select ".startswith(answer.lstrip()[:7]),
    }
)
"""What an answer begins with under each kind of constraint, of which only the first tokens may be there."""


@cache
def instruction(tier: str) -> str:
    """The system prompt of a tier, which tells the constraint in words too."""
    constraint = constraint_of(tier)
    words = (
        json.dumps(constraint.value)
        if constraint.kind == JSON_SCHEMA
        else ", ".join(constraint.value)
        if constraint.kind == CHOICE
        else constraint.value
    )
    return _INSTRUCTIONS[constraint.kind] + words


class StructuredSession(Session):
    """One document, one record."""

    turns = 1

    def __init__(self, phase: str, number: int, extraction: Extraction) -> None:
        super().__init__(phase, number)
        self._extraction = extraction

    def __iter__(self) -> Iterator[Prompt]:
        extraction = self._extraction
        messages = [{"role": "system", "content": extraction.system}, {"role": "user", "content": extraction.document}]
        yield Prompt(
            messages,
            self.conversation,
            1,
            len(extraction.system),
            extraction.arm,
            check=extraction.check,
            body=extraction.body,
        )
