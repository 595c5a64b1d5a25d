"""`qualify` from its command line to qualification.json, with runs in virtual time: what is the same is the same."""

from __future__ import annotations

import html
import json
from pathlib import Path

import pytest
from tokenswarm.analysis.library.entries import read_library

from tokenswarm import cli
from tokenswarm.base.errors import Exit
from tokenswarm.contract.manifest import read_manifest
from tokenswarm.series import pairs
from tokenswarm.virtual.virtual_load import EngineClock, VirtualLoad

SETTINGS = "load.users=4 load.warmup_max_s=20 output.max_tokens=32"


def test_pairs_of_one_engine_tell_its_noise_and_have_the_same_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    virtual = VirtualLoad(EngineClock())
    monkeypatch.setattr(pairs, "run_load", lambda options, console, *, tools: virtual(options, console, tools))
    monkeypatch.setattr(pairs.PairedRuns, "_check", lambda self, folder: None)  # there is no engine to bring up
    words = ["qualify", "--engine", "sim", "--scenario", "rag", "--duration", "20s", "--pairs", "2", "--json"]
    code = cli.main([*words, "--results", str(tmp_path), "--output", str(tmp_path / "out"), "--set", SETTINGS])
    assert code == Exit.PASSED
    document = json.loads(capsys.readouterr().out)
    assert document == json.loads((tmp_path / "out" / "qualification.json").read_text("utf-8"))
    assert "5 pairs of runs find a difference of" in document["sentence"]
    for name in ("qualification.html", "qualification.md"):
        written = (tmp_path / "out" / name).read_text("utf-8")
        assert document["sentence"] in html.unescape(written) and "SIMULATED" in written and "Within a pair" in written
    assert written.count("\n| ") == len(document["figures"]) + 1
    assert all((tmp_path / "out" / way / "run.json").is_file() for way in document["folders"])
    [listed] = [entry for entry in read_library(tmp_path) if entry.kind == "qualification"]
    assert (listed.engine, listed.scenario, listed.page) == ("Simulator", "rag", "qualification.html")
    assert listed.sentence == document["sentence"] and listed.load_words == "4 users, closed loop"
    assert document["simulated"] is True and document["left_out"] == []
    ttft = next(each for each in document["figures"] if each["key"] == "ttft_p95_ms")
    assert ttft["headline"] and ttft["pairs"] == 2
    assert ttft["pair_spread"] == pytest.approx(0.0, abs=1e-9)
    assert ttft["run_spread"] > 0.01
    runs = [read_manifest(tmp_path / name) for name in document["runs"]]  # names of one second stand in any order
    first, second, third, fourth = sorted(runs, key=lambda run: (run.seed, "load.answer_s" in run.scenario.overrides))
    assert (first.seed, second.seed, third.seed, fourth.seed) == (1, 1, 2, 2)
    for one, other in ((first, second), (third, fourth)):
        assert one.salt == other.salt and one.warmup.answer_s == other.warmup.answer_s
        assert other.scenario.overrides["load.answer_s"] == f"{one.warmup.answer_s:g}"
        assert other.scenario.overrides["load.warmup_s"] == f"{round(one.warmup.seconds, 1):g}"
    assert first.salt != third.salt
