"""Every command that a page shows is one that the Makefile and the command line take."""

from __future__ import annotations

import re
import shlex
import subprocess
from functools import cache

import pytest

from tests.docs.commands import ROOT, Command, commands_of, documented, settings
from tokenswarm.base.config_text import parse_set
from tokenswarm.base.errors import UserError
from tokenswarm.base.typed import CommandParser
from tokenswarm.cli import _parser
from tokenswarm.scenario.loading import load_scenario, scenario_names
from tokenswarm.sim.command_line import parser as sim_parser

ENVIRONMENT = {"GPUS", "API_KEY", "HF_TOKEN", "PYTHON", "ARGS"}
"""Variables of make that no option carries."""
COMMANDS = documented()
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")


@cache
def command_line() -> CommandParser:
    """Made once: it keeps nothing of what it has parsed."""
    return _parser()


def accept(words: list[str]) -> None:
    """Raise UserError unless the command line takes these words, which follow `python -m tokenswarm`."""
    if words[:1] == ["sim"]:
        sim_parser().parse_args(words[1:])
    else:
        command_line().parse_args(words)


def check_make(words: tuple[str, ...]) -> None:
    """Raise AssertionError or UserError unless the Makefile has the target and it uses each variable."""
    target = next((word for word in words[1:] if "=" not in word), "help")
    assert re.search(rf"^{re.escape(target)}:.*##", MAKEFILE, re.MULTILINE), f"no target {target}"
    done = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for word in words[1:]:
        name, _, value = word.partition("=")
        assert word == target or name in ENVIRONMENT or value in done.stdout or f"$(if $({name})" in MAKEFILE, word
    for line in done.stdout.replace("\\\n", " ").splitlines():
        if " -m tokenswarm " in line:
            words = shlex.split(line)
            accept(words[words.index("tokenswarm") + 1 :])


def test_the_pages_show_commands() -> None:
    shown = [command.words for command in COMMANDS]
    assert len(shown) > 60
    assert ("make", "load", "SCENARIO=legal") in shown
    assert any(words[1:4] == ("-m", "tokenswarm", "report") for words in shown)


@pytest.mark.parametrize(
    "text",
    [
        "    make laod",
        "    make load ENGIN=vllm",
        "    make load SCENARIO=rag WORKERS=zero",
        "    python -m tokenswarm load --usrs 3",
        "see `python -m tokenswarm raport RUN`",
    ],
)
def test_a_command_that_nothing_takes_is_found(text: str) -> None:
    [command] = commands_of("page", text)
    with pytest.raises((AssertionError, UserError)):
        check(command)


def check(command: Command) -> None:
    """Raise AssertionError or UserError unless this command is taken."""
    if command.words[0] == "make":
        check_make(command.words)
    else:
        alone = ["sim"] if command.words[2] == "tokenswarm.sim" else []
        accept([*alone, *command.words[3:]])


def test_every_command_of_the_pages_is_taken() -> None:
    refused = []
    for command in sorted(set(COMMANDS), key=lambda each: each.where):
        if command.words[0] == "make" and len(command.words) == 1:
            continue  # `make` as the name of the program
        if command.words[-1] == "tokenswarm" or "--help" in command.words:
            continue
        try:
            check(command)
        except (AssertionError, UserError) as error:
            refused.append(f"{command.where}: {shlex.join(command.words)}: {error}")
    assert refused == []


def test_every_setting_of_the_pages_is_taken() -> None:
    refused = []
    for where, scenario, value in settings():
        try:
            load_scenario(scenario if scenario in scenario_names() or ":" in scenario else "rag", parse_set(value))
        except UserError as error:
            refused.append(f"{where}: {value}: {error}")
    assert refused == []


@pytest.mark.parametrize(
    ("words", "scenario"), [((), "'rag'"), (("SCENARIO=",), "'rag'"), (("SCENARIO=chat",), "'chat'")]
)
def test_make_compare_has_a_scenario_whether_one_is_given_or_not(words: tuple[str, ...], scenario: str) -> None:
    done = subprocess.run(["make", "-n", "compare", *words], cwd=ROOT, capture_output=True, text=True)
    assert f"compare --scenario {scenario}" in done.stdout


def test_the_readme_is_read_in_a_few_minutes() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 120
