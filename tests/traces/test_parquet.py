"""Parquet files, read by the same formats."""

from __future__ import annotations

import builtins
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from pyarrow import parquet

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.traces.reader import open_trace


def _file(tmp_path, rows):
    path = tmp_path / "trace.parquet"
    parquet.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_a_format_is_recognised_in_parquet_too(tmp_path):
    rows = [{"timestamp": n * 100, "input_length": 700, "output_length": 5, "hash_ids": [n, n + 1]} for n in range(600)]
    trace = open_trace(_file(tmp_path, rows))
    requests = list(trace.requests())
    assert trace.format.name == "mooncake" and len(requests) == 600
    assert (requests[3].time_s, requests[3].hash_ids, requests[3].input_tokens) == (0.3, [3, 4], 700)


def test_fields_and_times_of_parquet_can_be_mapped(tmp_path):
    rows = [{"q": "hello", "sent": datetime(2026, 11, 1, 12, tzinfo=UTC), "turns": [{"role": "user", "content": "hi"}]}]
    path = _file(tmp_path, rows)
    [request] = open_trace(path, mapping={"prompt": "q", "time_s": "sent"}).requests()
    assert request.time_s == datetime(2026, 11, 1, 12, tzinfo=UTC).timestamp()
    [request] = open_trace(path, mapping={"messages": "turns"}).requests()
    assert request.messages == [{"role": "user", "content": "hi"}]


def test_a_broken_file_is_one_sentence(tmp_path):
    path = _file(tmp_path, [{"prompt": "a"}])
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(UserError, match="cannot be read") as caught:
        list(open_trace(path).requests())
    assert caught.value.code is Exit.DATA and "\n" not in str(caught.value)


def test_without_pyarrow_it_says_what_to_install(tmp_path, monkeypatch):
    path, real = _file(tmp_path, [{"prompt": "a"}]), builtins.__import__

    def without(name, *more):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"tokenswarm\[parquet\]"):
        list(open_trace(path).requests())
