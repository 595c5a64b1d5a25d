"""The shell steps of .github/workflows/pull-request.yml, run as GitHub would, only for a shorter time."""

from __future__ import annotations

import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.docs.workflows import load, steps
from tokenswarm.errors import Exit

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
            done = subprocess.run(["bash", "-e", "-c", step["run"]], cwd=folder, timeout=300, capture_output=True,
                                  text=True, env=reader_environment(GITHUB_STEP_SUMMARY=str(page), **given))
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
