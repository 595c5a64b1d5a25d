"""Rows reach the file whole or not at all, and are never lost in transit."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.contract.tables import HOST_METRIC_COLUMNS, HOST_METRICS_CSV, REQUEST_COLUMNS, REQUESTS_CSV, header
from tokenswarm.generator import sinks
from tokenswarm.generator.sinks import Buffer, FileSink, MasterSink

HEADER = header(REQUEST_COLUMNS)


class Disk:
    """Stands in for os.write: a disk with room for `room` more bytes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.room = room
        self._write: Callable[[int, bytes], int] = os.write
        monkeypatch.setattr(sinks.os, "write", self.write)

    def write(self, descriptor: int, data: bytes) -> int:
        if self.room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self._write(descriptor, bytes(data)[: self.room])
        self.room -= written
        return written


def lines(*numbers: int) -> str:
    return "".join(f"row-{number},x\n" for number in numbers)


def test_the_tables_exist_with_their_headers_at_once(tmp_path: Path) -> None:
    FileSink(tmp_path)
    assert (tmp_path / REQUESTS_CSV).read_text() == HEADER
    assert (tmp_path / HOST_METRICS_CSV).read_text() == header(HOST_METRIC_COLUMNS)


def test_rows_are_in_the_file_as_soon_as_they_are_written(tmp_path: Path) -> None:
    sink = FileSink(tmp_path)
    sink.write(REQUESTS_CSV, lines(1, 2), 2)
    assert (tmp_path / REQUESTS_CSV).read_text() == HEADER + lines(1, 2)
    assert sink.rows[REQUESTS_CSV] == 2


def test_rows_of_another_run_are_never_touched(tmp_path: Path) -> None:
    FileSink(tmp_path).write(REQUESTS_CSV, lines(1), 1)
    with pytest.raises(UserError, match="another run") as caught:
        FileSink(tmp_path)
    assert caught.value.code == Exit.RESULTS
    assert (tmp_path / REQUESTS_CSV).read_text() == HEADER + lines(1)


def test_host_metrics_are_shared_with_whoever_watches_the_gpus(tmp_path: Path) -> None:
    (tmp_path / HOST_METRICS_CSV).write_text(header(HOST_METRIC_COLUMNS) + "gpu\n")
    FileSink(tmp_path).write(HOST_METRICS_CSV, "worker\n", 1)
    assert (tmp_path / HOST_METRICS_CSV).read_text() == header(HOST_METRIC_COLUMNS) + "gpu\nworker\n"


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written") as caught:
        FileSink(tmp_path / "gone")
    assert caught.value.code == Exit.RESULTS


def test_a_disk_that_is_full_from_the_start_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Disk(monkeypatch, room=10)
    with pytest.raises(UserError, match="No space left"):
        FileSink(tmp_path)


@pytest.mark.parametrize("table", [REQUESTS_CSV, HOST_METRICS_CSV])
@pytest.mark.parametrize("room", [0, 1, 5, 8, 9, 16, 23])
def test_a_full_disk_leaves_whole_lines_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str, room: int
) -> None:
    sink = FileSink(tmp_path)
    sink.write(table, lines(1), 1)
    before = (tmp_path / table).read_text()
    disk = Disk(monkeypatch, room)
    with pytest.raises(OSError, match="No space left"):
        sink.write(table, lines(2, 3, 4), 3)
    assert (tmp_path / table).read_text() == before
    assert sink.rows[table] == 1
    disk.room = 1000
    sink.write(table, lines(2, 3, 4), 3)
    assert (tmp_path / table).read_text() == before + lines(2, 3, 4)


def test_what_somebody_else_wrote_meanwhile_is_not_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = FileSink(tmp_path)
    path = tmp_path / HOST_METRICS_CSV

    def half_then_full(descriptor: int, data: bytes, write: Callable = os.write) -> int:
        monkeypatch.setattr(sinks.os, "write", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        written = write(descriptor, bytes(data)[:3])
        with path.open("a") as other:
            other.write("gpu\n")
        return written

    monkeypatch.setattr(sinks.os, "write", half_then_full)
    with pytest.raises(OSError, match="full"):
        sink.write(HOST_METRICS_CSV, lines(1), 1)
    assert path.read_text().endswith("gpu\n")


def test_rows_that_come_after_the_end_are_an_error_not_a_crash(tmp_path: Path) -> None:
    sink = FileSink(tmp_path)
    sink.close()
    with pytest.raises(OSError, match="closed"):
        sink.write(REQUESTS_CSV, lines(1), 1)


# ---- the buffer


def test_the_buffer_hands_over_in_order_and_forgets(tmp_path: Path) -> None:
    buffer = Buffer(FileSink(tmp_path))
    for number in range(3):
        buffer.add(REQUESTS_CSV, lines(number))
    buffer.flush()
    buffer.flush()
    assert (tmp_path / REQUESTS_CSV).read_text() == HEADER + lines(0, 1, 2)
    assert buffer.taken[REQUESTS_CSV] == 3


def test_the_buffer_keeps_its_lines_when_they_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = Buffer(FileSink(tmp_path))
    buffer.add(REQUESTS_CSV, lines(1))
    disk = Disk(monkeypatch, room=3)
    for _ in range(2):
        with pytest.raises(OSError, match="No space left"):
            buffer.flush()
    buffer.add(REQUESTS_CSV, lines(2))
    disk.room = 1000
    buffer.flush()
    assert (tmp_path / REQUESTS_CSV).read_text() == HEADER + lines(1, 2)


def test_messages_to_the_master_are_of_bounded_size_and_lose_nothing() -> None:
    messages: list[dict] = []
    buffer = Buffer(MasterSink(lambda kind, data: messages.append(data)))
    count = 2 * MasterSink.MAX_LINES + 7
    for number in range(count):
        buffer.add(REQUESTS_CSV, lines(number))
    buffer.flush()
    assert max(message["count"] for message in messages) <= MasterSink.MAX_LINES
    assert sum(message["count"] for message in messages) == count
    assert "".join(message["lines"] for message in messages) == lines(*range(count))
