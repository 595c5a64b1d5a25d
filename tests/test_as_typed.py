"""An error names the option that was typed, not the key behind it."""

from __future__ import annotations

import pytest

from tokenswarm.cli import OPTIONS_OF_KEYS, as_typed, main
from tokenswarm.scenario.loading import load_scenario


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["load", "--users", "0"], "USERS (--users) is 0, but should be at least 1"),
        (["load", "--rate", "-1"], "RATE (--rate) is -1.0, but should be above 0"),
        (["load", "--duration=5x"], "DURATION (--duration) is '5x'"),
        (["load", "--set", "load.users=0"], "SET: load.users is 0"),
        (["compare", "--scenario", "rag", "--users", "0"], "USERS (--users) is 0"),
        (["load", "--users", "3", "--rate", "2"], "USERS (--users) cannot be set with a rate of 2"),
        (["load", "--host", "localhost:8000"], "did you mean http://localhost:8000?"),
        (["load", "--host", "gpu1"], "did you mean http://gpu1?"),
    ],
)
def test_what_is_wrong_is_told_by_what_was_typed(typed: list[str], words: str, tmp_path, capsys) -> None:
    assert main([*typed, "--results", str(tmp_path / "r")]) == 2
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == 1
    assert not (tmp_path / "r").exists(), "no folder is left of what never began"


@pytest.mark.parametrize(
    "typed",
    [
        ["load", "--host", "http://127.0.0.1:1"],
        ["compare", "--scenario", "rag", "--a-host", "http://127.0.0.1:1", "--b-host", "http://127.0.0.1:2"],
        ["capacity", "--host", "http://127.0.0.1:1"],
        ["qualify", "--host", "http://127.0.0.1:1"],
    ],
)
def test_a_command_that_came_to_nothing_leaves_no_empty_folder(typed: list[str], tmp_path, capsys) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    assert main([*typed, "--results", str(kept)]) != 0
    assert main([*typed, "--results", str(tmp_path / "new")]) != 0
    assert list(kept.iterdir()) == [] and not (tmp_path / "new").exists()
    assert "refused" in capsys.readouterr().err


def test_every_option_has_a_key_of_a_scenario() -> None:
    values = load_scenario("rag").values()
    for key in OPTIONS_OF_KEYS:
        table, _, name = key.partition(".")
        assert name in values[table], key


def test_a_key_is_left_where_the_option_was_not_given() -> None:
    assert as_typed("SET: load.users is 0", ["load", "--set", "load.users=0"]) == "SET: load.users is 0"
    assert as_typed("load.users_steps is wrong", ["load", "--users", "3"]) == "load.users_steps is wrong"
