"""action.yml in another repository, its steps run as GitHub's runner would, and the same gate anywhere else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from ruamel.yaml import YAML

from tokenswarm.base.errors import Exit

from .pages import checkout, reader_environment
from .support import PROJECT

pytestmark = pytest.mark.slow
OWN_SCENARIO = """
name = "theirs"
locustfile = "chat.py"
workload = "chat"
[load]
users = 2
duration_s = 4
warmup_s = 1
drain_s = 5
[slo]
ttft_p95_ms = 60000
"""


class Runner:
    """GitHub's runner for a composite action: expressions, outputs of steps, `shell: bash`. Actions of others are
    stood in for by what they hand on. `repository`: the one whose job it is; `action`: where the action lies."""

    def __init__(self, repository: Path, action: Path) -> None:
        self._repository, self._action = repository, action
        self._document = YAML(typ="safe").load((action / "action.yml").read_text("utf-8"))
        self._values: dict[str, str] = {"github.action_path": str(action)}
        self.page = repository.parent / "step-summary.md"
        self.uploaded: dict[str, Any] | None = None
        self.log = ""

    def run(self, **given: str) -> tuple[bool, dict[str, str]]:
        """Whether the action succeeds, and its outputs."""
        inputs = {name: each.get("default", "") for name, each in self._document["inputs"].items()}
        assert given.keys() <= inputs.keys(), "GitHub only warns of an input that is not there"
        self._values |= {f"inputs.{name}": value for name, value in (inputs | given).items()}
        good = True
        for step in self._document["runs"]["steps"]:
            condition = step.get("if", "")
            assert condition in ("", "always() && inputs.artifact != ''"), "a condition that this runner does not know"
            wanted = good if not condition else bool(self._values["inputs.artifact"])
            if wanted:
                good = self._step(step) and good
        return good, {name: self._filled(each["value"]) for name, each in self._document["outputs"].items()}

    def _step(self, step: dict[str, Any]) -> bool:
        uses = step.get("uses", "")
        if uses.startswith("actions/setup-python@"):
            self._values[f"steps.{step['id']}.outputs.python-path"] = sys.executable
        elif uses.startswith("actions/upload-artifact@"):
            self.uploaded = {name: self._filled(str(value)) for name, value in step["with"].items()}
        else:
            assert not uses, f"{uses} is not known"
            return self._bash(step)
        return True

    def _bash(self, step: dict[str, Any]) -> bool:
        assert step["shell"] == "bash", "a composite action names the shell of each step"
        script, outputs = (self._repository.parent / name for name in ("script.sh", "outputs"))
        script.write_text(step["run"], "utf-8")
        outputs.write_text("", "utf-8")
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            cwd=self._repository,
            env=reader_environment(GITHUB_OUTPUT=str(outputs), GITHUB_STEP_SUMMARY=str(self.page))
            | {name: self._filled(value) for name, value in step.get("env", {}).items()},
            capture_output=True,
            text=True,
            timeout=900,
            stdin=subprocess.DEVNULL,
        )
        self.log += done.stdout + done.stderr
        for line in outputs.read_text("utf-8").splitlines():
            name, _, value = line.partition("=")
            self._values[f"steps.{step['id']}.outputs.{name}"] = value
        return done.returncode == 0

    def _filled(self, text: str) -> str:
        return re.sub(r"\$\{\{ *([\w.-]+) *\}\}", lambda found: self._values.get(found[1], ""), text)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Another repository, with a scenario of its own."""
    folder = tmp_path / "theirs"
    (folder / "load").mkdir(parents=True)
    (folder / "load" / "chats.toml").write_text(OWN_SCENARIO, "utf-8")
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    return folder


def test_the_action_loads_judges_and_hands_on_its_results(repository: Path, tmp_path: Path) -> None:
    runner = Runner(repository, checkout(tmp_path / "action"))
    good, outputs = runner.run(scenario="load/chats.toml", duration="4s", label="theirs", strict="false")
    code = int(outputs["exit-code"])
    assert code in (Exit.PASSED, Exit.INVALID), runner.log  # INVALID: a busy machine, twice
    assert good is (code == Exit.PASSED)
    run = repository / outputs["run-folder"]
    names = {case.get("name") for case in ElementTree.parse(run / "junit.xml").iter("testcase")}
    assert {"valid", "slo.ttft_p95_ms"} <= names and (run / "dashboard.html").is_file()
    assert "SIMULATED" in runner.page.read_text("utf-8") and "TTFT p95" in runner.page.read_text("utf-8")
    assert runner.uploaded is not None and (repository / runner.uploaded["path"]).is_dir()
    status = subprocess.run(["git", "-C", str(repository), "status", "--short"], capture_output=True, text=True).stdout
    assert sorted(status.split()) == ["??", "??", "load/", "results/"], "nothing else is left in their repository"


def test_a_missed_gate_fails_the_job_and_its_results_are_kept_all_the_same(repository: Path, tmp_path: Path) -> None:
    runner = Runner(repository, checkout(tmp_path / "action"))
    good, outputs = runner.run(scenario="load/chats.toml", duration="15s", set="slo.ttft_p95_ms=0.001", strict="false")
    assert not good and int(outputs["exit-code"]) in (Exit.SLO_MISSED, Exit.INVALID), runner.log
    assert runner.uploaded is not None and (repository / outputs["run-folder"] / "summary.md").is_file()


def test_what_is_wrong_is_said_in_the_log_of_the_job(repository: Path, tmp_path: Path) -> None:
    runner = Runner(repository, checkout(tmp_path / "action"))
    good, outputs = runner.run(scenario="load/missing.toml")
    assert not good and outputs["exit-code"] == str(int(Exit.USAGE)) and outputs["run-folder"] == ""
    assert "load/missing.toml" in runner.log and "Traceback" not in runner.log


def test_any_other_ci_runs_the_lines_of_the_page(repository: Path) -> None:
    page = (PROJECT / "docs" / "tasks" / "ci-from-another-repository.md").read_text("utf-8")
    [lines] = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    clone, rest = lines.split("\n", 1)
    assert clone.startswith("git clone") and clone.endswith(" .tokenswarm")
    checkout(repository / ".tokenswarm")
    shorter = rest.replace("HOST=http://gpu1:8000 ", "ENGINE=sim STRICT=false ").replace("DURATION=5m", "DURATION=4s")
    shorter = shorter.replace(
        "slo.ttft_p95_ms=400", "load.warmup_s=1 load.drain_s=5 load.users=2 slo.ttft_p95_ms=60000"
    )
    assert shorter.count("DURATION=4s") == shorter.count("ENGINE=sim") == shorter.count("load.users=2") == 1
    done = subprocess.run(
        ["bash", "-e", "-c", shorter],
        cwd=repository,
        env=reader_environment() | {"HOME": os.environ.get("HOME", "/")},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode in (Exit.PASSED, Exit.INVALID), done.stdout + done.stderr
    [*_, run] = sorted((repository / "results").iterdir())
    assert (run / "junit.xml").is_file()
