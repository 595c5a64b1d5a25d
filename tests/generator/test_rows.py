"""From an answer to a line of requests.csv, and back."""

from __future__ import annotations

import csv
import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tokenswarm.client.answer import Answer, Usage
from tokenswarm.contract.tables import (
    ERROR_KINDS,
    REQUEST_COLUMNS,
    clean_text,
    format_rows,
    header,
    names,
)
from tokenswarm.generator.rows import Origin, quantile, request_row
from tokenswarm.workloads.base import Prompt

ORIGIN = Origin("run-1", 2, "measure", "RagReader", "run-1-2-7")
PROMPT = Prompt([{"role": "user", "content": "hello"}], "measure-000001", 3, 2, document="doc-1")
STREAMED = Answer(
    http_status=200,
    finish_reason="stop",
    text="abc",
    sent_at=1_795_000_000.123456,
    connect_ms=0.25,
    headers_ms=1.5,
    ttft_ms=10.0,
    ttft_uncertainty_ms=0.0,
    ttfo_ms=10.0,
    last_token_ms=40.0,
    e2e_ms=40.0,
    token_gaps_ms=[20.0, 5.0, 5.0],
    chunks=4,
    usage=Usage(22, 16, 9, None),
)


def line_of(answer: Answer, prompt: Prompt = PROMPT, origin: Origin = ORIGIN) -> dict[str, str]:
    """The row as it stands in the file: every cell as text."""
    text = header(REQUEST_COLUMNS) + format_rows(REQUEST_COLUMNS, [request_row(origin, prompt, answer)])
    assert text.count("\n") == 2
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 1
    assert None not in rows[0]
    return rows[0]


def measured(answer: Answer, prompt: Prompt = PROMPT) -> dict[str, str]:
    """Only the cells that are not empty."""
    return {name: cell for name, cell in line_of(answer, prompt).items() if cell}


def test_a_row_has_every_column_of_the_schema_and_no_other() -> None:
    assert set(request_row(ORIGIN, PROMPT, STREAMED)) == set(names(REQUEST_COLUMNS))


def test_a_streamed_answer_fills_the_columns_of_its_row() -> None:
    row = line_of(STREAMED)
    assert (row["worker"], row["turn"], row["prompt_chars"], row["shared_prefix_chars"]) == ("2", "3", "5", "2")
    assert (row["sent_at"], row["ttft_ms"], row["e2e_ms"]) == ("1795000000.123456", "10.000", "40.000")
    assert (row["icl_p50_ms"], row["icl_p99_ms"], row["icl_max_ms"]) == ("5.000", "19.700", "20.000")
    assert (row["completion_tokens"], row["token_source"], row["chunks"]) == ("9", "usage", "4")
    assert (row["status"], row["error"], row["error_detail"], row["valid_output"]) == ("ok", "", "", "")


def test_zero_is_written_and_not_measured_is_empty() -> None:
    row = line_of(STREAMED)
    assert row["ttft_uncertainty_ms"] == "0.000"  # measured, and zero
    assert (row["reasoning_tokens"], row["scheduled_at"], row["lateness_ms"]) == ("", "", "")
    assert line_of(Answer(usage=Usage(cached_tokens=0)))["cached_tokens"] == "0"
    assert line_of(Answer())["cached_tokens"] == ""


def test_a_request_that_never_got_an_answer_has_no_measurements() -> None:
    answer = Answer(sent_at=5.0)
    answer.fail("connect_refused", "nobody there")
    row = measured(answer)
    assert not {name for name in row if name.endswith("_ms") or name.endswith("tokens") or name == "chunks"}
    assert (row["status"], row["error"], row["error_detail"]) == ("failed", "connect_refused", "nobody there")
    assert "http_status" not in row


def test_an_answer_of_one_token_has_no_gaps() -> None:
    answer = Answer(ttft_ms=10.0, last_token_ms=10.0, e2e_ms=10.0, chunks=1, usage=Usage(1, None, 1))
    assert not {name for name in measured(answer) if name.startswith("icl")}


def test_a_failure_after_the_first_token_keeps_what_was_measured() -> None:
    answer = Answer(http_status=200, ttft_ms=10.0, last_token_ms=12.0, e2e_ms=12.0, token_gaps_ms=[2.0], chunks=2)
    answer.fail("reset_mid_stream", "reset")
    row = measured(answer)
    assert (row["ttft_ms"], row["chunks"]) == ("10.000", "2")
    assert (row["completion_tokens"], row["token_source"]) == ("2", "chunks")


def test_the_first_cause_of_a_failure_stands() -> None:
    answer = Answer()
    answer.fail("engine_error", "first")
    answer.fail("reset_mid_stream", "second")
    assert (answer.error, answer.error_detail) == ("engine_error", "first")


