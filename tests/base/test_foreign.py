"""Any JSON from a server becomes plain values of bounded depth and size, or one sentence."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenswarm.base.foreign import MAX_DEPTH, MAX_TEXT_CHARS, NotJson, decode, printable

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b"[" * 60 + b"]" * 60,
        b"\xff\xfe",
        b'{"a": }',
        json.dumps([0] * 200_000).encode(),
    ],
)
def test_what_is_no_json_or_too_deep_or_too_large_is_refused_in_a_sentence(body: bytes) -> None:
    with pytest.raises(NotJson):
        decode(body)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": 1e999, "b": -1e999, "c": NaN}', {"a": None, "b": None, "c": None}),
        (b"1" + b"0" * 30, None),
        (b"[" + b"9" * 6000 + b"]", [None]),
        (b'"\\ud800\\u001b[31mred\\u202e"', "  [31mred "),
        (b'{"a\\u0007": true}', {"a ": True}),
        ('"' + "x" * 20_000 + '"', "x" * MAX_TEXT_CHARS),
    ],
)
def test_numbers_are_finite_and_texts_can_be_shown(body: bytes, value: object) -> None:
    assert decode(body) == value


def depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(depth, inner), default=0)


@given(JSON)
def test_any_json_becomes_plain_values_that_can_be_written_and_shown(value: Any) -> None:
    try:
        got = decode(json.dumps(value))
    except NotJson:
        assert depth(value) > MAX_DEPTH
        return
    written = json.dumps(got, allow_nan=False, ensure_ascii=False).encode("utf-8")
    assert json.loads(written) == got
    assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in json.dumps(got, ensure_ascii=False))


@given(st.text())
def test_a_printable_text_is_cut_and_has_no_control_characters(text: str) -> None:
    shown = printable(text, 10)
    assert len(shown) <= 13 and not any(unicodedata.category(c) in ("Cc", "Cs") for c in shown)
