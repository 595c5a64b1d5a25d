"""A run cut into its load levels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenswarm.analysis.figures.run_levels import LoadLevel, load_levels
from tokenswarm.analysis.figures.window import find_window
from tokenswarm.analysis.read.run_folder import read_run

from tests.analysis.make_run import START, manifest, row, write_run

STEPS = [
    {"number": 1, "start": START, "end": START + 20, "began": "start", "users": 32},
    {"number": 2, "start": START + 20, "end": START + 40, "began": "changed", "users": 48},
    {"number": 3, "start": START + 40, "end": START + 60, "began": "changed", "users": 8},
]


def cut(folder: Path, *sent: float, **facts: Any) -> list[LoadLevel]:
    rows = [row(request_id=f"{at}", sent_at=START + at, phase="measure" if at >= 0 else "warmup") for at in sent]
    run = read_run(write_run(folder, rows, manifest(**facts)))
    return load_levels(run, find_window(run))


def ids(levels: list[LoadLevel]) -> list[list[str]]:
    return [level.rows["request_id"].tolist() for level in levels]


def test_a_request_belongs_to_the_level_in_which_it_was_sent(tmp_path: Path) -> None:
    levels = cut(tmp_path, -1, 0, 19.999, 20, 39, 59, levels=STEPS)
    assert ids(levels) == [["0", "19.999"], ["20", "39"], ["59"]]
    assert [level.window.seconds for level in levels] == [20, 20, 20]
    assert [level.record.users for level in levels] == [32, 48, 8]


def test_every_measured_request_is_in_exactly_one_level(tmp_path: Path) -> None:
    sent = [0.1 * place for place in range(600)]
    assert sum(len(level.rows) for level in cut(tmp_path, *sent, levels=STEPS)) == 600


def test_a_run_of_one_load_is_one_level(tmp_path: Path) -> None:
    levels = cut(tmp_path, 1, 2)
    assert ids(levels) == [["1", "2"]] and levels[0].record.users == 16


def test_an_old_folder_has_the_levels_that_were_planned(tmp_path: Path) -> None:
    load = manifest()["load"] | {"mode": "open", "rate": 2.0, "rate_steps": [2.0, 4.0], "duration_s": 60.0}
    levels = cut(tmp_path, 1, 29, 31, load=load)
    assert ids(levels) == [["1", "29"], ["31"]]
    assert [level.record.rate for level in levels] == [2.0, 4.0]


def test_levels_that_a_run_never_came_to_are_left_out(tmp_path: Path) -> None:
    phases = [{"name": "measure", "start": START, "end": START + 30}]
    levels = cut(tmp_path, 1, 25, levels=STEPS, phases=phases)
    assert ids(levels) == [["1"], ["25"]]
    assert levels[1].window.end == START + 30


def test_without_a_window_there_is_no_level(tmp_path: Path) -> None:
    assert cut(tmp_path, 1, phases=[]) == []


@pytest.mark.parametrize(
    "odd",
    [
        [{"number": 9, "start": START + 20}, {"number": 1, "start": START}],
        [{"number": 1, "start": START + 5}, {"number": 1, "start": START + 20}],
    ],
)
def test_odd_levels_of_somebody_else_are_put_in_order(tmp_path: Path, odd: list[dict[str, Any]]) -> None:
    levels = cut(tmp_path, 0, 19, 21, levels=odd)
    assert ids(levels) == [["0", "19"], ["21"]] and [level.record.number for level in levels] == [1, 2]
