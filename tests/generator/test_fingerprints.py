"""Rows of prompts.csv: what they reveal about a prompt, and what they do not."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise
from pathlib import Path

import pytest
from tokenswarm.analysis.read.prompts import RecordedPrompts, read_prompts

from tokenswarm.client.answer import Answer
from tokenswarm.contract import tables as schema
from tokenswarm.contract.pieces import piece_ends
from tokenswarm.generator.fingerprints import Fingerprints, fresh_key
from tokenswarm.workloads.base import chars_of

KEY = b"0123456789abcdef"
SECRET = "the password is swordfish"


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def told(
    tmp_path: Path, requests: list[tuple[list[dict], Answer]], hashes: Fingerprints | None = None
) -> RecordedPrompts:
    """What a reader finds of these requests."""
    hashes = hashes or Fingerprints(KEY)
    path = tmp_path / schema.PROMPTS_CSV
    lines = [hashes.row(0, number, *request) for number, request in enumerate(requests)]
    path.write_text(schema.header(schema.PROMPT_COLUMNS) + "".join(lines))
    found = read_prompts(path)
    assert found is not None and found.damaged == 0
    return found


def messages_of(prompts: RecordedPrompts, request: int) -> list[int]:
    return prompts.sequence[prompts.starts[request] : prompts.starts[request + 1]].tolist()


def common_pieces(prompts: RecordedPrompts, one: int, other: int) -> int:
    parts = prompts.messages
    pieces = [parts.pieces[parts.piece_starts[m] : parts.piece_starts[m + 1]].tolist() for m in (one, other)]
    return next((i for i, (a, b) in enumerate(zip(*pieces, strict=False)) if a != b), min(map(len, pieces)))


def test_the_same_message_is_told_once_and_known_again(tmp_path: Path) -> None:
    found = told(tmp_path, [([user("hello"), user("a")], Answer()), ([user("hello"), user("b")], Answer())])
    assert messages_of(found, 0)[0] == messages_of(found, 1)[0]
    assert len(found.messages.chars) == 3
    assert found.messages.chars[messages_of(found, 0)[0]] == 5


def test_a_role_is_part_of_a_message(tmp_path: Path) -> None:
    found = told(tmp_path, [([user("hello")], Answer()), ([{"role": "system", "content": "hello"}], Answer())])
    assert messages_of(found, 0) != messages_of(found, 1)
    assert common_pieces(found, *messages_of(found, 0), *messages_of(found, 1)) == 0


def test_messages_that_begin_alike_have_the_same_first_pieces(tmp_path: Path) -> None:
    text = "x" * 5000
    found = told(tmp_path, [([user(text[:3000] + "A" * 500)], Answer()), ([user(text[:3000] + "B" * 900)], Answer())])
    common = common_pieces(found, *messages_of(found, 0), *messages_of(found, 1))
    assert piece_ends(3500)[common - 1] <= 3000 < piece_ends(3500)[common]


def test_letters_beyond_ascii_in_the_rest_do_not_change_the_beginning(tmp_path: Path) -> None:
    found = told(tmp_path, [([user("y" * 64 + "plain")], Answer()), ([user("y" * 64 + "é😀\ud800")], Answer())])
    assert common_pieces(found, *messages_of(found, 0), *messages_of(found, 1)) == 3  # 16, 32, 64 characters


def test_an_answer_that_comes_back_is_known(tmp_path: Path) -> None:
    said = Answer(text="forty-two")
    history = [user("how many?"), {"role": "assistant", "content": "forty-two"}, user("why?")]
    found = told(tmp_path, [(history[:1], said), (history, Answer())])
    assert found.answers.tolist() == [messages_of(found, 1)[1], -1]
    assert found.messages.assistant[found.answers[0]]


@pytest.mark.parametrize(
    "answer", [Answer(text="yes", reasoning="hm"), Answer(text=""), Answer(status="failed", text="half an ans")]
)
def test_an_answer_that_no_prompt_goes_on_from_is_not_told(tmp_path: Path, answer: Answer) -> None:
    assert told(tmp_path, [([user("q")], answer)]).answers.tolist() == [-1]


@pytest.mark.parametrize(
    "content", [None, "", [{"type": "text", "text": "hi"}], {"odd": object}, 7, "\ud800", 'a\nb,c"']
)
def test_any_content_makes_one_row(tmp_path: Path, content: object) -> None:
    found = told(tmp_path, [([{"role": "user", "content": content}], Answer())])
    assert len(found) == 1
    assert found.messages.chars.tolist() == [chars_of([{"role": "user", "content": content}])]  # type: ignore[list-item]


def test_what_else_a_message_carries_is_part_of_it(tmp_path: Path) -> None:
    named = {"role": "user", "content": "hi", "name": "ann"}
    found = told(tmp_path, [([user("hi")], Answer()), ([named], Answer()), ([named | {"name": "bob"}], Answer())])
    assert len({messages_of(found, i)[0] for i in range(3)}) == 3


def test_no_text_and_no_key_is_in_a_row() -> None:
    row = Fingerprints(KEY).row(0, 1, [user(SECRET)], Answer(text=SECRET))
    assert "swordfish" not in row and KEY.decode() not in row


def test_another_key_makes_other_hashes() -> None:
    rows = {Fingerprints(fresh_key()).row(0, 1, [user(SECRET)], Answer()) for _ in range(3)}
    assert len(rows) == 3


def test_no_cell_begins_as_a_formula_does() -> None:
    hashes = Fingerprints(KEY)
    for number in range(500):
        cells = hashes.row(0, number, [user(f"{number}")], Answer(text=f"{number}!")).rstrip("\n").split(",")
        assert all(cell == schema.clean_text(cell) for cell in cells)


def test_a_message_that_was_forgotten_is_told_again(tmp_path: Path) -> None:
    asked = [([user(text)], Answer()) for text in ("a", "b", "c", "a", "a")]
    hashes = Fingerprints(KEY, remembered=2)
    assert [hashes.row(0, i, *request).split(",")[4] != "" for i, request in enumerate(asked)] == [
        True,
        True,
        True,
        True,
        False,
    ]
    found = told(tmp_path, asked, Fingerprints(KEY, remembered=2))
    assert messages_of(found, 0) == messages_of(found, 3) == messages_of(found, 4)


def test_memory_stays_flat() -> None:
    hashes = Fingerprints(KEY)
    tracemalloc.start()
    try:
        for number in range(10_000):
            hashes.row(0, number, [user(f"{number} question")], Answer())
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1_000_000


def test_pieces_end_with_the_message() -> None:
    assert piece_ends(0) == (0,)
    assert piece_ends(16) == (16,)
    assert piece_ends(17) == (16, 17)
    ends = piece_ends(40_000)
    assert ends[-1] == 40_000
    assert all(b - a <= max(256, a / 16) for a, b in pairwise(ends))
