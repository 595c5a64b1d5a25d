"""A long run's tables continue in a new file each hour; no row is lost, and the index lists what is where."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tokenswarm.contract.tables import (
    HOST_METRICS_CSV,
    PARTS_JSON,
    PROMPTS_CSV,
    REQUEST_COLUMNS,
    REQUESTS_CSV,
    header,
    part_name,
    table_parts,
)
from tokenswarm.generator import sinks
from tokenswarm.generator.sinks import TABLES, FileSink


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def numbers(path: Path) -> list[str]:
    return path.read_text().splitlines()[1:]


def rotating(folder: Path, rows: int = 25) -> tuple[FileSink, Clock]:
    """A sink that rotates every 10 s, and a row a second from its first moment on."""
    clock = Clock()
    sink = FileSink(folder, 10.0, clock)
    for number in range(rows):
        sink.write(REQUESTS_CSV, f"{number}\n", 1)
        sink.write(PROMPTS_CSV, f"p{number}\n", 1)
        clock.now += 1
    return sink, clock


def test_a_short_run_has_one_file_a_table_and_no_index(tmp_path: Path) -> None:
    sink, _ = rotating(tmp_path, rows=9)
    sink.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(TABLES)


def test_each_interval_has_a_part_of_its_own_with_a_header(tmp_path: Path) -> None:
    sink, _ = rotating(tmp_path)
    sink.close()
    parts = table_parts(tmp_path, REQUESTS_CSV)
    assert [path.name for path in parts] == ["requests.csv", "requests.0002.csv", "requests.0003.csv"]
    assert all(path.read_text().startswith(header(REQUEST_COLUMNS)) for path in parts)
    assert [len(numbers(path)) for path in parts] == [10, 10, 5]
    assert [row for path in parts for row in numbers(path)] == [str(number) for number in range(25)]
    assert all((tmp_path / part_name(table, 3)).exists() for table in TABLES)
    assert sink.rows[REQUESTS_CSV] == 25


def test_the_index_counts_what_each_part_holds(tmp_path: Path) -> None:
    sink, _ = rotating(tmp_path)
    sink.close()
    index = json.loads((tmp_path / PARTS_JSON).read_text())
    assert index["rotate_s"] == 10
    assert [part["rows"] for part in index["parts"]] == [{REQUESTS_CSV: n, PROMPTS_CSV: n} for n in (10, 10, 5)]
    assert [(part["first_written_at"], part["last_written_at"]) for part in index["parts"]] == [
        (1000, 1009),
        (1010, 1019),
        (1020, 1024),
    ]
    assert all(part["finished"] for part in index["parts"])
    for part in index["parts"]:
        assert len(numbers(tmp_path / part["files"][REQUESTS_CSV])) == part["rows"][REQUESTS_CSV]


def test_while_the_run_goes_on_the_index_says_nothing_of_the_part_that_grows(tmp_path: Path) -> None:
    rotating(tmp_path)
    index = json.loads((tmp_path / PARTS_JSON).read_text())
    assert [part["finished"] for part in index["parts"]] == [True, True, False]
    assert index["parts"][-1]["rows"] is None


def test_parts_keep_to_their_hour_after_a_long_silence(tmp_path: Path) -> None:
    sink, clock = rotating(tmp_path, rows=1)
    clock.now = 1057.0
    sink.write(REQUESTS_CSV, "late\n", 1)  # one part, not five empty ones
    clock.now = 1059.9
    sink.write(REQUESTS_CSV, "same\n", 1)
    clock.now = 1060.0
    sink.write(REQUESTS_CSV, "next\n", 1)
    assert [numbers(path) for path in table_parts(tmp_path, REQUESTS_CSV)] == [["0"], ["late", "same"], ["next"]]


def test_a_disk_that_is_full_at_the_change_keeps_the_old_part_open_and_leaves_no_half_made_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink, clock = rotating(tmp_path, rows=1)
    clock.now += 10
    real, full = os.open, OSError(28, "No space left on device")

    def refuse(path: Path, *arguments: int) -> int:
        if Path(path).name == part_name(PROMPTS_CSV, 2):
            raise full
        return real(path, *arguments)

    monkeypatch.setattr(sinks.os, "open", refuse)
    with pytest.raises(OSError, match="No space"):
        sink.write(REQUESTS_CSV, "1\n", 1)
    assert table_parts(tmp_path, REQUESTS_CSV) == [tmp_path / REQUESTS_CSV]
    monkeypatch.undo()
    sink.write(REQUESTS_CSV, "1\n", 1)
    assert [numbers(path) for path in table_parts(tmp_path, REQUESTS_CSV)] == [["0"], ["1"]]


def test_parts_are_found_in_order_without_an_index_and_nothing_else_is_taken_for_one(tmp_path: Path) -> None:
    wanted = ["requests.csv", "requests.0002.csv", "requests.0010.csv", "requests.10000.csv"]
    for name in [*wanted, "requests.2.csv", "requests.0002.csv.gz", "old-requests.0002.csv", HOST_METRICS_CSV]:
        (tmp_path / name).touch()
    assert [path.name for path in table_parts(tmp_path, REQUESTS_CSV)] == wanted
