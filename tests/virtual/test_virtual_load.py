"""A run in virtual time as a run folder: what the report makes of it, and the clock that budgets are of."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from tokenswarm.analysis.run_report import report

from tokenswarm.base.errors import UserError
from tokenswarm.contract.manifest import read_manifest
from tokenswarm.run.life import LoadTools
from tokenswarm.run.options import LoadOptions
from tokenswarm.virtual.virtual_load import EngineClock, VirtualLoad

SHORT = {"load.users": "4", "load.duration_s": "20", "load.warmup_s": "5", "chat.assistant_turns": "corpus"}


def run(tmp_path: Path, engine: str, clock: EngineClock, **more: str) -> Path:
    options = LoadOptions(
        engine=engine, scenario="chat", results=tmp_path, gpu_hourly_cost=1.0, overrides={**SHORT, **more}
    )
    return VirtualLoad(clock)(options, Console(file=io.StringIO()), LoadTools()).folder


def test_the_folder_is_a_valid_simulated_run_with_its_price_and_says_that_nothing_was_sent(tmp_path: Path) -> None:
    clock = EngineClock()
    summary = report(run(tmp_path, "sim-vllm", clock), dashboard=False)
    assert (summary.verdict, summary.simulated) == ("VALID", True)
    assert summary.goodput.goodput_rps.value and summary.cost is not None
    assert any("virtual time" in note for note in summary.notes)
    assert 25.0 <= clock.now() <= 60.0 and clock.requests > 10


def test_engine_and_settings_are_those_that_were_asked_for(tmp_path: Path) -> None:
    folder = run(tmp_path, "sim-sglang", EngineClock(), **{"engine.max_num_seqs": "7"})
    engine = read_manifest(folder).engine
    assert engine.effective["max_num_seqs"] == 7 and engine.effective["block_size"] == 1
    assert engine.effective["model_path"] == "l4-3b" and engine.runtime == "virtual"


def test_what_is_no_simulator_cannot_be_run_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="virtual time"):
        run(tmp_path, "vllm", EngineClock())
