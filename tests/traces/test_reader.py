"""Files of any size and in any state: read in bounded memory, or refused with one sentence."""

from __future__ import annotations

import gzip
import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.traces import trace_text
from tokenswarm.traces.reader import open_trace

GOOD = {"timestamp": 0, "input_length": 10, "output_length": 1}


def _lines(*rows: object) -> str:
    return "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)


def _refused(path, match, **options):
    with pytest.raises(UserError, match=match) as caught:
        list(open_trace(path, **options).requests())
    assert caught.value.code is Exit.DATA
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "compress",
    [
        gzip.compress,
        zstandard.ZstdCompressor().compress,
        lambda data: zstandard.compress(data[:9]) + zstandard.compress(data[9:]),
    ],
)
def test_a_compressed_file_reads_as_the_plain_one(tmp_path, compress):
    path = tmp_path / "trace.jsonl"
    path.write_bytes(compress(_lines(GOOD, GOOD).encode()))
    assert len(list(open_trace(path).requests())) == 2


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_a_compressed_file_that_was_cut_is_refused(tmp_path, compress):
    path = tmp_path / "trace.jsonl.gz"
    whole = compress(_lines(*[GOOD | {"timestamp": n * n} for n in range(3000)]).encode())
    path.write_bytes(whole[:-400])
    _refused(path, "cannot be read")


def test_a_byte_order_mark_is_no_part_of_the_first_row(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_bytes(b"\xef\xbb\xbfTIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:15:46.68,374,44\r\n")
    assert [each.input_tokens for each in open_trace(path).requests()] == [374]


def test_text_that_is_not_utf8_is_refused(tmp_path):
    path = tmp_path / "trace.jsonl"
    path.write_bytes(_lines({**GOOD, "prompt": "x"}).replace("x", "Gr\xfc\xdfe").encode("latin-1"))
    _refused(path, "not UTF-8|no row")


@pytest.mark.parametrize("content", ["", "   \n\n", "\ufeff"])
def test_an_empty_file_is_refused(tmp_path, content):
    path = tmp_path / "trace.jsonl"
    path.write_text(content, "utf-8")
    _refused(path, "is empty")


def test_a_folder_or_a_missing_file_is_refused(tmp_path):
    _refused(tmp_path, "cannot be read")
    _refused(tmp_path / "none.jsonl", "No such file")


def test_few_bad_rows_are_counted_and_named(tmp_path):
    path = tmp_path / "trace.jsonl"
    path.write_text(_lines(*[GOOD] * 150, "{not json", *[GOOD] * 50), "utf-8")
    trace = open_trace(path)
    assert len(list(trace.requests())) == 200
    assert trace.notes.bad_rows == 1
    assert trace.notes.first_bad[0][0] == 151
    assert "not JSON" in trace.notes.first_bad[0][1]


def test_many_bad_rows_are_refused_with_the_first_of_them(tmp_path):
    path = tmp_path / "trace.jsonl"
    path.write_text(_lines(GOOD, GOOD | {"input_length": -4}, GOOD), "utf-8")
    _refused(path, r"1 of the first 3 rows of .* row 2: input_length is -4, which is not a number of tokens")
    assert len(list(open_trace(path, max_bad_share=0.5).requests())) == 2


def test_a_row_of_csv_with_a_field_too_many_is_bad(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,374,44,5\n", "utf-8")
    _refused(path, "no row that can be read")


def test_requests_out_of_order_are_counted(tmp_path):
    path = tmp_path / "trace.jsonl"
    path.write_text(_lines(*[GOOD | {"timestamp": when} for when in (5, 3, 9)]), "utf-8")
    trace = open_trace(path)
    list(trace.requests())
    assert trace.notes.out_of_order == 1


def test_a_line_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(trace_text, "MAX_LINE_CHARS", 1000)
    path = tmp_path / "trace.jsonl"
    path.write_text(_lines(GOOD, "x" * 5000), "utf-8")
    _refused(path, "line 2 is longer than 1,000 characters")


def test_an_array_whose_values_span_chunks_is_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(trace_text, "_CHUNK_CHARS", 7)
    path = tmp_path / "trace.json"
    rows = [GOOD | {"timestamp": number} for number in range(40)]
    path.write_text(json.dumps(rows, indent=2), "utf-8")
    assert [each.time_s for each in open_trace(path).requests()] == pytest.approx([n / 1000 for n in range(40)])


def test_an_array_that_was_cut_is_refused(tmp_path):
    path = tmp_path / "trace.json"
    path.write_text(json.dumps([GOOD] * 30)[:-40], "utf-8")
    _refused(path, "value 30 is not JSON")


def test_reading_takes_bounded_memory(tmp_path):
    path = tmp_path / "trace.jsonl"
    with path.open("w") as stream:
        for number in range(5_000):
            stream.write(json.dumps(GOOD | {"timestamp": number, "extra": {"k": "v" * 200}}) + "\n")
    tracemalloc.start()
    assert sum(1 for _ in open_trace(path).requests()) == 5_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < path.stat().st_size / 3


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "timestamp",
                    "input_length",
                    "hash_ids",
                    "messages",
                    "role",
                    "content",
                    "prompt",
                    "chat_id",
                    "parent_chat_id",
                    "requests",
                    "block_size",
                    "id",
                    "body",
                    "conversation",
                    "conversations",
                    "from",
                    "value",
                    "custom_id",
                    "turn",
                    "conversation_id",
                    "in",
                    "t",
                    "type",
                    "text_input",
                    "payload",
                    "extra",
                    "session_id",
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=25,
)


@given(rows=st.lists(_JSON, min_size=1, max_size=6))
@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_is_read_or_refused_with_one_sentence(tmp_path, rows):
    path = tmp_path / "trace.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    try:
        list(open_trace(path).requests())
    except UserError as error:
        assert error.code is Exit.DATA
        assert "\n" not in str(error)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("packed", [bytes, gzip.compress, zstandard.compress])
def test_a_byte_order_mark_says_how_a_file_is_encoded(
    tmp_path: Path,
    encoding: str,
    packed: Callable[[bytes], bytes],
) -> None:
    (tmp_path / "t.jsonl").write_bytes(packed('{"prompt": "Grüße"}'.encode(encoding)))
    with trace_text.open_text(tmp_path / "t.jsonl") as text:
        assert list(trace_text.lines(text)) == [(1, '{"prompt": "Grüße"}')]


def test_an_address_and_a_pipe_are_refused_at_once(tmp_path):
    with pytest.raises(UserError, match=r"https://example.org/x.jsonl is an address: download the file"):
        open_trace("https://example.org/x.jsonl")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(UserError, match="is not a regular file"):
        open_trace(pipe)


def test_why_no_row_can_be_read_is_said(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"timestamp": NaN}\n', "utf-8")
    with pytest.raises(UserError, match=r"no row that can be read as JSON: row 1: it is not JSON"):
        open_trace(path)
