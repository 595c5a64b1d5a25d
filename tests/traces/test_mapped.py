"""Rows whose fields the user names."""

from __future__ import annotations

import json

import pytest

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.traces.reader import open_trace


def _read(tmp_path, rows, **mapping):
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return list(open_trace(path, mapping=mapping).requests())


def test_a_mapping_finds_fields_in_objects_and_in_json_that_stands_as_text(tmp_path):
    rows = [{"request": {"text": "2+2?"}, "meta": '{"user": 7, "sent": 1500}', "gold": "4", "usage": {"out": 3}}]
    [request] = _read(
        tmp_path,
        rows,
        prompt="request.text",
        session="meta.user",
        time_ms="meta.sent",
        expected="gold",
        output_tokens="usage.out",
    )
    assert request.messages == [{"role": "user", "content": "2+2?"}]
    assert (request.session, request.turn, request.time_s) == ("7", 1, 1.5)
    assert (request.expected, request.output_tokens) == ("4", 3)


def test_a_field_whose_own_name_has_a_dot_is_found(tmp_path):
    [request] = _read(tmp_path, [{"gen_ai.input": "hello"}], prompt="gen_ai.input")
    assert request.messages == [{"role": "user", "content": "hello"}]


def test_a_mapping_beats_the_names_that_would_be_ambiguous(tmp_path):
    [request] = _read(tmp_path, [{"prompt": "a", "input": "b", "sys": "be brief"}], prompt="input", system="sys")
    assert request.messages == [{"role": "system", "content": "be brief"}, {"role": "user", "content": "b"}]


def test_lengths_and_ids_of_blocks_can_be_mapped(tmp_path):
    [request] = _read(
        tmp_path,
        [{"n": 130, "m": 9, "blocks": [4, 5, 6]}],
        input_tokens="n",
        output_tokens="m",
        hash_ids="blocks",
        block_tokens="64",
    )
    assert (request.input_tokens, request.output_tokens) == (130, 9)
    assert (request.hash_ids, request.block_tokens) == ([4, 5, 6], 64)


def test_csv_and_messages_as_text(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text('dialogue,when\n"[{""role"": ""user"", ""content"": ""hi""}]",2023-11-16 18:15:46\n')
    [request] = open_trace(path, mapping={"messages": "dialogue", "time_s": "when"}).requests()
    assert request.messages == [{"role": "user", "content": "hi"}]
    assert request.time_s == pytest.approx(1700158546)


@pytest.mark.parametrize(
    ("mapping", "sentence"),
    [
        ({"promt": "q"}, "did you mean"),
        ({"prompt": "a", "messages": "b"}, "both mapped"),
        ({"expected": "a"}, "neither"),
        ({"prompt": "a", "time_s": "b", "time_ms": "c"}, "both mapped"),
        ({"prompt": "a", "hash_ids": "b"}, "block_tokens"),
        ({"prompt": "a", "hash_ids": "b", "block_tokens": "many"}, "block_tokens"),
    ],
)
def test_a_mapping_that_makes_no_sense_is_refused(tmp_path, mapping, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        _read(tmp_path, [{"q": "x"}], **mapping)
    assert caught.value.code is Exit.USAGE


def test_rows_without_the_field_are_refused_by_number_and_without_their_text(tmp_path):
    with pytest.raises(UserError, match=r"row 1: it has no text in question") as caught:
        _read(tmp_path, [{"secret": "do not show"}], prompt="question")
    assert "do not show" not in str(caught.value)


def test_a_name_that_no_row_has_is_refused_and_one_that_some_lack_is_not(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"q": "a", "gold": "x"}\n{"q": "b"}\n', "utf-8")
    assert len(list(open_trace(path, mapping={"prompt": "q", "expected": "gold"}).requests())) == 2
    with pytest.raises(UserError, match=r"no row of .* has godl, which the mapping names"):
        list(open_trace(path, mapping={"prompt": "q", "expected": "godl"}).requests())
