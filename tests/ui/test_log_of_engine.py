"""What the tab shows of the engine's log."""

from __future__ import annotations

from pathlib import Path

from tokenswarm.ui.tab import end_of


def test_the_end_of_a_log_is_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "engine.log"
    path.write_text("short\n", "utf-8")
    assert end_of(path) == "short\n"
    path.write_text("".join(f"line {number}\n" for number in range(10_000)), "utf-8")
    lines = end_of(path).splitlines()
    assert lines[-1] == "line 9999" and lines[0].startswith("line ") and 500 < len(lines) < 3000
