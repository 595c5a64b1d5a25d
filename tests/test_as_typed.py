"""An error names the option that was typed, not the key behind it."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tokenswarm.base.typed import NO_VARIABLE, OPTIONS_OF_KEYS, as_typed, name_of
from tokenswarm.cli import _parser, main
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
        (["load", "--rate", "abc"], "RATE (--rate) is 'abc', but should be a number"),
        (["load", "--seed", "x"], "SEED (--seed) is 'x', but should be a whole number"),
        (["load", "--runtime", "podman"], "RUNTIME (--runtime) is 'podman', but should be local or docker"),
        (["load", "--workers", "0"], "WORKERS (--workers): '0' is not a whole number of at least 1"),
        (["load", "--usres", "3"], "load has no option --usres (did you mean --users?)"),
        (["load", "now"], "load does not know what to do with 'now'"),
        (["capacity", "--budget", "5x"], "BUDGET (--budget): '5x'"),
        (["capacity", "--at-least", "-3"], "AT_LEAST (--at-least): '-3' is not a number above 0"),
        (["tune", "--tasks", "-1"], "TASKS (--tasks): '-1' is not a whole number of at least 0"),
        (["ui", "--web-port", "99999"], "WEB_PORT (--web-port): '99999' is not a port"),
        (["claims", "--gpus", "two"], "GPU_COUNT (--gpus): 'two'"),
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


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["laod"], "there is no command 'laod' (did you mean load?); python -m tokenswarm --help"),
        (
            ["engine", "stauts"],
            "there is no command 'stauts' (did you mean status?); python -m tokenswarm engine --help",
        ),
        (["export", "x", "--format", "csv"], "FORMAT (--format) is 'csv', but should be vllm-bench, llm-d or aiperf"),
        (["export"], "export needs RUN and FORMAT (--format); python -m tokenswarm export --help"),
        (["profile"], "profile needs DATA"),
        (["profile", "f", "--format"], "tokenswarm: --format needs a value"),
        (["prune", "--most", "3X"], "MOST (--most): '3X' is not a size"),
        (["load", "--rate"], "RATE (--rate) needs a value"),
        (["sim", "--port", "x"], "--port is 'x', but should be a number"),
        ([], "needs COMMAND"),
    ],
)
def test_what_the_command_line_does_not_take_is_one_sentence(typed: list[str], words: str, capsys) -> None:
    assert main(typed) == 2
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == 1


MAKEFILE = re.sub(r"\\\n\s*", "", (Path(__file__).parent.parent / "Makefile").read_text("utf-8"))


def variables_of(command: str) -> dict[str, str]:
    """The variable of make behind each option that a target passes on to a command."""
    [line] = set(re.findall(rf"^\t@(?:exec )?\$\(PY\) -m tokenswarm {command}\b(.*)$", MAKEFILE, re.MULTILINE)) or [""]
    while (lists := re.search(r"\$\(([A-Z_]+_OPTIONS)\)", line)) is not None:
        [text] = re.findall(rf"^{lists[1]} = (.*)$", MAKEFILE, re.MULTILINE)
        line = line.replace(lists[0], text)
    passed = dict(re.findall(r"\$\(call option,(--[a-z-]+),([A-Z_]+)\)", line))
    passed |= {option: name for name, option in re.findall(r"\$\(if \$\(([A-Z_]+)\),(--[a-z-]+)\)", line)}
    return passed | dict(re.findall(r"(--[a-z-]+) \$\(call quote,\$\((?:value |or \$\()?([A-Z_]+)", line))


def commands(parser: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    groups = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
    if not groups:
        yield name, parser
    for verb, below in groups[0].choices.items() if groups else ():
        yield from commands(below, f"{name} {verb}".strip())


def test_the_variable_that_is_named_is_the_one_that_the_makefile_passes_on() -> None:
    wrong, with_variable = [], set()
    for command, parser in commands(_parser()):
        passed = variables_of(command)
        for option in sorted({each for each in parser._option_string_actions if each.startswith("--")} - {"--help"}):
            named = name_of(option, command)
            if option in passed:
                with_variable.add(option)
                if named != f"{passed[option]} ({option})":
                    wrong.append(f"{command} {option}: {named}, passed as {passed[option]}")
            elif passed and named != option:
                wrong.append(f"{command} {option}: {named}, but no target passes it on")
    assert wrong == [] and len(with_variable) > 50
    assert not with_variable & NO_VARIABLE
