"""The example workflows are valid, pinned, safe, and call existing commands."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.docs.commands import ROOT, commands_of
from tests.docs.test_commands import check
from tests.docs.workflows import FILES, load, schema_errors, script, steps
from tokenswarm.base.errors import Exit

NAMES = [path.stem for path in FILES]
FIND, KEEP = "Find the baseline", "Keep this night for the baseline"


def test_both_examples_and_the_project_s_own_tests_are_there() -> None:
    assert set(NAMES) >= {"pull-request", "nightly-soak", "tests"}


def test_the_tests_run_on_each_python_that_the_package_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = [text.rpartition(" ")[2] for text in project["classifiers"] if re.search(r":: 3\.\d+$", text)]
    assert load("tests")["jobs"]["test"]["strategy"]["matrix"]["python"] == named


@pytest.mark.parametrize("name", NAMES)
def test_a_workflow_is_what_github_s_schema_allows(name: str) -> None:
    workflow = load(name)
    assert schema_errors(workflow) == []
    [job] = workflow["jobs"].values()
    job["runs-onn"] = job.pop("runs-on")
    assert schema_errors(workflow), "a misspelt key must be found"


@pytest.mark.parametrize("name", NAMES)
def test_actions_are_pinned_to_a_commit_and_say_which_release(name: str) -> None:
    text = next(path for path in FILES if path.stem == name).read_text("utf-8")
    used = re.findall(r"uses: (.*)", text)
    assert used
    assert [line for line in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", line)] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_workflow_has_no_more_rights_than_it_needs(name: str) -> None:
    workflow = load(name)
    assert workflow["permissions"] == {"contents": "read"}
    assert all(job["timeout-minutes"] for job in workflow["jobs"].values())
    for step in steps(workflow):
        assert "${{" not in step.get("run", ""), "values reach a script through the environment, never as its text"
        if step.get("uses", "").startswith("actions/checkout"):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("name", NAMES)
def test_a_workflow_s_commands_are_taken(name: str) -> None:
    shown = 0
    for step in steps(load(name)):
        text = re.sub(r"\$\{BASELINE:\+(.*?)\}", r"\1", step.get("run", ""))
        for line in text.replace("\\\n", " ").splitlines():
            line = line.replace("$DURATION", "2m").replace("$SOAK_SET", "load.users=2")
            for command in commands_of(name, "    " + line.strip()):
                check(command)
                shown += 1
    assert shown >= 2


def test_an_invalid_run_is_tried_once_more_and_every_other_code_is_the_job_s_own(tmp_path: Path) -> None:
    text = script(load("pull-request"), "Load the simulator and hold the run against the scenario's gates")
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$@" >> said\nread -r code <codes\nsed -i 1d codes\nexit "$code"\n')
    python.chmod(0o755)
    environment = os.environ | {"SCENARIO": "rag", "DURATION": "2m"}
    for codes, expected, runs in (
        ((0,), 0, 1),
        ((3,), 3, 1),
        ((4, 0), 0, 2),
        ((4, 3), 3, 2),
        ((4, 4), 4, 2),
        ((13,), 13, 1),
    ):
        (tmp_path / "codes").write_text("".join(f"{code}\n" for code in codes))
        (tmp_path / "said").write_text("")
        done = subprocess.run(["bash", "-e", "-c", text], cwd=tmp_path, env=environment, capture_output=True)
        assert (done.returncode, len((tmp_path / "said").read_text().splitlines())) == (expected, runs), codes
    assert Exit.INVALID == 4


def night(tmp_path: Path, run_id: str, new_baseline: str = "false") -> dict[str, str]:
    """Play the steps about the baseline of a night that passed; returns what the first of them gave on."""
    work, home = tmp_path / f"work-{run_id}", tmp_path / "home"
    (work / "results" / run_id).mkdir(parents=True)
    (work / "results" / run_id / "run.json").write_text(json.dumps({"run_id": run_id}))
    home.mkdir(exist_ok=True)
    outputs = work / "outputs"
    environment = os.environ | {
        "HOME": str(home),
        "GITHUB_OUTPUT": str(outputs),
        "ENGINE": "vllm",
        "SCENARIO": "chat",
        "MODEL": "org/model ü",
        "NEW_BASELINE": new_baseline,
    }
    workflow = load("nightly-soak")
    subprocess.run(["bash", "-e", "-c", script(workflow, FIND)], cwd=work, env=environment, check=True)
    given = dict(line.split("=", 1) for line in outputs.read_text().splitlines())
    if "use" not in given:
        environment["FOLDER"] = given["folder"]
        subprocess.run(["bash", "-e", "-c", script(workflow, KEEP)], cwd=work, env=environment, check=True)
    return given


def test_the_baseline_is_the_first_five_nights_until_a_new_one_is_wanted(tmp_path: Path) -> None:
    first = [f"night-{number}" for number in range(5)]
    given = [night(tmp_path, name) for name in first]
    assert not any("use" in each for each in given)
    kept = Path(given[0]["folder"])
    assert kept.parent.parent.name == "tokenswarm"
    assert re.fullmatch(r"[\w.-]+", kept.name)
    assert night(tmp_path, "sixth")["use"] == ",".join(str(kept / name) for name in first)
    assert json.loads((kept / "night-3" / "run.json").read_text()) == {"run_id": "night-3"}
    assert "use" not in night(tmp_path, "seventh", new_baseline="true")
    assert [path.name for path in kept.iterdir()] == ["seventh"]
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]


def test_a_night_that_was_kept_alone_is_replaced_by_the_first_of_five(tmp_path: Path) -> None:
    kept = Path(night(tmp_path, "first")["folder"])
    (kept / "run.json").write_text("{}")
    night(tmp_path, "second")
    assert [path.name for path in kept.iterdir()] == ["second"]


def test_pre_commit_makes_the_style_checks_of_make_lint_and_looks_at_the_generated_tables() -> None:
    [local] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    hooks = {hook["id"]: hook for hook in local["hooks"]}
    lint = (ROOT / "Makefile").read_text("utf-8").partition("\nlint:")[2]
    for name, words in (("ruff", "ruff check"), ("ruff-format", "ruff format")):
        assert hooks[name]["entry"].startswith(f".venv/bin/{words}") and words in lint
    looked_at = hooks["docs"]["entry"].split()[-1]
    assert (ROOT / looked_at).is_file()
    assert re.match(hooks["docs"]["files"], "tokenswarm/contract/metrics.py")
