"""A mix of scenarios as a whole run: over workers, and as the work of a comparison (its figures: tests/series)."""

from __future__ import annotations

import csv
import subprocess
from pathlib import Path

import pytest

from tokenswarm.base.errors import Exit

from .support import CLI, environment, load, started

pytestmark = pytest.mark.slow

MIX = "rag:2 chat:1 batch:1"
CLASSES = {"RagReader", "MultiTurnChatter", "BatchClassifier"}
SETTINGS = "engine.sim.time_scale=10"
RAN = (Exit.PASSED, Exit.INVALID, Exit.SLO_MISSED, Exit.UNDETERMINED, Exit.INCOMPLETE)
"""Whatever a busy machine makes of a short run."""


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_mix_over_two_workers_keeps_classes_apart_and_their_totals_together(results: Path) -> None:
    command = load(results, "--scenario", MIX, "--users", "8", "--workers", "2", settings=SETTINGS, duration="4s")
    with started(command, results) as process:
        run = process.finish()
    assert run.code in RAN, run.err
    rows = [row for row in run.table() if row["status"] == "ok"]
    assert {row["user_class"] for row in rows} == CLASSES and {row["worker"] for row in rows} == {"0", "1"}
    counted = run.summary["user_classes"]
    measured = [row for row in rows if row["phase"] == "measure"]
    assert counted.keys() == CLASSES
    for name, figures in counted.items():
        assert figures["counts"]["ok"] == sum(row["user_class"] == name for row in measured)
        assert name in run.page
    assert sum(figures["counts"]["ok"] for figures in counted.values()) == run.summary["counts"]["measured"]["ok"]
    assert set(run.manifest["classes"]) == CLASSES


def test_a_comparison_of_a_mix_asks_both_sides_the_same(results: Path) -> None:
    run = subprocess.run(
        [
            *(*CLI, "compare", "--scenario", "rag:1 batch:1", "--engines", "sim-vllm,sim-sglang", "--repeats", "1"),
            *("--results", str(results), "--users", "4", "--duration", "3"),
            *("--set", f"load.warmup_s=1 load.drain_s=5 {SETTINGS}"),
        ],
        env=environment(),
        capture_output=True,
        text=True,
    )
    sides = sorted(folder.parent for folder in results.glob("*/requests.csv"))
    assert len(sides) == 2, run.stderr
    asked = [
        {
            (row["user_class"], row["conversation"], row["turn"]): row["prompt_chars"]
            for row in read_table(side / "requests.csv")
            if row["status"] == "ok"
        }
        for side in sides
    ]
    common = asked[0].keys() & asked[1].keys()
    assert {name for name, _, _ in common} == {"RagReader", "BatchClassifier"}
    assert {key: asked[0][key] for key in common} == {key: asked[1][key] for key in common}
