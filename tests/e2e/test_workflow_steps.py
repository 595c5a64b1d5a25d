"""The shell steps of .github/workflows, run as GitHub would, only for a shorter time and on the simulator."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.docs.workflows import load, script, steps
from tokenswarm.base.errors import Exit

from .pages import checkout, reader_environment

pytestmark = pytest.mark.slow


def test_the_check_of_a_pull_request_passes_and_leaves_a_summary_and_artifacts(tmp_path: Path) -> None:
    folder, page = checkout(tmp_path / "checkout"), tmp_path / "step-summary.md"
    workflow = load("pull-request")
    [job] = workflow["jobs"].values()
    given = {"SCENARIO": job["strategy"]["matrix"]["scenario"][0], "DURATION": "10s"}
    assert set(given) == set(job["env"])
    codes = []
    for step in steps(workflow):
        if "run" in step:
            done = subprocess.run(
                ["bash", "-e", "-c", step["run"]],
                cwd=folder,
                timeout=300,
                capture_output=True,
                text=True,
                env=reader_environment(GITHUB_STEP_SUMMARY=str(page), **given),
            )
            codes.append(done.returncode)
    assert codes in ([0, Exit.PASSED], [0, Exit.INVALID]), done.stdout + done.stderr  # INVALID: a busy machine, twice
    said = page.read_text()
    assert "TTFT p95" in said and "Error rate" in said and "SIMULATED" in said
    kept = [step["with"]["path"] for step in steps(workflow) if "upload-artifact" in step.get("uses", "")]
    assert kept == ["results/"]
    [*_, run] = sorted((folder / "results").iterdir())
    names = [case.get("name") for case in ElementTree.parse(run / "junit.xml").iter("testcase")]
    assert {"valid", "requests succeed", "slo.ttft_p95_ms", "slo.error_rate"} <= set(names)
    assert (run / "dashboard.html").stat().st_size > 100_000


def test_nights_make_the_baseline_that_the_next_one_is_held_against(tmp_path: Path) -> None:
    workflow, outputs = load("nightly-soak"), tmp_path / "outputs"
    given = {
        "ENGINE": "sim",
        "MODEL": "sim-8b",
        "SCENARIO": "rag",
        "DURATION": "10s",
        "NEW_BASELINE": "false",
        "SOAK_SET": "load.warmup_s=2 load.users=4",
        "HOME": str(tmp_path),
        "GITHUB_OUTPUT": str(outputs),
    }
    used, first = [], None
    for night in ("first", "second"):
        outputs.write_text("")
        folder = checkout(tmp_path / night)
        environment = reader_environment(GITHUB_STEP_SUMMARY=str(tmp_path / "page.md"), **given)

        def step(name: str, folder: Path = folder, environment: dict[str, str] = environment) -> int:
            return subprocess.run(
                ["bash", "-e", "-c", script(workflow, name)],
                cwd=folder,
                env=environment,
                timeout=300,
                capture_output=True,
            ).returncode

        assert step("Install") == 0 and step("Find the baseline") == 0
        found = dict(line.split("=", 1) for line in outputs.read_text().splitlines())
        environment["BASELINE"] = found.get("use", "")
        code = step("Soak")
        # Ten seconds are too short to tell of drift; and a busy machine, and chance, against a baseline.
        assert code in (Exit.PASSED, Exit.UNDETERMINED, Exit.SLO_MISSED, Exit.INVALID)
        [run] = (folder / "results").iterdir()
        assert (run / "dashboard.html").exists()
        used.append((json.loads((run / "summary.json").read_text()).get("baseline") or {}).get("run_id"))
        # Else nothing becomes a baseline, and the next night finds none.
        if night == "first" and code in (Exit.PASSED, Exit.UNDETERMINED):
            environment["FOLDER"] = found["folder"]
            assert step("Keep this night for the baseline") == 0
            first = run.name
            for copy in "bcde":  # four more nights like it
                shutil.copytree(Path(found["folder"]) / first, Path(found["folder"]) / f"{first}{copy}")
        assert step("Stop what may have been left running") == 0
    assert used == [None, first and ", ".join([first] * 5)]
