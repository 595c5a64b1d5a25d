"""`compare` of a mix from its command line to comparison.json, with runs in virtual time: nothing of it is noise."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path

import pandas as pd
import pytest

from tests.virtual.mixed_arrivals import mixed_run
from tokenswarm import cli
from tokenswarm.base.errors import Exit
from tokenswarm.contract.manifest import Manifest, read_manifest
from tokenswarm.series import pairs
from tokenswarm.virtual.virtual_load import EngineClock, VirtualLoad

pytestmark = pytest.mark.slow  # whole runs, if in virtual time
MIX = "rag:1 batch:3"
CLASSES = {"RagReader", "BatchClassifier"}
SLOWER = 0.5


def compared(results: Path, monkeypatch: pytest.MonkeyPatch, b_set: str = "") -> dict:
    """Three pairs of runs of the mix on the simulator; its comparison.json."""
    virtual = VirtualLoad(EngineClock(), mixed_run)
    monkeypatch.setattr(pairs, "run_load", lambda options, console, *, tools: virtual(options, console, tools))
    monkeypatch.setattr(pairs.PairedRuns, "_check", lambda self, folder: None)  # there is no engine to bring up
    salts = map("{:016x}".format, count(1))
    monkeypatch.setattr(pairs, "fresh_salt", lambda: next(salts))
    words = ["compare", "--scenario", MIX, "--engines", "sim-vllm", "--rate", "2", "--duration", "60s"]
    words += ["--repeats", "3", "--all-pairs", "--b-set", b_set, "--output", str(results / "out")]
    code = cli.main([*words, "--results", str(results)])
    document = json.loads((results / "out" / "comparison.json").read_text("utf-8"))
    assert code == Exit.PASSED and document["left_out"] == document["unfair"] == []
    return document


def of_class(document: dict, name: str, key: str) -> dict:
    return next(each for each in document["user_classes"][name] if each["key"] == key)


def asked(folder: Path) -> dict[tuple[str, str, int], int]:
    rows = pd.read_csv(folder / "requests.csv")
    assert set(rows["status"]) == {"ok"}
    keys = zip(rows["user_class"], rows["conversation"], rows["turn"], strict=True)
    return dict(zip(keys, rows["prompt_chars"], strict=True))


def runs_of(results: Path) -> list[tuple[Manifest, Path]]:
    folders = [path.parent for path in results.glob("*/requests.csv")]
    return sorted(((read_manifest(folder), folder) for folder in folders), key=lambda run: run[0].seed or 0)


def test_both_sides_of_a_mix_are_asked_the_very_same_by_each_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = compared(tmp_path, monkeypatch)
    runs = runs_of(tmp_path)
    assert [manifest.seed for manifest, _ in runs] == [1, 1, 2, 2, 3, 3]
    work = [asked(folder) for _, folder in runs]
    assert work[0] == work[1] and work[2] == work[3] and work[0] != work[2]
    assert {name for name, _, _ in work[0]} == CLASSES
    assert runs[0][0].salt == runs[1][0].salt != runs[2][0].salt
    assert document["user_classes"].keys() == CLASSES
    for name in CLASSES:
        ratio = of_class(document, name, "ttft_p50_ms")
        assert ratio["state"] == "equal" and ratio["ratio"]["ci95"] == pytest.approx([1, 1]), "the same engine and work"


def test_a_slower_side_is_worse_in_each_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = compared(tmp_path, monkeypatch, f"engine.sim-vllm.time_scale={SLOWER}")
    for name in CLASSES:
        found = of_class(document, name, "tpot_p50_ms")
        assert found["state"] == "worse" and found["ratio"]["ci95"][0] > 1 and found["ratio"]["value"] >= 1 / SLOWER
