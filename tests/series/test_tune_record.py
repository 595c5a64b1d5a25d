"""What a race in virtual time leaves: its runs by name, and the winner's settings as a scenario takes them."""

from __future__ import annotations

import io
import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tokenswarm.commands.tune import RaceAsked, race_settings, space_of_engine
from tokenswarm.contract.manifest import read_manifest
from tokenswarm.contract.tune_record import read_tune
from tokenswarm.run.life import LoadTools
from tokenswarm.run.options import LoadOptions
from tokenswarm.run.run_plan import resolve
from tokenswarm.series.pairs import SeriesTools
from tokenswarm.series.tune_state import read_state
from tokenswarm.virtual.virtual_load import EngineClock, VirtualLoad

SHORT = {"load.users": "2", "load.duration_s": "5", "load.warmup_s": "1", "chat.assistant_turns": "corpus"}
QUIET = Console(file=io.StringIO())


def virtual() -> SeriesTools:
    clock = EngineClock()
    return SeriesTools(run=VirtualLoad(clock), now=clock.now, checks=False)


def test_runs_are_named_as_paths_from_the_folder_however_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, results in (
        (Path("given/race"), Path("given")),  # runs beside it, as `tune` has them
        (tmp_path / "whole/race", tmp_path / "whole"),
        (tmp_path / "stage", tmp_path / "stage"),  # runs in it, as `decide` has them
    ):
        base = LoadOptions(engine="sim-vllm", scenario="chat", overrides=SHORT, results=results)
        space = space_of_engine(resolve(base), None)
        space = replace(space, candidates=space.candidates[:2])
        race_settings(base, space, RaceAsked(rounds=1, pairs=0, series=virtual()), QUIET, folder)
        runs = [run for each in read_tune(folder).candidates for run in each.runs]
        assert len(runs) == 2
        assert all(not Path(run).is_absolute() and (folder / run / "run.json").exists() for run in runs)


def test_a_race_goes_on_where_its_results_were_moved_to(tmp_path: Path) -> None:
    first = tmp_path / "first"
    base = LoadOptions(engine="sim-vllm", scenario="chat", overrides=SHORT, results=first)
    space = space_of_engine(resolve(base), None)
    space = replace(space, candidates=space.candidates[:2])
    race_settings(base, space, RaceAsked(rounds=1, pairs=0, series=virtual()), QUIET, first / "race")
    written = json.loads((first / "race" / "series.json").read_text())
    runs = list(written["rounds"][0]["runs"].values())
    assert len(runs) == 2 and all(run == f"../{Path(run).name}" for run in runs)
    first.rename(tmp_path / "second")

    def opened() -> list[Path]:
        return [Path(run) for run in read_state(tmp_path / "second" / "race").rounds[0].runs.values()]

    assert all((run / "run.json").is_file() for run in opened())
    # As older versions wrote it: paths as they were given, and no word of where they begin.
    del written["paths_from"]
    written["rounds"][0]["runs"] = {name: str(first / Path(run).name) for name, run in zip("ab", runs, strict=True)}
    written["candidates"] = ["a", "b"]
    written["rounds"][0]["figures"] = {}
    (tmp_path / "second" / "race" / "series.json").write_text(json.dumps(written))
    assert all((run / "run.json").is_file() for run in opened())
    (tmp_path / "second").rename(first)
    (first / "race").rename(tmp_path / "race")
    assert [Path(run) for run in read_state(tmp_path / "race").rounds[0].runs.values()] == [
        first / Path(run).name for run in runs
    ], "what lies where it was is found there"


def test_the_winners_settings_are_written_as_a_scenario_takes_them(tmp_path: Path) -> None:
    """One user at a time is surely worse than eight; the flags in tuned.toml are those of the engine."""
    slow = {**SHORT, "load.users": "8", "load.duration_s": "20", "engine.max_num_seqs": "1"}
    base = LoadOptions(engine="sim-vllm", scenario="chat", overrides=slow, results=tmp_path)
    space = tmp_path / "space.toml"
    space.write_text("[settings]\nmax_num_seqs = [8]\n")
    candidates = space_of_engine(resolve(base), str(space))
    _, tune = race_settings(base, candidates, RaceAsked(rounds=3, pairs=0, series=virtual()), QUIET, tmp_path / "race")
    assert tune.winner == "max_num_seqs=8"
    tuned = (tmp_path / "race" / "tuned.toml").read_text()
    assert tomllib.loads(tuned) == {"engine": {"sim-vllm": {"max-num-seqs": 8}}}
    own = tmp_path / "own.toml"
    own.write_text((Path(__file__).parents[2] / "scenarios" / "chat.toml").read_text() + "\n" + tuned)
    asked = LoadOptions(engine="sim-vllm", scenario=str(own), overrides=SHORT, results=tmp_path)
    outcome = VirtualLoad(EngineClock())(asked, QUIET, LoadTools())
    engine = read_manifest(outcome.folder).engine
    assert engine is not None and engine.effective["max_num_seqs"] == 8
