"""Which part of a measured phase is stationary, and the sentence about it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from tokenswarm.analysis.figures.truncation import (
    CUT,
    NO_STATIONARY_PART,
    STATIONARY,
    TOO_SHORT,
    Series,
    truncate,
)
from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.render.markdown import markdown
from tokenswarm.analysis.render.page import head, steady_rows
from tokenswarm.analysis.render.terminal_summary import summary_table
from tokenswarm.analysis.summary import summarise

from tests.analysis.figures.test_keeping_up import host_row
from tests.analysis.make_run import START, manifest, row, write_run


def noise(blocks: int = 40, spread: float = 0.05) -> np.ndarray:
    return np.random.default_rng(2).normal(0.0, spread, blocks)


def test_a_step_is_cut_where_it_is() -> None:
    found = truncate({"ttft": Series(noise() + (np.arange(40) < 10))})
    assert (found.state, found.share, found.because) == (CUT, pytest.approx(0.25), ("ttft",))


def test_the_cut_is_where_the_last_of_several_series_came_to_rest() -> None:
    found = truncate({"ttft": Series(noise() + (np.arange(40) < 10)), "hits": Series(noise() - (np.arange(40) < 20))})
    assert (found.state, found.share, found.because) == (CUT, pytest.approx(0.5), ("ttft", "hits"))


def test_noise_and_what_never_changes_are_stationary() -> None:
    assert truncate({"ttft": Series(noise())}).state == STATIONARY
    assert truncate({"ttft": Series(np.full(40, 3.0))}).state == STATIONARY


def test_a_trend_to_the_end_leaves_no_stationary_part() -> None:
    assert truncate({"ttft": Series(noise() + np.linspace(0, 1, 40))}).state == NO_STATIONARY_PART


def test_a_change_that_matters_to_nobody_is_not_cut() -> None:
    small = noise(spread=0.001) + 0.03 * (np.arange(40) < 10)
    assert truncate({"ttft": Series(small)}).state == STATIONARY
    assert truncate({"ttft": Series(small, least_change=0.01)}).state == CUT


def test_few_blocks_say_nothing() -> None:
    assert truncate({"ttft": Series(noise(15))}).state == TOO_SHORT
    assert truncate({}).state == TOO_SHORT


def summary_of(tmp_path: Path, ttft_ms: np.ndarray, **load):
    at = np.linspace(0, 60, len(ttft_ms), endpoint=False)
    rows = [
        row(sent_at=START + moment, ttft_ms=ttft, ttfo_ms=ttft, request_id=f"r{number}")
        for number, (moment, ttft) in enumerate(zip(at, ttft_ms, strict=True))
    ]
    described = manifest(seconds=60.0)
    described["load"] |= load
    return summarise(read_run(write_run(tmp_path, rows, described)))


def settling(n: int = 600) -> np.ndarray:
    ttft = np.random.default_rng(4).lognormal(3.0, 0.1, n)
    return np.where(np.arange(n) < n * 0.3, 6.0 * ttft, ttft)


def test_the_sentence_says_from_when_on_and_gives_both_figures(tmp_path: Path) -> None:
    summary = summary_of(tmp_path, settling())
    part = summary.steady_part
    assert (part.state, part.from_s) == ("cut", pytest.approx(18.0, abs=1.6))
    assert "ttft_ms" in part.because
    assert part.sentence.startswith("TTFT p95 fell from 14")
    assert f"within the measured phase; from t={part.from_s:.0f} s on: 2" in part.sentence
    assert "(whole phase: 1" in part.sentence
    assert part.latency["ttft_ms"]["p95"].value < 30 < summary.latency["ttft_ms"]["p95"].value


def test_page_and_markdown_say_it_too(tmp_path: Path) -> None:
    summary = summary_of(tmp_path, settling())
    assert summary.steady_part.sentence in head(summary)["remarks"]
    assert steady_rows(summary)[0]["name"] == "TTFT"
    assert "TTFT p95 fell from" in markdown(summary)


def test_a_run_that_never_came_to_rest_is_told_so(tmp_path: Path) -> None:
    ttft = np.random.default_rng(4).lognormal(3.0, 0.1, 600) * np.linspace(1, 5, 600)
    part = summary_of(tmp_path, ttft).steady_part
    assert part.state == "no stationary part"
    assert "TTFT p95 rose from" in part.sentence
    assert "no part of it is stationary" in part.sentence
    assert part.latency == {}


def test_where_the_load_changed_nothing_is_called_transient(tmp_path: Path) -> None:
    part = summary_of(tmp_path, settling(), users_steps=[8, 16], duration_s=60.0).steady_part
    assert (part.state, part.sentence) == ("the load changed", None)


def test_a_filling_cache_is_told_by_its_hit_rate(tmp_path: Path) -> None:
    rows = [
        row(sent_at=START + n / 10, cached_tokens=100 if n < 200 else 800, ttft_ms=100.0 + n % 7, request_id=f"r{n}")
        for n in range(600)
    ]
    part = summarise(read_run(write_run(tmp_path, rows, manifest(seconds=60.0)))).steady_part
    assert "hit_rate" in part.because
    assert part.sentence.startswith("The hit rate rose from 10.0% to 80.0%")


def steady(requests: int, tokens: Callable[[float], int] = lambda _: 50) -> list[dict]:
    """Of users who asked before the measured phase too, so that its throughput is there from the beginning."""
    ttft_ms, at = np.random.default_rng(4).lognormal(3.0, 0.1, requests), np.linspace(-5, 60, requests, endpoint=False)
    return [
        row(
            sent_at=START + moment,
            phase="warmup" if moment < 0 else "measure",
            ttft_ms=ttft,
            ttfo_ms=ttft,
            completion_tokens=tokens(moment),
            request_id=f"r{number}",
        )
        for number, (moment, ttft) in enumerate(zip(at, ttft_ms, strict=True))
    ]


def test_throughput_that_rose_is_told_of_throughput_and_not_of_latency(tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    rows = steady(650, lambda at: int(draw.poisson(20 if at < 20 else 60)))
    part = summarise(read_run(write_run(tmp_path, rows, manifest(seconds=60.0)))).steady_part
    assert part.because == ["output_tok_s"]
    assert part.sentence.startswith("Output tokens/s rose from 2")
    assert f"within the measured phase; from t={part.from_s:.0f} s on: 6" in part.sentence


@pytest.mark.parametrize(
    ("requests", "words"),
    [
        (65, "cannot be told from its 60 requests that succeeded; it takes 128"),
        (650, "600 requests cannot show each: a start that was up to three times as slow may go unnoticed"),
        (1625, "1,500 requests cannot show each: a start that was 1.5 times as slow may go unnoticed"),
        (3250, None),
    ],
)
def test_a_run_that_is_too_short_for_the_promise_says_so(tmp_path: Path, requests: int, words: str | None) -> None:
    summary = summarise(read_run(write_run(tmp_path, steady(requests), manifest(seconds=60.0), host=[host_row()])))
    part = summary.steady_part
    assert (part.state, part.sentence) == ("too short" if requests < 128 else "stationary", None)
    remarks = [remark for remark in head(summary)["remarks"] if "unnoticed" in remark or "cannot be told" in remark]
    assert remarks == ([] if words is None else [part.reach])
    terminal = Console(width=100, file=io.StringIO())
    terminal.print(summary_table(summary))
    for shown in (" ".join(terminal.file.getvalue().split()), markdown(summary).replace("\\", "")):
        assert words in shown if words else "unnoticed" not in shown
    assert words is None or words in part.reach
