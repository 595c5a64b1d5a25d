"""tune.json of a race in virtual time: what it says of its runs."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tokenswarm.commands.tune import RaceAsked, race_settings, space_of_engine
from tokenswarm.contract.tune_record import read_tune
from tokenswarm.run.options import LoadOptions
from tokenswarm.run.run_plan import resolve
from tokenswarm.series.pairs import SeriesTools
from tokenswarm.virtual.load import EngineClock, VirtualLoad


def test_runs_are_named_as_paths_from_the_folder_however_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    clock = EngineClock()
    tools = SeriesTools(run=VirtualLoad(clock), now=clock.now, checks=False)
    short = {"load.users": "2", "load.duration_s": "5", "load.warmup_s": "1", "chat.assistant_turns": "corpus"}
    for folder, results in (
        (Path("given/race"), Path("given")),  # runs beside it, as `tune` has them
        (tmp_path / "whole/race", tmp_path / "whole"),
        (tmp_path / "stage", tmp_path / "stage"),  # runs in it, as `decide` has them
    ):
        base = LoadOptions(engine="sim-vllm", scenario="chat", overrides=short, results=results)
        space = space_of_engine(resolve(base), None)
        space = replace(space, candidates=space.candidates[:2])
        race_settings(base, space, RaceAsked(rounds=1, pairs=0, series=tools), Console(file=io.StringIO()), folder)
        runs = [run for each in read_tune(folder).candidates for run in each.runs]
        assert len(runs) == 2
        assert all(not Path(run).is_absolute() and (folder / run / "run.json").exists() for run in runs)
