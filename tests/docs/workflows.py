"""The workflows in .github/workflows, as data."""

from __future__ import annotations

import importlib.resources
import json
from typing import Any

import jsonschema
from ruamel.yaml import YAML

from tests.docs.commands import ROOT

FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def schema_errors(document: Any) -> list[str]:
    """What GitHub's published schema of workflows has against a document."""
    schema = importlib.resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "github-workflows.json"
    validator = jsonschema.Draft7Validator(json.loads(schema.read_text("utf-8")))
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


def load(name: str) -> dict[str, Any]:
    """A workflow by the stem of its file."""
    return YAML(typ="safe").load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text("utf-8"))


def steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    """The steps of all jobs."""
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def script(workflow: dict[str, Any], step: str) -> str:
    """The shell script of the step of that name."""
    [found] = [each["run"] for each in steps(workflow) if each.get("name") == step]
    return found
