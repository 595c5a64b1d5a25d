"""What each setting did."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from tokenswarm.analysis.search.effects import main_effects

GRID = {f"{a}{b}": {"seqs": a, "budget": b} for a, b in itertools.product("12", "xyz")}


def worth(settings: dict[str, str]) -> float:
    return {"1": 1.0, "2": 1.5}[settings["seqs"]] * {"x": 1.0, "y": 0.8, "z": 1.0}[settings["budget"]]


def test_effects_that_multiply_are_recovered_though_rounds_differ_and_some_left_early() -> None:
    work = [1.0, 3.0, 0.5]
    figures = {name: [worth(GRID[name]) * each for each in work[: 3 if "2" in name else 2]] for name in GRID}
    effects = {(each.setting, each.value): each for each in main_effects(GRID, figures)}
    assert effects["seqs", "2"].ratio == pytest.approx(1.5)
    assert effects["budget", "y"].ratio == pytest.approx(0.8)
    assert effects["budget", "z"].ratio == pytest.approx(1.0)


def test_the_interval_holds_the_truth_in_about_95_percent() -> None:
    rng, held = np.random.default_rng(1), 0
    for _ in range(200):
        figures = {name: [worth(GRID[name]) * float(np.exp(rng.normal(0.0, 0.1))) for _ in range(2)] for name in GRID}
        effect = main_effects(GRID, figures)[0]
        held += effect.low <= 1.5 <= effect.high
    assert 180 <= held <= 199


def test_settings_that_only_change_together_are_not_told_apart_and_say_so() -> None:
    settings = {"a": {"one": "1", "two": "1"}, "b": {"one": "2", "two": "2"}, "c": {"one": "1", "two": "1"}}
    effects = main_effects(settings, {name: [1.0, 2.0] for name in settings})
    assert [each.ratio for each in effects] == [None, None]
    assert "do not tell" in effects[0].why


def test_as_many_effects_as_candidates_have_no_interval() -> None:
    effects = main_effects({"a": {"s": "1"}, "b": {"s": "2"}}, {"a": [1.0], "b": [2.0]})
    assert effects[0].ratio == pytest.approx(2.0) and effects[0].low is None and effects[0].why


def test_settings_with_which_nothing_was_reached_have_no_ratio_and_spoil_no_other() -> None:
    figures = {name: [0.0 if mine["seqs"] == "1" else worth(mine)] * 2 for name, mine in GRID.items()}
    effects = {(each.setting, each.value): each for each in main_effects(GRID, figures)}
    assert effects["seqs", "1"].ratio is None and "nothing" in effects["seqs", "1"].why
    assert effects["budget", "y"].ratio == pytest.approx(0.8), "by those that reached something"
