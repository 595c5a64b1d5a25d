"""No key or password in anything written or shown, whatever a server sends."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.files import replace_whole
from tokenswarm.base.masking import MASK, hidden, masked, shown_url, usable_key

KEY = 'sk-PLANTED-9f8e"7d\\6c5b4a'


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "said",
    [
        KEY,
        KEY.upper(),
        KEY.lower(),
        json.dumps(KEY),
        quote(KEY, safe=""),
        KEY.encode().hex(),
        b64(KEY),
        b64("Bearer " + KEY),
        b64("a:" + KEY + ":b"),
        base64.urlsafe_b64encode(b"xy" + KEY.encode()).decode(),
    ],
)
def test_a_whole_key_is_hidden_in_each_usual_encoding(said: str) -> None:
    for hide in (hidden(f"before {said} after", [KEY]), masked(f"before {said} after", KEY)):
        assert hide.startswith("before ") and hide.endswith(" after") and MASK in hide
        assert not any(KEY[at : at + 8].lower() in hide.lower() for at in range(len(KEY) - 7))


@pytest.mark.parametrize(
    "said", [KEY[:10], KEY[5:15], KEY[-8:], KEY[:12] + "\n" + KEY[12:], KEY[:12].upper(), b64(KEY)[2:14]]
)
def test_of_a_servers_text_each_run_of_eight_characters_goes(said: str) -> None:
    assert MASK in masked(f"x {said} y", KEY)
    assert all(KEY[at : at + 8].lower() not in masked(f"x {said} y", KEY).lower() for at in range(len(KEY) - 7))


def test_the_beginning_of_a_key_at_a_cut_end_goes_too() -> None:
    assert masked("the key sk-PLA", KEY) == f"the key {MASK}"


@pytest.mark.parametrize("text", ["", "no key here", "sk-PLAN only seven", "planted trees"])
def test_other_text_is_left_as_it_is(text: str) -> None:
    assert masked(text, KEY) == text == hidden(text, [KEY]) == masked(text, None)


@given(
    st.text(min_size=8, max_size=40, alphabet=st.characters(min_codepoint=33, max_codepoint=126)),
    st.text(),
    st.text(),
    st.integers(0, 40),
    st.integers(8, 40),
)
def test_no_eight_characters_of_any_key_are_left_of_any_text(
    key: str, before: str, after: str, start: int, length: int
) -> None:
    piece = key[start : start + length]
    shown = masked(before + piece + after, key)
    if len(piece) >= 8 and MASK not in key:
        assert piece not in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://u:hunter2@host:1/v1", "http://***@host:1/v1"),
        ("ftp://u:hunter2@h", "ftp://***@h"),
        ("see postgresql+x://u:hunter2@h/db and a@b", "see postgresql+x://***@h/db and a@b"),
        ("a@b.c", "a@b.c"),
    ],
)
def test_a_password_in_a_url_is_hidden_whatever_the_scheme(text: str, shown: str) -> None:
    assert hidden(text, []) == shown


@pytest.mark.parametrize("url", ["http://u:hunter2@h:1", "u:hunter2@h:1", "ftp://u:hun/ter2@h", "x://u:hunter2@@h"])
def test_what_was_given_for_a_url_is_shown_without_what_stands_before_its_host(url: str) -> None:
    assert shown_url(url).endswith(f"{MASK}@h:1" if url.endswith("1") else f"{MASK}@h") and "hun" not in shown_url(url)


def test_a_file_and_the_terminal_never_hold_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", KEY)
    replace_whole(tmp_path / "f", f"model {KEY} at http://u:hunter2@h \udcff")
    assert (tmp_path / "f").read_text() == f"model {MASK} at http://{MASK}@h ?"


@pytest.mark.parametrize("raw", ["short", "1234567", "with a blank in it", "with\nline end", "ключ-ключ-ключ"])
def test_a_key_that_cannot_be_kept_or_sent_is_refused_without_showing_it(raw: str) -> None:
    with pytest.raises(UserError) as caught:
        usable_key(raw)
    assert caught.value.code is Exit.AUTH and raw not in str(caught.value)


def test_white_space_around_a_key_is_no_part_of_it() -> None:
    assert (usable_key(" 12345678\n"), usable_key(" "), usable_key(None)) == ("12345678", None, None)
