"""Tasks with known results: the same on both sides, one engine a side."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from tokenswarm.run.life import LoadTools
from tokenswarm.run.monitor import RunOutcome
from tokenswarm.run.options import LoadOptions
from tokenswarm.series.pairs import SeriesTools
from tokenswarm.series.quality_runs import TASKS, ask_tasks


def test_both_sides_are_asked_the_same_and_differ_in_the_number_format_alone(tmp_path: Path) -> None:
    asked: list[LoadOptions] = []

    def run(options: LoadOptions, console: Console, tools: LoadTools) -> RunOutcome:
        asked.append(options)
        return RunOutcome(tmp_path / str(len(asked)), "complete")

    base = LoadOptions(
        engine="sim",
        scenario="chat",
        model="m",
        overrides={"engine.max_num_seqs": "8", "load.users": "99", "chat.turns": "2"},
    )
    formats = {"engine.kv_cache_dtype": '"fp8"'}
    folders = ask_tasks(base, formats, 100, Console(file=io.StringIO()), SeriesTools(run=run))
    assert [each.scenario for each in asked] == [*TASKS, *TASKS]
    assert folders == {"before": [tmp_path / "1", tmp_path / "2"], "after": [tmp_path / "3", tmp_path / "4"]}
    before, after = asked[0].overrides, asked[2].overrides
    assert after == {**before, "engine.kv_cache_dtype": '"fp8"'}
    assert before["load.max_requests"] == "50" and before["engine.max_num_seqs"] == "8"
    assert not {"load.users", "chat.turns"} & before.keys(), "these are of another scenario"


def test_ctrl_c_ends_the_questions(tmp_path: Path) -> None:
    def run(options: LoadOptions, console: Console, tools: LoadTools) -> RunOutcome:
        return RunOutcome(tmp_path, "interrupted")

    with pytest.raises(KeyboardInterrupt):
        ask_tasks(LoadOptions(), {}, 100, Console(file=io.StringIO()), SeriesTools(run=run))