def test_lateness_is_sent_minus_scheduled() -> None:
    origin = Origin("run-1", 0, "measure", "RagReader", "r", scheduled_at=STREAMED.sent_at - 0.002)
    row = line_of(STREAMED, origin=origin)
    assert float(row["lateness_ms"]) == pytest.approx(2.0, abs=0.001)
    assert row["scheduled_at"] == "1795000000.121456"


@pytest.mark.parametrize(
    ("check", "answer", "cell"),
    [
        (None, STREAMED, ""),
        (lambda text: text == "abc", STREAMED, "true"),
        (lambda text: False, STREAMED, "false"),
        (lambda text: text[99], STREAMED, "false"),
        (lambda text: True, Answer(status="failed", error="truncated"), ""),
        (lambda text: True, Answer(status="cancelled"), ""),
    ],
)
def test_the_scenarios_own_check_applies_to_successes_only(check: object, answer: Answer, cell: str) -> None:
    prompt = Prompt(PROMPT.messages, "c", 1, 0, check=check)
    assert line_of(answer, prompt)["valid_output"] == cell


# ---- hostile text


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1+1", "\r=1", "\n=1", " =1", "\x00=1", "\ufeff=1", "\u200b=1"]
)
def test_no_cell_can_be_taken_for_a_formula(text: str) -> None:
    answer = Answer(status="failed", error="engine_error", error_detail=text, finish_reason=text)
    row = line_of(answer)
    assert row["error_detail"].startswith("'")
    assert row["finish_reason"].startswith("'")


HOSTILE = 'a,b;"c"\r\nd\ne\rf\x00g\x1b[31mh\u2028i\x85j\ud800k\ufeffl'


def test_line_breaks_quotes_and_control_characters_stay_in_their_cell() -> None:
    detail = line_of(Answer(status="failed", error="engine_error", error_detail=HOSTILE))["error_detail"]
    assert detail == 'a,b;"c" d e f g [31mh i j k l'
    assert detail.isprintable()


def test_a_long_detail_is_shortened() -> None:
    detail = line_of(Answer(status="failed", error="engine_error", error_detail="x" * 10_000_000))["error_detail"]
    assert 100 <= len(detail) <= 301


@settings(derandomize=True, deadline=None, database=None, max_examples=examples(100))
@given(st.text(max_size=40))
def test_any_text_is_one_clean_line(text: str) -> None:
    clean = clean_text(text)
    assert clean.isprintable()
    assert clean[:1] not in ("=", "+", "-", "@")
    assert clean_text(clean) == clean
    assert line_of(Answer(status="failed", error="engine_error", error_detail=text))["error_detail"] == clean


# ---- quantiles


@settings(derandomize=True, deadline=None, database=None, max_examples=examples(100))
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=40), st.floats(0, 1))
def test_quantiles_are_those_of_numpy(values: list[float], share: float) -> None:
    assert quantile(sorted(values), share) == pytest.approx(np.quantile(values, share), rel=1e-9, abs=1e-9)


# ---- back from the file


def test_the_file_reads_back_to_the_same_values_with_csv_and_pandas(tmp_path) -> None:
    failed = Answer(sent_at=7.0, http_status=503)
    failed.fail("overloaded", '=cmd|"/c calc"!A1, busy\n')
    answers = [STREAMED, failed, Answer(status="cancelled", sent_at=8.0, ttft_ms=1.25)]
    rows = [request_row(ORIGIN, PROMPT, answer) for answer in answers]
    path = tmp_path / "requests.csv"
    path.write_text(header(REQUEST_COLUMNS) + format_rows(REQUEST_COLUMNS, rows), encoding="utf-8")

    frame = pd.read_csv(path, keep_default_na=False, na_values=[""])
    with path.open(newline="", encoding="utf-8") as file:
        cells = list(csv.DictReader(file))
    assert len(frame) == len(cells) == 3
    for index, row in enumerate(rows):
        for column in REQUEST_COLUMNS:
            value, cell, entry = row[column.name], cells[index][column.name], frame[column.name][index]
            if value is None or value == "":
                assert cell == ""
                assert pd.isna(entry)
            elif column.kind == "text":
                assert cell == entry == clean_text(value)
            elif column.kind == "bool":
                assert (cell, bool(entry)) == (str(value).lower(), value)
            else:
                assert float(cell) == entry == pytest.approx(value, rel=0, abs=1e-3 if column.kind == "ms" else 1e-6)


def test_every_error_kind_has_a_meaning() -> None:
    assert all(kind.isidentifier() and meaning for kind, meaning in ERROR_KINDS.items())
