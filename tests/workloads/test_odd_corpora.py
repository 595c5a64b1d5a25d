"""Files of any content as a corpus: text, or one sentence."""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.workloads.corpus import load_corpus

LONG = ("The quick report about the system. " * 3000).encode()
LINES = st.lists(
    st.sampled_from(
        [
            b'{"text": "a b c"}',
            b'{"text": null}',
            b'{"text": 1}',
            b"[1]",
            b"{",
            b"",
            b"[" * 5000,
            b'{"text": "\\ud800"}',
            b"\xff",
        ]
    ),
    max_size=5,
).map(b"\n".join)
CONTENT = (
    st.binary(max_size=40)
    | LINES
    | st.sampled_from(
        [
            b"",
            LONG,
            LONG.decode().encode("utf-16"),
            LONG.decode().encode("utf-16-le"),
            b"\xef\xbb\xbf" + LONG,
            b"\x00" * 99,
            gzip.compress(LONG),
            gzip.compress(LONG)[:-9],
            gzip.compress(json.dumps({"text": LONG.decode()}).encode()),
        ]
    )
)
NAMES = st.sampled_from(["a.txt", "b.md", "c.jsonl", "d.txt.gz", "e.jsonl.gz", "._a.txt", "__MACOSX/a.txt", "f.bin"])


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(NAMES, CONTENT, max_size=4))
def test_a_corpus_of_any_files_is_text_or_a_sentence(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as under:
        for name, content in files.items():
            path = Path(under) / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        try:
            text = load_corpus(under).text
        except UserError as error:
            assert error.code is Exit.CORPUS and "\n" not in str(error)
            return
        text.encode("utf-8")
        assert "\x00" not in text


@pytest.mark.parametrize("path", ["x" * 5000, "/dev/null", "~nobody-here/corpus", "\x00"])
def test_what_is_no_path_is_refused_in_a_sentence(path: str) -> None:
    with pytest.raises(UserError) as caught:
        load_corpus(path)
    assert caught.value.code is Exit.CORPUS
