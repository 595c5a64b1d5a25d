"""Stable names stay; the table in CONTRIBUTING points to existing files."""

from __future__ import annotations

import re

import pytest

from docs.stable import FILE, names
from tests.docs.commands import ROOT

CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
HELD = FILE.read_text("utf-8").splitlines()


def rows_of_where() -> list[list[str]]:
    """The cells of the table under "Where does it go?"."""
    part = CONTRIBUTING.partition("## Where does it go?")[2].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_no_stable_name_is_gone() -> None:
    there = set(names())
    assert [name for name in HELD if name not in there] == [], "see What is stable in CONTRIBUTING.md"


@pytest.mark.parametrize("kind", ["command ", "exit code ", "run folder ", "locustfile ", "scenario ", "metric "])
def test_the_list_has_names_of_each_kind(kind: str) -> None:
    assert sum(name.startswith(kind) for name in HELD) >= 20


def test_commands_and_what_a_locustfile_may_use_are_all_in_the_list() -> None:
    coarse = [name for name in names() if re.match(r"locustfile |command [^-]*$|exit code |scenario \w+$", name)]
    assert [name for name in coarse if name not in HELD] == [], "python -m docs.stable writes it down"


def test_contributing_names_the_list() -> None:
    assert "docs/stable-names.txt" in CONTRIBUTING


@pytest.mark.parametrize("cells", rows_of_where(), ids=lambda cells: cells[0])
def test_what_contributing_says_of_where_a_change_goes_is_there(cells: list[str]) -> None:
    named = re.findall(r"`([\w./*-]+/[\w./*-]*)`", cells[1]) + re.findall(r"\]\(([\w./-]+)\)", " ".join(cells))
    assert named, "no file is named"
    for path in named:
        pattern = path.replace("NAME", "*").rstrip("/")
        assert any(ROOT.glob(pattern)), path


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`make ([a-z-]+)", CONTRIBUTING))))
def test_what_contributing_makes_is_a_target(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
