"""Reading run folders that are complete, old, torn, hostile or nearly empty."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenswarm.analysis.read.run_folder import read_run

from tests.analysis.make_run import START, manifest, row, write_run, write_table
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.contract import tables as schema
from tokenswarm.contract.manifest import Manifest


def test_every_column_comes_back_as_it_was_written(tmp_path: Path) -> None:
    cells = row(ttft_ms=123.456, sent_at=1795000000.123456, valid_output=True, cached_tokens=None, worker=3)
    run = read_run(write_run(tmp_path, [cells]))
    read = run.requests.iloc[0]
    assert list(run.requests.columns) == schema.names(schema.REQUEST_COLUMNS)
    assert (read["ttft_ms"], read["sent_at"], read["valid_output"], read["worker"]) == (
        123.456,
        1795000000.123456,
        1,
        3,
    )
    assert np.isnan(read["cached_tokens"])
    assert run.manifest.engine.name == "sim"


def test_text_that_looks_like_a_number_or_a_truth_stays_text(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path, [row(document="007", conversation="true"), row(document="1e3")]))
    assert list(run.requests["document"]) == ["007", "1e3"]
    assert run.requests["conversation"][0] == "true"


def test_torn_last_line_is_dropped_and_counted(tmp_path: Path) -> None:
    folder = write_run(tmp_path, [row(request_id="a"), row(request_id="b")])
    path = folder / schema.REQUESTS_CSV
    # A cut inside a number still leaves a line that looks like a row.
    path.write_text(path.read_text() + schema.format_rows(schema.REQUEST_COLUMNS, [row(request_id="c")])[:120])
    run = read_run(folder)
    assert list(run.requests["request_id"]) == ["a", "b"]
    assert run.damaged_lines == 1


def test_line_that_is_no_row_is_left_out_and_counted(tmp_path: Path) -> None:
    folder = write_run(tmp_path, [row(request_id="a")])
    with (folder / schema.REQUESTS_CSV).open("a") as file:
        file.write("half,a,row\n" + "x," * 80 + "\n")
    run = read_run(folder)
    assert list(run.requests["request_id"]) == ["a"]
    assert run.damaged_lines == 2


def test_cell_that_is_no_number_reads_as_not_measured(tmp_path: Path) -> None:
    folder = write_run(tmp_path, [row(request_id="a"), row(request_id="b", ttft_ms=50.0)])
    path = folder / schema.REQUESTS_CSV
    path.write_text(path.read_text().replace("100.000", "oops", 1))
    run = read_run(folder)
    assert len(run.requests) == 2
    assert np.isnan(run.requests["ttft_ms"][0]) and run.requests["ttft_ms"][1] == 50.0


def test_older_table_with_fewer_columns_and_newer_with_more_are_read(tmp_path: Path) -> None:
    (tmp_path / schema.REQUESTS_CSV).write_text("sent_at,status,ttft_ms,from_the_future\n1795000000,ok,12.5,7\n")
    run = read_run(tmp_path)
    assert run.requests["ttft_ms"][0] == 12.5
    assert np.isnan(run.requests["e2e_ms"][0])
    assert "from_the_future" not in run.requests


def test_requests_are_put_in_the_order_sent(tmp_path: Path) -> None:
    rows = [row(request_id="late", sent_at=20.0), row(request_id="early", sent_at=10.0)]
    assert list(read_run(write_run(tmp_path, rows)).requests["request_id"]) == ["early", "late"]


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "NA", "null", 'quote " and, comma', "=1+1", "ünïcode ☃"])
def test_hostile_text_stays_text(tmp_path: Path, text: str) -> None:
    run = read_run(write_run(tmp_path, [row(user_class=text, error_detail=text)]))
    assert run.requests["user_class"][0] == schema.clean_text(text)
    assert run.requests["error_detail"][0] == schema.clean_text(text)


def test_bytes_that_are_not_utf8_do_not_stop_the_reading(tmp_path: Path) -> None:
    folder = write_run(tmp_path, [row(request_id="MARK")])
    path = folder / schema.REQUESTS_CSV
    path.write_bytes(path.read_bytes().replace(b"MARK", b"\xff\xfe"))
    assert len(read_run(folder).requests) == 1


def test_folder_without_manifest_is_read_and_says_so(tmp_path: Path) -> None:
    folder = write_run(tmp_path, [row()])
    (folder / schema.MANIFEST_JSON).unlink()
    run = read_run(folder)
    assert run.manifest == Manifest() and len(run.requests) == 1
    assert any("run.json is missing" in note for note in run.notes)


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", "null"])
def test_damaged_manifest_is_said_and_the_rows_are_kept(tmp_path: Path, content: str) -> None:
    folder = write_run(tmp_path, [row()])
    (folder / schema.MANIFEST_JSON).write_text(content)
    run = read_run(folder)
    assert run.manifest == Manifest() and len(run.requests) == 1
    assert any("damaged" in note for note in run.notes)


@pytest.mark.parametrize("content", [None, "", schema.header(schema.REQUEST_COLUMNS), "run_id,wor"])
def test_run_that_died_before_its_first_row_has_no_requests(tmp_path: Path, content: str | None) -> None:
    folder = write_run(tmp_path, [], manifest())
    path = folder / schema.REQUESTS_CSV
    path.unlink()
    if content is not None:
        path.write_text(content)
    assert len(read_run(folder).requests) == 0


def test_missing_folder_and_foreign_folder_are_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    for folder in (tmp_path / "nowhere", tmp_path / "other"):
        with pytest.raises(UserError) as caught:
            read_run(folder)
        assert caught.value.code == Exit.RUN_FOLDER
        assert str(folder) in str(caught.value)


def test_table_of_something_else_is_refused_with_its_lacking_column(tmp_path: Path) -> None:
    (tmp_path / schema.REQUESTS_CSV).write_text("name,age\nbob,7\n")
    with pytest.raises(UserError, match="lacks the column sent_at, status"):
        read_run(tmp_path)


def _in_parts(folder: Path, name: str, columns: tuple[schema.Column, ...], *parts: list[dict]) -> None:
    for number, rows in enumerate(parts, 1):
        write_table(folder / schema.part_name(name, number), columns, rows)


def test_a_table_in_parts_reads_like_one_table(tmp_path: Path) -> None:
    rows = [
        row(request_id=str(n), sent_at=1000.0 + n, document=f"d{n}", status=("ok", "failed")[n % 2]) for n in range(6)
    ]
    folder = write_run(tmp_path, [])
    _in_parts(folder, schema.REQUESTS_CSV, schema.REQUEST_COLUMNS, rows[4:], rows[:1], [], rows[1:4])
    host = [{"at": 1000.0 + n, "source": f"worker {n}"} for n in range(3)]
    _in_parts(folder, schema.HOST_METRICS_CSV, schema.HOST_METRIC_COLUMNS, host[:2], host[2:])
    run = read_run(folder)
    assert list(run.requests["request_id"]) == list("012345")
    assert list(run.requests["document"]) == [f"d{n}" for n in range(6)]
    assert run.requests["status"].dtype == "category" and list(run.requests["status"]) == ["ok", "failed"] * 3
    assert list(run.host_metrics["source"]) == ["worker 0", "worker 1", "worker 2"]
    assert run.damaged_lines == 0 and not any("missing" in note for note in run.notes if "requests" in note)


def test_a_torn_last_line_is_left_out_in_any_part(tmp_path: Path) -> None:
    folder = write_run(tmp_path, [])
    _in_parts(folder, schema.REQUESTS_CSV, schema.REQUEST_COLUMNS, [row(request_id="a")], [row(request_id="b")], [])
    for number in (1, 2):
        with (folder / schema.part_name(schema.REQUESTS_CSV, number)).open("a") as file:
            file.write("torn,0,measure")
    (folder / schema.part_name(schema.REQUESTS_CSV, 3)).write_text("run_id,wor")  # killed as it began
    run = read_run(folder)
    assert sorted(run.requests["request_id"]) == ["a", "b"]
    assert run.damaged_lines == 3


def test_a_part_that_somebody_took_away_is_told(tmp_path: Path) -> None:
    folder = write_run(tmp_path, [])
    _in_parts(folder, schema.REQUESTS_CSV, schema.REQUEST_COLUMNS, *([row(request_id=str(n))] for n in range(4)))
    (folder / schema.REQUESTS_CSV).unlink()
    (folder / schema.part_name(schema.REQUESTS_CSV, 3)).unlink()
    run = read_run(folder)
    assert list(run.requests["request_id"]) == ["1", "3"]
    assert any("requests.csv, requests.0003.csv" in note and "are missing" in note for note in run.notes)


@pytest.mark.parametrize(
    ("told", "read"),
    [
        ([500, None, 200], [500.0, 0.0, 200.0]),
        ([500, None, 0], [500.0, None, 0.0]),
        ([None, None, None], [None, None, None]),
    ],
    ids=["zero is left out", "zero is told", "nothing is told"],
)
def test_a_miss_that_the_engine_leaves_out_is_told_from_what_it_does_not_report(
    tmp_path: Path, told: list[int | None], read: list[float | None]
) -> None:
    rows = [row(request_id=str(i), sent_at=START + i, cached_tokens=cached) for i, cached in enumerate(told)]
    write_table(tmp_path / schema.REQUESTS_CSV, schema.REQUEST_COLUMNS, rows)
    run = read_run(tmp_path)
    assert [None if np.isnan(value) else value for value in run.requests["cached_tokens"]] == read
    assert any("counted as misses" in note for note in run.notes) == (0.0 in read and 0 not in told)
