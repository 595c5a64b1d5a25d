"""JSON Schemas of a run folder's files, generated from the records."""

from __future__ import annotations

import json

import msgspec

from tokenswarm.base.foreign import table
from tokenswarm.contract.capacity_record import CAPACITY_FORMAT, Capacity
from tokenswarm.contract.claims_record import CLAIMS_FORMAT, Claims
from tokenswarm.contract.decision_record import DECISION_FORMAT, Decision
from tokenswarm.contract.manifest import Manifest
from tokenswarm.contract.one_shot_record import ONE_SHOT_FORMAT, OneShot
from tokenswarm.contract.qualification_record import QUALIFICATION_FORMAT, Qualification
from tokenswarm.contract.search_progress import PROGRESS_FORMAT, SearchProgress
from tokenswarm.contract.summary.figure import Record
from tokenswarm.contract.summary.summary_file import EMPTY_WHERE_UNKNOWN
from tokenswarm.contract.summary.summary_record import SUMMARY_FORMAT, Summary
from tokenswarm.contract.tables import FORMAT
from tokenswarm.contract.tune_record import TUNE_FORMAT, Tune

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


_ANYTHING = "x-anything"


def _schema_of(kind: type[msgspec.Struct]) -> dict[str, object]:
    """The schema of a record, in which `object` stands for any JSON value."""
    whole = msgspec.json.schema(kind, schema_hook=lambda open_type: {_ANYTHING: open_type is object})
    return {name: _without_mark(value) for name, value in whole.items()}


def _without_mark(value: object) -> object:
    if isinstance(value, dict):
        plain = {key: _without_mark(item) for key, item in value.items() if key != _ANYTHING}
        return {key: item for key, item in plain.items() if key != "additionalProperties" or item != {}}
    return [_without_mark(item) for item in value] if isinstance(value, list) else value


def run_schema() -> dict[str, object]:
    """The JSON Schema of run.json (draft 2020-12). Every field may be missing; further ones are allowed."""
    schema = _schema_of(Manifest)
    return {"$schema": _DIALECT, "title": f"run.json of tokenswarm, format {FORMAT}", **schema}


def summary_schema() -> dict[str, object]:
    """The JSON Schema of summary.json (draft 2020-12), as this version writes it. Further fields are allowed."""
    schema = _schema_of(Summary)
    seldom = {kind.__name__: kind.may_be_left_out for kind in _kinds_of(Record)}
    seldom |= {kind.__name__: frozenset(kind.__struct_encode_fields__) for kind in EMPTY_WHERE_UNKNOWN}
    for name, described in table(schema["$defs"]).items():
        assert isinstance(described, dict)
        always = [field for field in described.get("properties", {}) if field not in seldom.get(name, ())]
        if always:
            described["required"] = always
    return {"$schema": _DIALECT, "title": f"summary.json of tokenswarm, format {SUMMARY_FORMAT}", **schema}


def tune_schema() -> dict[str, object]:
    """The JSON Schema of tune.json (draft 2020-12), as this version writes it. Further fields are allowed."""
    return {"$schema": _DIALECT, "title": f"tune.json of tokenswarm, format {TUNE_FORMAT}", **_schema_of(Tune)}


def capacity_schema() -> dict[str, object]:
    """The JSON Schema of capacity.json (draft 2020-12). Every field may be missing; further ones are allowed."""
    return {
        "$schema": _DIALECT,
        "title": f"capacity.json of tokenswarm, format {CAPACITY_FORMAT}",
        **_schema_of(Capacity),
    }


def one_shot_schema() -> dict[str, object]:
    """The JSON Schema of oneshot.json (draft 2020-12). Every field may be missing; further ones are allowed."""
    return {
        "$schema": _DIALECT,
        "title": f"oneshot.json of tokenswarm, format {ONE_SHOT_FORMAT}",
        **_schema_of(OneShot),
    }


def qualification_schema() -> dict[str, object]:
    """The JSON Schema of qualification.json (draft 2020-12), as this version writes it. Further fields are allowed."""
    return {
        "$schema": _DIALECT,
        "title": f"qualification.json of tokenswarm, format {QUALIFICATION_FORMAT}",
        **_schema_of(Qualification),
    }


def claims_schema() -> dict[str, object]:
    """The JSON Schema of claims.json (draft 2020-12). Every field may be missing; further ones are allowed."""
    return {
        "$schema": _DIALECT,
        "title": f"claims.json of tokenswarm, format {CLAIMS_FORMAT}",
        **_schema_of(Claims),
    }


def decision_schema() -> dict[str, object]:
    """The JSON Schema of decision.json (draft 2020-12), as this version writes it. Further fields are allowed."""
    return {
        "$schema": _DIALECT,
        "title": f"decision.json of tokenswarm, format {DECISION_FORMAT}",
        **_schema_of(Decision),
    }


def progress_schema() -> dict[str, object]:
    """The JSON Schema of progress.json (draft 2020-12), as this version writes it. Further fields are allowed."""
    return {
        "$schema": _DIALECT,
        "title": f"progress.json of tokenswarm, format {PROGRESS_FORMAT}",
        **_schema_of(SearchProgress),
    }


def _kinds_of(kind: type[Record]) -> list[type[Record]]:
    return [each for child in kind.__subclasses__() for each in (child, *_kinds_of(child))]


SCHEMAS = {
    "run.schema.json": run_schema,
    "summary.schema.json": summary_schema,
    "tune.schema.json": tune_schema,
    "capacity.schema.json": capacity_schema,
    "oneshot.schema.json": one_shot_schema,
    "claims.schema.json": claims_schema,
    "qualification.schema.json": qualification_schema,
    "decision.schema.json": decision_schema,
    "progress.schema.json": progress_schema,
}
"""By the name of the file in docs/schema/."""


def schema_text(name: str) -> str:
    """The content of one of these files."""
    return json.dumps(SCHEMAS[name](), indent=2, ensure_ascii=False) + "\n"
