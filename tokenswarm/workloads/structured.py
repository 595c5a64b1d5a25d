"""Structured output: a record is drawn out of a document, as JSON that must fit a schema.

Schemas come in three tiers, written for this project. A part of the requests asks for the same without any constraint:
the control arm, in the same minutes, tells what constraining costs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from random import Random
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field

from tokenswarm.scenario.distribution import Distribution, constant
from tokenswarm.scenario.model import Scenario
from tokenswarm.scenario.workload_kinds import WorkloadSettings
from tokenswarm.workloads.answer_checks import fits_schema
from tokenswarm.workloads.base import (
    Prompt,
    Session,
    Workload,
    cache_buster_prefix,
    require_text,
    rng_for,
)
from tokenswarm.workloads.corpus import Corpus

Tier = Literal["flat", "nested", "large"]
Schema = dict[str, Any]

CONTROL = "control"
"""Begins the column `document` of a request without a constraint; that of the others begins with their tier."""
_INSTRUCTION = (
    "Draw one record out of the document. Answer with one JSON object that fits this JSON Schema, and with nothing "
    "else:\n\n"
)
_WORD: Schema = {"type": "string", "maxLength": 24}
_KINDS = ["syntax", "data", "execution", "tools", "other"]
_AGAINST = (
    "Write two sentences in plain English about the weather at sea. Do not use JSON, braces, brackets or quotation "
    "marks of any kind: the answer must begin with a word."
)


def _object(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _flat() -> Schema:
    return _object({"title": _WORD, "kind": {"enum": _KINDS}, "confirmed": {"type": "boolean"}})


def _nested() -> Schema:
    person = _object({"name": _WORD, "role": {"enum": ["author", "editor", "reader"]}})
    section = _object({"heading": _WORD, "kind": {"enum": _KINDS}, "confirmed": {"type": "boolean"}})
    return _object({"title": _WORD, "people": {"type": "array", "items": person, "minItems": 1, "maxItems": 3},
                    "sections": {"type": "array", "items": section, "minItems": 1, "maxItems": 3}})


def _large() -> Schema:
    names = ("source", "claim", "example", "limit", "term", "step", "change", "owner")
    definitions: Schema = {"kind": {"enum": _KINDS}, "word": _WORD}
    for before, name in zip(("kind", *names), names, strict=False):
        inner = {"$ref": f"#/$defs/{before}"}
        definitions[name] = _object({"label": {"$ref": "#/$defs/word"}, "kind": {"$ref": "#/$defs/kind"},
                                     "confirmed": {"type": "boolean"}, "of": inner})
    return {**_object({"title": {"$ref": "#/$defs/word"}, "owner": {"$ref": "#/$defs/owner"}}), "$defs": definitions}


_SCHEMAS = MappingProxyType({"flat": _flat, "nested": _nested, "large": _large})


def schema_of(tier: Tier, unique: str = "") -> Schema:
    """The schema of a tier. `unique`: a text that makes it another one than before, to an engine that keeps compiled
    schemas: the name of a property that an answer may have."""
    schema = _SCHEMAS[tier]()
    if unique:
        schema["properties"] = {**schema["properties"], f"note_{unique}": {"type": "boolean"}}
    return schema


class StructuredSettings(WorkloadSettings):
    """Records that are drawn out of documents."""

    tiers: Annotated[tuple[Tier, ...], Field(min_length=1)] = Field(
        default=("flat", "nested", "large"), description="schemas, dealt out in turn: flat (3 fields), nested (arrays "
        "and enums), large (8 definitions that refer to each other)"
    )
    control_share: Annotated[float, Field(strict=True, ge=0, le=1)] = Field(
        default=0.25, description="share of the requests that ask for the same without a constraint, in between: what "
        "constraining costs shows beside them; they are not checked"
    )
    unique: bool = Field(
        default=False, strict=True, description="every schema is new to the engine, so that each is compiled"
    )
    document_tokens: Distribution = Field(default=constant(250), description="length of a document, about, tokens")


@dataclass(frozen=True, slots=True)
class Extraction:
    """What one request asks: a document under a schema, with the check of its answer; no `check` without constraint."""

    arm: str
    schema: Schema
    check: Callable[[str], bool] | None
    system: str
    document: str


class StructuredWorkload(Workload):
    """Documents, each with a schema for its record."""

    name = "structured"
    Settings = StructuredSettings

    def __init__(self, scenario: Scenario, corpus: Corpus, seed: int, salt: str) -> None:
        super().__init__(scenario, corpus, seed, salt)
        self._check = cache(lambda tier: fits_schema(schema_of(tier)))
        require_text(corpus, self.settings.document_tokens.typical() * self.chars_per_token,
                     "structured.document_tokens")

    def session(self, phase: str, number: int) -> StructuredSession:
        """Document `number` of a phase."""
        rng = rng_for(self.seed, phase, number)
        settings = self.settings
        tier: Tier = settings.tiers[number % len(settings.tiers)]
        free = rng.random() < settings.control_share
        schema = schema_of(tier, f"{rng.getrandbits(64):016x}" if settings.unique else "")
        check = None if free else fits_schema(schema, trusted=True) if settings.unique else self._check(tier)
        return StructuredSession(phase, number, Extraction(
            f"{CONTROL}-{tier}" if free else tier, schema, check,
            f"{cache_buster_prefix(self.salt, self.scope(phase))}{_INSTRUCTION}{json.dumps(schema_of(tier))}",
            f"Document {phase}-{number:06d}:\n\n{self._document(rng)}"))

    def _document(self, rng: Random) -> str:
        return self.corpus.take(rng, max(1, round(self.settings.document_tokens.sample(rng) * self.chars_per_token)))

    def argued_against(self) -> Prompt:
        """See `Workload`: a schema that the prompt argues against, so that only a constraint makes the answer fit."""
        schema = _object({"kind": {"enum": _KINDS}})
        return Prompt([{"role": "user", "content": _AGAINST}], "check", 1, 0, body=constraint("flat", schema),
                      check=lambda answer: answer.lstrip().startswith("{"))


class StructuredSession(Session):
    """One document, one record."""

    turns = 1

    def __init__(self, phase: str, number: int, extraction: Extraction) -> None:
        super().__init__(phase, number)
        self._extraction = extraction

    def __iter__(self) -> Iterator[Prompt]:
        asked = self._extraction
        messages = [{"role": "system", "content": asked.system}, {"role": "user", "content": asked.document}]
        body = constraint(asked.arm, asked.schema) if asked.check is not None else None
        yield Prompt(messages, self.conversation, 1, len(asked.system), asked.arm, check=asked.check, body=body)


def constraint(name: str, schema: Schema) -> dict[str, Any]:
    """The field by which vLLM, SGLang and the OpenAI API take a schema. (vLLM ignores its older guided_json.)"""
    return {"response_format": {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": True}}}
