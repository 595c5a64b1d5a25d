"""tokenswarm in the CI of other repositories: the action, GitLab's example, and the script that both run."""

from __future__ import annotations

import importlib.resources
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from tests.docs.commands import ROOT
from tokenswarm.cli import _parser

ACTION, SCRIPT = ROOT / "action.yml", ROOT / "deploy" / "ci" / "gate.sh"
GITLAB = ROOT / "deploy" / "ci" / "gitlab-ci.yml"
SETTINGS = {
    "HOST": "http://gpu1:8000",
    "MODEL": "org/model ü",
    "SCENARIO": "my/own.toml",
    "USERS": "8",
    "DURATION": "2m",
    "SET": "slo.ttft_p95_ms=400 slo.error_rate=0",
    "LABEL": "a 'quoted' label",
}


def read(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text("utf-8"))


def errors(document: Any, schema: str) -> list[str]:
    """What a published schema has against a document."""
    file = importlib.resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / f"{schema}.json"
    validator = jsonschema.Draft7Validator(json.loads(file.read_text("utf-8")))
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


@pytest.mark.parametrize(("path", "schema"), [(ACTION, "github-actions"), (GITLAB, "gitlab-ci")])
def test_action_and_pipeline_are_what_their_schemas_allow(path: Path, schema: str) -> None:
    document = read(path)
    assert errors(document, schema) == []
    document["runs" if path == ACTION else "load test"] = {"using": 3, "script": 4}
    assert errors(document, schema), "nonsense must be found"


def test_the_action_s_steps_are_pinned_and_take_values_through_the_environment_alone() -> None:
    steps = read(ACTION)["runs"]["steps"]
    assert all("${{" not in step.get("run", "") for step in steps)
    used = re.findall(r"uses: (.*)", ACTION.read_text("utf-8"))
    assert used and all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", line) for line in used)


def test_each_input_of_the_action_is_used() -> None:
    action = read(ACTION)
    used = set(re.findall(r"inputs\.([\w-]+)", json.dumps(action["runs"])))
    assert used == set(action["inputs"])
    given = next(step["env"] for step in action["runs"]["steps"] if step.get("id") == "gate")
    named = SCRIPT.read_text("utf-8")
    assert [name for name in given if name != "SOURCE" and name not in named] == []


def played(tmp_path: Path, codes: list[int], **settings: str) -> tuple[int, list[list[str]], dict[str, str]]:
    """Run the script with a Python that ends with these codes: its own code, what it was called with, the outputs."""
    python = tmp_path / "python"
    python.write_text(
        '#!/bin/bash\nprintf "%s\\n" "$@" --- >> calls\nmkdir -p "results/run-$(wc -l < codes)"\n'
        'touch "results/run-$(wc -l < codes)/run.json"\nread -r code < codes\nsed -i 1d codes\n'
        'exit "$code"\n'
    )
    python.chmod(0o755)
    (tmp_path / "codes").write_text("".join(f"{code}\n" for code in codes))
    clean = {key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "LANG")}
    done = subprocess.run(
        ["bash", str(SCRIPT)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=clean | {"PYTHON": str(python), "GITHUB_OUTPUT": str(tmp_path / "outputs")} | settings,
    )
    calls = [call.splitlines() for call in (tmp_path / "calls").read_text().split("---\n") if call]
    outputs = dict(line.split("=", 1) for line in (tmp_path / "outputs").read_text().splitlines())
    return done.returncode, calls, outputs


@pytest.mark.parametrize(
    ("codes", "expected", "runs"),
    [([0], 0, 1), ([3], 3, 1), ([4, 0], 0, 2), ([4, 3], 3, 2), ([4, 4], 4, 2), ([13], 13, 1)],
)
def test_an_invalid_run_is_tried_once_more_and_every_other_code_is_the_job_s_own(
    codes: list[int], expected: int, runs: int, tmp_path: Path
) -> None:
    code, calls, outputs = played(tmp_path, codes)
    assert (code, len(calls), outputs["exit-code"]) == (expected, runs, str(expected))
    assert outputs["run-folder"].startswith("results/run-")


def test_the_settings_are_options_that_the_command_line_takes(tmp_path: Path) -> None:
    _, [call], _ = played(tmp_path, [0], **SETTINGS)
    options = vars(_parser().parse_args(call[2:]))
    assert (options["engine"], options["host"], options["model"]) == ("external", SETTINGS["HOST"], SETTINGS["MODEL"])
    assert (options["users"], options["settings"], options["label"]) == (8, SETTINGS["SET"], SETTINGS["LABEL"])
    assert options["strict"] is True and options["rate"] is None


def test_strict_is_the_default_and_can_be_left_out(tmp_path: Path) -> None:
    _, [call], _ = played(
        tmp_path,
        [0],
        STRICT="false",
        BASELINE="last:5",
        RATE="2",
        SEED="3",
        WORKERS="2",
        ENDPOINT="openai",
        DATA="p.jsonl",
        ENGINE="sim",
    )
    options = vars(_parser().parse_args(call[2:]))
    assert (options["strict"], options["baseline"], options["engine"]) == (False, "last:5", "sim")


def test_gitlab_s_example_uses_settings_that_the_script_knows() -> None:
    variables = read(GITLAB)["load test"]["variables"]
    known = SCRIPT.read_text("utf-8")
    assert [name for name in variables if not name.startswith("TOKENSWARM") and name not in known] == []
