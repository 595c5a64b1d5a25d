"""JSON Schemas of what a run folder holds, made from the records: so that others can read one."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from tokenswarm.contract.manifest import Manifest
from tokenswarm.contract.summary import SUMMARY_FORMAT
from tokenswarm.contract.summary_records import Summary
from tokenswarm.contract.tables import FORMAT

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def run_schema() -> dict[str, Any]:
    """The JSON Schema of run.json (draft 2020-12). Every field may be missing; further ones are allowed."""
    schema = msgspec.json.schema(Manifest)
    return {"$schema": _DIALECT, "title": f"run.json of tokenswarm, format {FORMAT}", **schema}


def summary_schema() -> dict[str, Any]:
    """The JSON Schema of summary.json (draft 2020-12). Further fields are allowed."""
    schema = msgspec.json.schema(Summary)
    return {"$schema": _DIALECT, "title": f"summary.json of tokenswarm, format {SUMMARY_FORMAT}", **schema}


SCHEMAS = {"run.schema.json": run_schema, "summary.schema.json": summary_schema}
"""By the name of the file in docs/schema/."""


def schema_text(name: str) -> str:
    """The content of one of these files."""
    return json.dumps(SCHEMAS[name](), indent=2, ensure_ascii=False) + "\n"
