"""Reading prompts.csv: whole, torn, damaged, foreign."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenswarm.analysis.read.prompts import key_of, read_prompts

from tokenswarm.client.answer import Answer
from tokenswarm.contract import tables as schema
from tokenswarm.generator.fingerprints import Fingerprints

HEADER = schema.header(schema.PROMPT_COLUMNS)


def lines(count: int, worker: int = 0) -> list[str]:
    hashes = Fingerprints(b"k" * 16)
    return [
        hashes.row(worker, i, [{"role": "user", "content": f"{i} " + "x" * 40 * i}], Answer(text=f"answer {i}"))
        for i in range(count)
    ]


def write(tmp_path: Path, *content: str) -> Path:
    path = tmp_path / schema.PROMPTS_CSV
    path.write_text("".join(content))
    return path


def test_requests_come_in_file_order_with_worker_and_number(tmp_path: Path) -> None:
    found = read_prompts(write(tmp_path, HEADER, *lines(3, worker=2)))
    assert found.keys.tolist() == [key_of(2, 0), key_of(2, 1), key_of(2, 2)]
    assert found.messages.chars[found.sequence].tolist() == [2, 42, 82]


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "worker,request\n"])
def test_another_file_is_not_recorded(tmp_path: Path, content: str) -> None:
    assert read_prompts(write(tmp_path, content)) is None


def test_a_missing_file_is_not_recorded(tmp_path: Path) -> None:
    assert read_prompts(tmp_path / schema.PROMPTS_CSV) is None


def test_a_table_without_rows_holds_nothing(tmp_path: Path) -> None:
    assert len(read_prompts(write(tmp_path, HEADER))) == 0


def test_a_torn_last_line_is_left_out_and_counted(tmp_path: Path) -> None:
    found = read_prompts(write(tmp_path, HEADER, *lines(2), lines(3)[2].rstrip("\n")[:-8]))
    assert (len(found), found.damaged) == (2, 1)


@pytest.mark.parametrize(
    "bad",
    [
        "0,9\n",
        "0,9,,,,,,\n",
        "x,9,,,,,\n",
        "0,-1,,,,,\n",
        "0,9,abc,,,,\n",
        "0,9,,,,AAAA,\n",
        "0,9,,,,,AAAA\n",
        "0,9,????????,,,,\n",
        "0,9,,AAAAAAAAAAAAAAAA,,,\n",
        "\n",
        "\0\n",
        "0,99999999999999999999,,,,,\n",
    ],
)
def test_a_line_that_is_none_is_left_out_and_counted(tmp_path: Path, bad: str) -> None:
    good = lines(5)
    found = read_prompts(write(tmp_path, HEADER, *good[:2], bad, *good[2:]))
    assert (len(found), found.damaged) == (5, 1)


def test_a_request_whose_message_nobody_described_is_left_out(tmp_path: Path) -> None:
    hashes = Fingerprints(b"k" * 16)
    told = [hashes.row(0, i, [{"role": "user", "content": "same"}], Answer()) for i in range(2)]
    found = read_prompts(write(tmp_path, HEADER, told[1], *lines(1)))
    assert (len(found), found.damaged) == (1, 1)


def test_a_request_that_stands_there_twice_counts_once(tmp_path: Path) -> None:
    found = read_prompts(write(tmp_path, HEADER, *lines(2), *lines(2)))
    assert (len(found), found.damaged) == (2, 2)


def test_only_the_first_requests_are_looked_at(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER, *lines(10))
    assert (len(read_prompts(path, 4)), read_prompts(path, 4).more) == (4, True)
    assert (len(read_prompts(path, 10)), read_prompts(path, 10).more) == (10, False)


def test_parts_are_read_in_order_and_what_one_told_holds_for_the_next(tmp_path: Path) -> None:
    hashes = Fingerprints(b"k" * 16)
    told = [hashes.row(0, i, [{"role": "user", "content": "same"}], Answer()) for i in range(3)]
    path = write(tmp_path, HEADER, told[0], lines(9)[8][:20])  # and a torn last line
    (tmp_path / schema.part_name(schema.PROMPTS_CSV, 2)).write_text(HEADER + told[1])
    (tmp_path / schema.part_name(schema.PROMPTS_CSV, 3)).write_text("worker,requ")
    (tmp_path / schema.part_name(schema.PROMPTS_CSV, 4)).write_text(HEADER + told[2])
    found = read_prompts(path)
    assert found.keys.tolist() == [key_of(0, 0), key_of(0, 1), key_of(0, 2)]
    assert found.damaged == 2
    assert (len(read_prompts(path, 2)), read_prompts(path, 2).more) == (2, True)
