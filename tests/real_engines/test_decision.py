"""A race over settings and a decision on real engines: `make test-decision`, half an hour.

How fast anything is on this CPU is not the subject: what is tested is that each ends by itself with a report.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.real_engines.real import ROOT
from tokenswarm.base.errors import Exit
from tokenswarm.contract.decision_record import read_decision
from tokenswarm.contract.tune_record import read_tune
from tokenswarm.engines.local.install import install

LIMIT_S = 3600.0
SIX = """sample = "grid"
[settings]
max_num_seqs = [1, 4, 32]
prefill_budget = [512, 2048]
"""
# Chats that a tiny model on one core answers, with limits that a busy machine misses now and then, no more.
CHAT = {
    "load.users": 8,
    "load.duration_s": 12,
    "load.warmup_s": 2,
    "load.drain_s": 60,
    "user.think_time_s": 0.2,
    "output.ignore_eos": "true",
    "chat.answer_tokens": 12,
    "chat.message_tokens": 150,
    "chat.system_tokens": 200,
    "chat.history_limit_tokens": 2000,
    "slo.ttft_p95_ms": 2000,
    "slo.tpot_p95_ms": 500,
    "engine.context_length": 4096,
    "engine.prefill_budget": 2048,
}


def command(name: str, folder: Path, values: dict[str, Any], *arguments: str) -> tuple[int, str, Path]:
    """`tokenswarm NAME` on this CPU: exit code, output, and the folder of its series."""
    finished = subprocess.run(
        [
            *(sys.executable, "-m", "tokenswarm", name, "--scenario", "chat", "--device", "cpu", *arguments),
            *("--results", str(folder), "--set", " ".join(f"{key}={value}" for key, value in (CHAT | values).items())),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
        # The command itself keeps the engine and the load generator apart.
        preexec_fn=lambda: os.sched_setaffinity(0, range(os.cpu_count() or 1)),
    )
    (series,) = (path for path in folder.iterdir() if path.name.partition("-")[0] in ("tune", "decision"))
    return finished.returncode, finished.stdout, series


def space(folder: Path, text: str) -> str:
    file = folder / "space.toml"
    file.write_text(text, "utf-8")
    return str(file)


def test_a_race_of_six_candidates_ends_with_a_report(tmp_path: Path) -> None:
    install("vllm", "cpu")
    asked = ("--engine", "vllm", "--rounds", "2", "--pairs", "1", "--budget", "14m", "--space", space(tmp_path, SIX))
    code, output, folder = command("tune", tmp_path / "results", {"engine.max_num_seqs": 32}, *asked)
    assert code in (Exit.PASSED, Exit.INVALID), output
    tune = read_tune(folder)
    # Where the machine is too busy for any figure the race says so, in a report as well.
    assert code == (Exit.INVALID if tune.reason == "load_generator" else Exit.PASSED), output
    assert [candidate.name for candidate in tune.candidates] == [
        "default",
        "max_num_seqs=1 prefill_budget=512",
        "max_num_seqs=1 prefill_budget=2048",
        "max_num_seqs=4 prefill_budget=512",
        "max_num_seqs=4 prefill_budget=2048",
        "max_num_seqs=32 prefill_budget=512",
    ]
    assert [candidate.reason for candidate in tune.candidates] == [None] * 6, output
    assert tune.time.starts >= 6 and tune.reason
    assert (folder / "tune.html").is_file() and (folder / "tuned.toml").is_file() == (tune.winner is not None)
    assert "report: " in output


def test_a_decision_between_both_engines_ends_with_one_page(tmp_path: Path) -> None:
    for name in ("vllm", "sglang"):
        install(name, "cpu")
    asked = ("--engines", "vllm,sglang", "--rounds", "1", "--budget", "8m", "--space", space(tmp_path, SIX))
    code, output, folder = command("decide", tmp_path / "results", {"engine.max_num_seqs": 32}, *asked)
    assert code == Exit.PASSED, output
    decision = read_decision(folder)
    assert [side.engine for side in decision.sides] == ["vllm", "sglang"]
    assert decision.state in ("decided", "equal", "undecided", "one_engine"), output
    assert json.loads((folder / "decision.json").read_text("utf-8"))["state"] == decision.state
    assert (folder / "decision.html").is_file() and "report: " in output
