"""docs/ci.md and docs/troubleshooting.md cover exactly what the code can report."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tokenswarm.analysis.verdict.validity import RULES

from tokenswarm.base.errors import Exit
from tokenswarm.contract import tables as schema

DOCS = Path(__file__).resolve().parents[2] / "docs"


def sections(chapter: str) -> dict[str, str]:
    """Heading -> text of the sections of a chapter of docs/troubleshooting.md whose heading is a name in backticks."""
    text = (DOCS / "troubleshooting.md").read_text("utf-8")
    inside = re.split(r"^## ", text.split(f"\n## {chapter}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    parts = re.split(r"^### `(\w+)`$", inside, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_every_exit_code_is_in_the_table_with_its_meaning() -> None:
    rows = re.findall(r"^\| (\d+) \| (\w+) \| (.+?) \| (.+) \|$", (DOCS / "ci.md").read_text("utf-8"), re.MULTILINE)
    documented = [(int(code), name, meaning) for code, name, meaning, _ in rows]
    assert documented == [(code.value, code.name, code.meaning) for code in Exit]


@pytest.mark.parametrize(
    ("chapter", "names"),
    [("Errors by kind", list(schema.ERROR_KINDS)), ("INVALID and INCOMPLETE", [rule.name for rule in RULES])],
)
def test_everything_that_can_go_wrong_has_a_section_with_advice(chapter: str, names: list[str]) -> None:
    found = sections(chapter)
    assert list(found) == names
    assert [name for name, text in found.items() if len(text.split()) < 12] == []
