"""The JSON Schema of run.json in docs/ is current, and a real run.json keeps to it."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from tokenswarm.contract.json_schemas import SCHEMAS, run_schema, schema_text
from tokenswarm.contract.manifest import Manifest, manifest_json

ROOT = Path(__file__).parent.parent.parent
OLD = ROOT / "tests" / "analysis" / "data" / "run_format_1" / "run.json"


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schema_in_docs_is_current(name: str) -> None:
    written = (ROOT / "docs" / "schema" / name).read_text("utf-8")
    assert written == schema_text(name), "make it anew with: make schemas"


def test_the_run_json_of_a_real_run_keeps_to_it() -> None:
    jsonschema.Draft202012Validator.check_schema(run_schema())
    jsonschema.validate(json.loads(OLD.read_text()), run_schema())


def test_a_manifest_of_which_nothing_is_known_keeps_to_it() -> None:
    jsonschema.validate(manifest_json(Manifest()), run_schema())


@pytest.mark.parametrize(
    "wrong", [{"notes": "none"}, {"engine": "vllm"}, {"phases": [{"name": "measure"}]}, {"counts": {"sent": "many"}}]
)
def test_what_is_no_run_json_does_not(wrong: dict) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(OLD.read_text()) | wrong, run_schema())
