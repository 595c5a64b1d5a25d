"""The whole of `decide` on the simulator in virtual time, with a budget that holds little: every stage, every file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tokenswarm.base.errors import Exit
from tokenswarm.cli import main

SPACE = 'sample = "list"\n[[candidates]]\nmax_num_seqs = 2\n'
LITTLE = [
    "--scenario",
    "chat",
    "--budget",
    "40m",
    "--users",
    "6",
    "--rounds",
    "2",
    "--space",
    "little.toml",
    "--set",
    "load.duration_s=10 load.warmup_s=4 load.drain_s=6",
]


@pytest.mark.slow
def test_a_decision_ends_with_a_page_whose_links_lead_to_its_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tokenswarm.analysis.run_report.render", lambda run, summary: "a page takes longest")
    Path("little.toml").write_text(SPACE)
    assert main(["decide", *LITTLE, "--json"]) == Exit.PASSED
    decision = json.loads(capsys.readouterr().out)
    [folder] = Path("results").iterdir()
    assert decision["state"] in ("decided", "equal", "undecided")
    assert [each["state"] for each in decision["stages"]] == ["done"] * 5
    assert sum(each["spent_s"] for each in decision["stages"]) <= 40 * 60 * 1.2
    assert all(side["candidate"] == "default" for side in decision["sides"]), "two sequences serve worse"
    runs = [run for side in decision["sides"] for run in side["runs"]] + decision["pairs"]["a"] + decision["pairs"]["b"]
    assert len(runs) > 10 and all((folder / run / "run.json").exists() for run in runs)
    page = (folder / "decision.html").read_text()
    assert all(f'href="{run}/' in page for run in runs)


def test_what_decide_cannot_do_is_refused_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    for words, sentence in (
        (["--engines", "a,b,c"], "one or two engines"),
        (["--host", "http://x:1"], "starts one or two"),
        (["--engines", "sim,sim"], "one or two engines"),
        (["--engines", "vlm"], "vlm"),
        (["--set", "slo.ttft_p95_ms=none slo.tpot_p95_ms=none"], "bounds no latency"),
    ):
        assert main(["decide", "--scenario", "chat", *words]) == Exit.USAGE
        assert sentence in capsys.readouterr().err


def test_a_dry_run_says_the_stages_and_how_long_they_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["decide", "--scenario", "chat", "--dry-run"]) == Exit.PASSED
    text = " ".join(capsys.readouterr().out.split())
    assert "a race of 7 candidates" in text and "5 stages" in text and "about 2 to 6 min on this machine" in text
    assert not list(tmp_path.iterdir())
