"""summary.json through its one reader and its one writer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.contract.summary import SUMMARY_FORMAT, read_summary, write_summary


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    write_summary(tmp_path, {"format": SUMMARY_FORMAT, "verdict": "VALID"})
    assert read_summary(tmp_path) == {"format": SUMMARY_FORMAT, "verdict": "VALID"}
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"], "no temporary file is left"


@pytest.mark.parametrize("content", [None, "", "{", "[1]"])
def test_a_file_that_is_none_is_refused_by_name(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "summary.json").write_text(content)
    with pytest.raises(UserError, match=r"summary\.json cannot be read") as caught:
        read_summary(tmp_path)
    assert caught.value.code is Exit.RUN_FOLDER


def test_a_newer_format_is_refused_with_what_to_do(tmp_path: Path) -> None:
    write_summary(tmp_path, {"format": SUMMARY_FORMAT + 1})
    with pytest.raises(UserError, match=f"summary.json has format {SUMMARY_FORMAT + 1}.*newer one"):
        read_summary(tmp_path)


def test_a_figure_that_json_cannot_hold_is_a_bug_and_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_summary(tmp_path, {"value": float("nan")})
    assert list(tmp_path.iterdir()) == []
