"""The corpus: where its text comes from, how excerpts are cut, and what is refused."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from pathlib import Path
from random import Random

import pytest
import zstandard

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.workloads.corpus import MIN_CHARS, Corpus, corpus_of, load_corpus
from tokenswarm.workloads.text_files import is_text_file, read_text

PROSE = "\n\n".join(
    f"Paragraph {i} begins here. It has a second sentence, number {i}! And a third?" for i in range(200)
)


def refused(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_corpus(path)
    assert caught.value.code == Exit.CORPUS
    return str(caught.value)


def test_the_default_corpus_is_hundreds_of_kilobytes_of_english(corpus: Corpus):
    assert corpus.size_bytes > 300_000
    assert corpus.text.count(" the ") > 2_000


def test_identity_is_that_of_the_text(corpus: Corpus):
    assert corpus.identity() == {
        "name": "pydoc_data.topics",
        "bytes": len(corpus.text.encode()),
        "sha256": hashlib.sha256(corpus.text.encode()).hexdigest(),
    }


@pytest.mark.parametrize("chars", [1, 40, 1000, 12_000])
def test_an_excerpt_has_about_the_length_asked(corpus: Corpus, chars: int):
    rng = Random(3)
    for _ in range(200):
        assert 0.9 * chars - 10 <= len(corpus.take(rng, chars)) <= chars + 100


def test_an_excerpt_begins_at_a_sentence_and_ends_with_a_whole_word():
    prose = corpus_of(PROSE, "prose")
    words = set(PROSE.split())
    rng = Random(4)
    for _ in range(300):
        excerpt = prose.take(rng, 150)
        assert re.match(r"Paragraph \d|It has|And a third\?", excerpt)
        assert set(excerpt.split()) <= words


def test_an_excerpt_longer_than_the_corpus_wraps_around():
    assert len(corpus_of(PROSE, "prose").take(Random(1), 3 * len(PROSE))) == pytest.approx(3 * len(PROSE), rel=0.01)


def test_text_without_any_border_still_gives_excerpts():
    assert len(corpus_of("x" * 5000, "x").take(Random(1), 100)) == 100


def test_excerpts_of_the_corpus_hardly_ever_repeat(corpus: Corpus):
    rng = Random(5)
    assert len({corpus.take(rng, 400) for _ in range(500)}) > 400


def test_a_folder_is_read_recursively_in_sorted_order_whatever_the_file_type(tmp_path: Path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "z.md").write_text("third " * 300)
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + b"first\r\nline " * 200)
    (tmp_path / "b" / "a.jsonl").write_text("\n".join(json.dumps({"text": "second\ud800 " * 100}) for _ in range(3)))
    (tmp_path / "c.csv").write_text("never")
    text = load_corpus(tmp_path).text
    assert text.index("first") < text.index("second") < text.index("third")
    assert "never" not in text and "\r" not in text and "\ufeff" not in text[:1]
    text.encode("utf-8")  # a lone surrogate could not be sent


def test_reading_stops_at_the_limit(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("tokenswarm.workloads.corpus.MAX_CHARS", 5_000)
    for name in ("a.txt", "b.jsonl", "c.txt"):
        line = json.dumps({"text": name * 600}) if name.endswith("jsonl") else name * 600
        (tmp_path / name).write_text(line)
    text = load_corpus(tmp_path).text
    assert "a.txt" in text and "b.jsonl" in text and "c.txt" not in text


def test_a_single_file_will_do(tmp_path: Path):
    (tmp_path / "a.txt").write_text(PROSE)
    assert load_corpus(str(tmp_path / "a.txt")).text == PROSE


def test_a_missing_folder_is_refused_with_what_to_do(tmp_path: Path):
    sentence = refused(tmp_path / "nothing")
    assert "does not exist" in sentence and ".txt, .md or .jsonl" in sentence


def test_a_folder_without_text_files_is_refused(tmp_path: Path):
    (tmp_path / "x.pdf").write_text("x" * 9000)
    assert "has no .txt, .md or .jsonl file" in refused(tmp_path)


def test_too_little_text_is_refused_with_the_numbers(tmp_path: Path):
    (tmp_path / "x.txt").write_text("   \n" * 9000 + "few words")
    assert f"holds 9 characters of text, but needs at least {MIN_CHARS}" in refused(tmp_path)


@pytest.mark.parametrize("line", ['{"txt": "x"}', "not json", '"text"', '{"text": 3}', "[1]"])
def test_a_bad_jsonl_line_is_named(tmp_path: Path, line: str):
    (tmp_path / "x.jsonl").write_text('{"text": "fine"}\n\n' + line + "\n")
    assert "line 3" in refused(tmp_path)


ACCENTS = "\n\n".join(f"Straße {i}, café déjà vu. Überprüfung, naïve façade, number {i}!" for i in range(200))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_text_in_each_encoding_that_says_what_it_is_is_read_as_it_is(tmp_path: Path, encoding: str):
    (tmp_path / "a.txt").write_text(ACCENTS, encoding=encoding)
    assert load_corpus(tmp_path).text == ACCENTS


@pytest.mark.parametrize(
    ("encoding", "says"),
    [("latin-1", "is not UTF-8 (byte 0xdf at position 4)"), ("utf-16-le", "is not UTF-8"), ("cp1252", "is not UTF-8")],
)
def test_text_in_another_encoding_is_refused_with_file_and_position(tmp_path: Path, encoding: str, says: str):
    (tmp_path / "notes.txt").write_text(ACCENTS, encoding=encoding)
    assert says in refused(tmp_path) and "notes.txt" in refused(tmp_path)


def test_the_position_is_that_in_the_file_however_far_on(tmp_path: Path):
    data = ("x" * 70 + "\n") * 30_000 + "é"
    (tmp_path / "a.txt").write_bytes(data.encode() + b"abc\xe9 def")
    assert f"byte 0xe9 at position {len(data.encode()) + 3}" in refused(tmp_path)


def test_plain_english_in_utf_16_without_its_mark_is_refused_too(tmp_path: Path):
    (tmp_path / "a.txt").write_text(PROSE, encoding="utf-16-le")
    assert "holds a NUL at character 1" in refused(tmp_path)


def test_what_macos_puts_into_archives_is_passed_over(tmp_path: Path):
    (tmp_path / "__MACOSX").mkdir()
    for name in ("._a.txt", "._a.jsonl", ".DS_Store", "__MACOSX/b.txt"):
        (tmp_path / name).write_bytes(b"\x00\x05\x16\x07\xff" * 500)
    (tmp_path / "a.txt").write_text(PROSE)
    assert load_corpus(tmp_path).text == PROSE


@pytest.mark.parametrize("name", ["a.txt.gz", "A.TXT.GZ", "b.jsonl.gz"])
def test_compressed_text_is_read(tmp_path: Path, name: str):
    text = PROSE if "jsonl" not in name else json.dumps({"text": PROSE}) + "\n"
    with gzip.open(tmp_path / name, "wt") as file:
        file.write(text)
    assert load_corpus(tmp_path).text == PROSE


def test_a_zstandard_file_is_read_whatever_it_is_called(tmp_path: Path):
    (tmp_path / "a.txt").write_bytes(zstandard.compress(PROSE.encode()))
    (tmp_path / "b.txt.zst").write_bytes(zstandard.compress(PROSE.encode()))
    assert read_text(tmp_path / "a.txt", 10**9) == read_text(tmp_path / "b.txt.zst", 10**9) == PROSE
    assert is_text_file(tmp_path / "b.txt.zst")


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-20], lambda data: data[:30] + b"\0\0\0\0" + data[34:], lambda data: b""]
)
def test_a_damaged_gzip_file_is_refused_by_name(tmp_path: Path, damage):
    (tmp_path / "a.txt.gz").write_bytes(damage(gzip.compress(PROSE.encode())))
    assert "a.txt.gz" in refused(tmp_path) or "holds 0 characters" in refused(tmp_path)
