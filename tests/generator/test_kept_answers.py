"""Answers that are kept: invalid ones first, no more than asked for, without keys, for the owner alone."""

from __future__ import annotations

import json
import stat
from pathlib import Path

from tokenswarm.analysis.read.answers_file import kept_answers, visible

from tokenswarm.client.answer import Answer
from tokenswarm.contract.tables import ANSWERS_JSONL
from tokenswarm.generator.kept_answers import KEPT_CHARS, KeptAnswers
from tokenswarm.generator.sinks import Buffer, FileSink


def row(number: int, valid: bool | None, phase: str = "measure", finish: str = "stop") -> dict:
    return {
        "request_id": f"r{number}",
        "user_class": "U",
        "document": "flat",
        "finish_reason": finish,
        "valid_output": valid,
        "completion_tokens": 3,
        "phase": phase,
    }


def kept(*rows: dict, most: int = 3, text: str = "words") -> list[str]:
    answers = KeptAnswers(most)
    for each in rows:
        answers.add(each, Answer(text=text), ("a-secret-key-0123",))
    return [json.loads(line)["request_id"] for line in answers.lines()]


def test_invalid_answers_come_first_and_others_take_the_places_that_are_left() -> None:
    assert kept(row(1, True), row(2, None), row(3, False), row(4, True)) == ["r3", "r1", "r2"]
    assert kept(*(row(number, False) for number in range(9))) == ["r0", "r1", "r2"]


def test_invalid_answers_that_were_cut_by_length_come_behind_those_that_ended_by_themselves() -> None:
    rows = (row(1, True), row(2, False, finish="length"), row(3, False, finish="length"), row(4, False))
    assert kept(*rows) == ["r4", "r2", "r3"] and kept(*rows, most=1) == ["r4"]


def test_nothing_is_kept_of_a_warm_up_of_failures_or_where_nobody_asked() -> None:
    assert kept(row(1, False, "warmup")) == [] and kept(row(1, False), most=0) == []
    answers = KeptAnswers(3)
    answers.add(row(1, False), Answer(status="failed", error="truncated", text="half"), ())
    assert answers.lines() == []


def test_keys_are_masked_and_long_texts_are_cut() -> None:
    answers = KeptAnswers(3)
    answers.add(row(1, False), Answer(text="it is a-secret-key-0123"), ("a-secret-key-0123",))
    answers.add(row(2, False), Answer(text="x" * (KEPT_CHARS + 1)), ())
    first, second = map(json.loads, answers.lines())
    assert "secret-key" not in first["text"] and second["cut"] and len(second["text"]) == KEPT_CHARS


def test_an_invalid_answer_says_why_without_keys_and_others_are_not_asked() -> None:
    answers, asked = KeptAnswers(1), []

    def why() -> str:
        asked.append(1)
        return "'a-secret-key-0123' is too long"

    for valid in (True, False, False):
        answers.add(row(1, valid), Answer(text="x"), ("a-secret-key-0123",), why)
    assert len(asked) == 1
    (line,) = map(json.loads, answers.lines())
    assert line["why"].endswith("is too long") and "secret-key" not in line["why"]


def test_the_file_is_for_its_owner_alone_and_comes_back_invalid_ones_first(tmp_path: Path) -> None:
    sink = FileSink(tmp_path)
    buffer = Buffer(sink)
    for valid in (True, False):
        answers = KeptAnswers(3)
        answers.add(row(int(valid), valid), Answer(text="two\nlines"), ())
        for line in answers.lines():
            buffer.add(ANSWERS_JSONL, line)
        buffer.flush()
    sink.close()
    assert stat.S_IMODE((tmp_path / ANSWERS_JSONL).stat().st_mode) == 0o600
    with (tmp_path / ANSWERS_JSONL).open("a") as file:
        file.write('{"torn')
    found = kept_answers(tmp_path, 5)
    assert [(each.request_id, each.valid, each.text) for each in found] == [
        ("r0", False, "two\nlines"),
        ("r1", True, "two\nlines"),
    ]
    assert kept_answers(tmp_path / "none", 5) == []


def test_the_reason_comes_back_and_an_older_file_has_none(tmp_path: Path) -> None:
    line = {"request_id": "r", "valid_output": False, "text": "x"}
    (tmp_path / ANSWERS_JSONL).write_text(json.dumps(line | {"why": "no JSON"}) + "\n" + json.dumps(line) + "\n")
    assert [each.why for each in kept_answers(tmp_path, 5)] == ["no JSON", ""]


def test_a_run_that_keeps_nothing_has_no_such_file(tmp_path: Path) -> None:
    sink = FileSink(tmp_path)
    Buffer(sink).flush()
    sink.close()
    assert not (tmp_path / ANSWERS_JSONL).exists()


def test_what_makes_a_text_no_json_is_seen_on_the_page() -> None:
    assert visible('"on\x07 \x12\x7f"\n\tand') == '"on\u2407 \u2412\u2421"\n\tand'
