"""The yardstick of a run folder: figures, verdict and chart, and the reason if it cannot be computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenswarm.analysis.cache.explanation import Allowed, limiting_factor, sentence, steps
from tokenswarm.analysis.cache.token_sizes import fit, refined
from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.render.charts_cache import cache_section
from tokenswarm.analysis.render.terminal_summary import summary_table
from tokenswarm.analysis.summary import summarise

from tests.analysis.cache.cache_cases import Message, assistant, user
from tests.analysis.make_run import START, manifest, row, write_run
from tokenswarm.client.answer import Answer
from tokenswarm.contract import tables as schema
from tokenswarm.contract.summary.cache_records import Yardstick
from tokenswarm.generator.fingerprints import Fingerprints

DOCUMENT = "d" * 4000
QUESTIONS = [f"{'abcdefghij'[i]}?" * 20 for i in range(10)]


def tokens_of(messages: list[Message]) -> int:
    """A token has four characters; a message has four more tokens around it."""
    return sum(len(m["content"]) // 4 + 4 for m in messages)


def write(
    folder: Path, asked: list[list[Message]], cached: list[int | None], *, told: bool = True, **cells: Any
) -> Path:
    """A run that asked these, one a second."""
    hashes = Fingerprints(b"k" * 16)
    rows = [
        row(
            request_id=f"r-0-{i}",
            sent_at=START + i,
            prompt_tokens=tokens_of(messages),
            cached_tokens=c,
            completion_tokens=8,
            **cells,
        )
        for i, (messages, c) in enumerate(zip(asked, cached, strict=True))
    ]
    facts = manifest()
    facts["engine"]["effective"] = {"block_size": 16, "kv_capacity_tokens": 50_000, "prefix_cache": True}
    write_run(folder, rows, facts)
    if told:
        lines = [hashes.row(0, i, messages, Answer(text="y" * 32)) for i, messages in enumerate(asked)]
        (folder / schema.PROMPTS_CSV).write_text(schema.header(schema.PROMPT_COLUMNS) + "".join(lines))
    return folder


def rag(folder: Path, cached: int | None = 992, **more: Any) -> Path:
    """Ten questions about one document; the engine finds `cached` tokens in all but the first."""
    asked = [[user(DOCUMENT), user(question)] for question in QUESTIONS]
    return write(folder, asked, [None if cached is None else 0, *[cached] * 9], **more)


def cache_of(folder: Path) -> dict[str, Any]:
    return summarise(read_run(folder)).cache


def test_a_shared_document_is_what_the_workload_allows(tmp_path: Path) -> None:
    cache = cache_of(rag(tmp_path))
    measured = cache.yardstick
    total = 10 * tokens_of([user(DOCUMENT), user(QUESTIONS[0])])
    assert measured.ideal.value == pytest.approx(9 * 1004 / total, abs=0.005)
    assert measured.blocks.value == pytest.approx(9 * 992 / total, abs=0.01)
    assert measured.capacity.value == measured.blocks.value
    assert measured.engine.value == cache.usage_hit_rate
    assert cache.efficiency.value == pytest.approx(cache.usage_hit_rate / measured.ideal.value)
    assert (measured.requests, measured.requests_lost, measured.blame) == (10, 0, "workload")


def test_an_engine_that_finds_half_is_to_blame(tmp_path: Path) -> None:
    measured = cache_of(rag(tmp_path, cached=496)).yardstick
    assert measured.blame == "engine"
    assert [step.taker for step in measured.steps] == ["workload", "blocks", "memory", "engine"]
    assert sum(step.lost for step in measured.steps) == pytest.approx(1 - measured.engine.value)


def test_a_run_without_the_file_says_that_it_was_not_recorded(tmp_path: Path) -> None:
    cache = cache_of(rag(tmp_path, told=False))
    assert cache.yardstick == Yardstick(recorded=False, why="not recorded: the run has no prompts.csv")
    assert cache.efficiency.value is None and "not recorded" in cache.efficiency.why
    assert cache.hit_rate.value > 0


def test_an_engine_that_tells_nothing_leaves_the_workload(tmp_path: Path) -> None:
    cache = cache_of(rag(tmp_path, cached=None))
    assert cache.yardstick.ideal.value > 0.8
    assert cache.yardstick.engine.value is None and cache.efficiency.value is None
    assert cache.yardstick.blame is None


def test_warm_up_fills_the_cache_but_is_not_counted(tmp_path: Path) -> None:
    folder = rag(tmp_path)
    path = folder / schema.REQUESTS_CSV
    path.write_text(path.read_text().replace(",measure,", ",warmup,", 1))
    measured = cache_of(folder).yardstick
    assert measured.requests == 9
    assert measured.ideal.value == pytest.approx(1004 / tokens_of([user(DOCUMENT), user(QUESTIONS[0])]), abs=0.01)


def test_the_page_says_when_everything_fits_and_only_then(tmp_path: Path) -> None:
    measured = cache_of(rag(tmp_path)).yardstick
    assert measured.fits.startswith("Everything that was sent (about 1,")
    assert "fits into the KV cache (50,000): nothing had to be evicted" in measured.words
    path = tmp_path / "run.json"
    path.write_text(path.read_text().replace("50000", "1024"))
    measured = cache_of(tmp_path).yardstick
    assert measured.fits is None and "fits into" not in measured.words


def test_what_the_engine_refused_is_not_in_its_cache(tmp_path: Path) -> None:
    folder = rag(tmp_path)
    path = folder / schema.REQUESTS_CSV
    head, *lines = path.read_text().splitlines()
    at = {name: i for i, name in enumerate(head.split(","))}
    for i in range(9):  # only the last one is served
        cells = lines[i].split(",")
        cells[at["status"]], cells[at["error"]], cells[at["ttft_ms"]] = "failed", "overloaded", ""
        lines[i] = ",".join(cells)
    path.write_text("\n".join([head, *lines]) + "\n")
    measured = cache_of(folder).yardstick
    assert (measured.requests, measured.ideal.value) == (1, 0.0)


def test_a_growing_chat_is_found_with_its_answers(tmp_path: Path) -> None:
    asked, history = [], []
    for turn in range(4):
        history = [*history, user(f"{turn} " * 50)]
        asked.append(history)
        history = [*history, assistant("y" * 32)]
    cached = [0] + [tokens_of(messages) + 8 for messages in asked[:-1]]
    measured = cache_of(write(tmp_path, asked, cached, e2e_ms=500.0, last_token_ms=500.0)).yardstick
    assert measured.ideal.value == pytest.approx(measured.engine.value, abs=0.05)
    assert measured.ideal_prompts.value < measured.ideal.value


@pytest.mark.parametrize("damage", [b"\xff\xfe rubbish\n" * 3, b"0,1,AAAA"])
def test_a_damaged_file_costs_only_its_lines(tmp_path: Path, damage: bytes) -> None:
    folder = rag(tmp_path)
    with (folder / schema.PROMPTS_CSV).open("ab") as file:
        file.write(damage)
    measured = cache_of(folder).yardstick
    assert measured.requests == 10 and measured.damaged_lines == max(1, damage.count(b"\n"))


def test_rows_without_numbers_are_no_requests_of_ours(tmp_path: Path) -> None:
    folder = rag(tmp_path)
    path = folder / schema.REQUESTS_CSV
    path.write_text(path.read_text().replace("r-0-", "x"))
    assert cache_of(folder).yardstick.recorded is False


def test_the_terminal_and_the_page_say_the_sentence(tmp_path: Path) -> None:
    from rich.console import Console

    summary = summarise(read_run(rag(tmp_path)))
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(summary_table(summary))
    said = summary.cache.yardstick.sentence
    assert said in console.export_text()
    section = cache_section(summary.cache)
    assert said in section.note
    assert [chart.id for chart in section.charts] == ["cache-yardstick", "cache-curve"]
    assert section.charts[0].layout["xaxis"]["title"]["text"] == "% of the prompt tokens"


def test_no_chart_where_nothing_was_recorded(tmp_path: Path) -> None:
    assert cache_section(cache_of(rag(tmp_path, told=False))).charts == []


# ---- verdicts


def allowed(**shares: Any) -> Allowed:
    plain = {
        "ideal": 0.87,
        "at_least": 0.87,
        "at_most": 0.87,
        "computed": 0.87,
        "prompts": 0.87,
        "blocks": 0.85,
        "capacity": 0.61,
        "got": 0.58,
        "block_size": 16,
        "capacity_tokens": 60_000,
    }
    return Allowed(**(plain | shares))


def test_the_sentence_names_each_step() -> None:
    assert sentence(allowed()) == (
        "The workload allows 87.0%, blocks of 16 allow 85.0%, a KV cache of 60,000 tokens "
        "allows 61.0%, the engine got 58.0%."
    )


def test_a_wide_range_of_blocks_is_told() -> None:
    assert "blocks of 16 allow 85.0% (80.0% to 90.0%)" in sentence(allowed(blocks_range=(0.8, 0.9)))


def test_what_is_not_known_is_left_out() -> None:
    assert sentence(allowed(blocks=None, capacity=None)) == "The workload allows 87.0%, the engine got 58.0%."
    assert (
        sentence(allowed(block_size=1, got=None))
        == "The workload allows 87.0%, a KV cache of 60,000 tokens allows 61.0%."
    )


@pytest.mark.parametrize(
    ("shares", "who", "words"),
    [
        ({}, "memory", "evicted"),
        ({"capacity": 0.84, "got": 0.5}, "engine", "engine itself"),
        ({"capacity": 0.84, "got": 0.5, "computed": 0.6}, "engine", "still being computed"),
        ({"capacity": 0.84, "got": 0.5, "prompts": 0.5}, "engine", "answers that came back"),
        ({"blocks": 0.5, "capacity": 0.5, "got": 0.49}, "blocks", "block size"),
        ({"got": 0.86}, "workload", "nearly all"),
        (
            {"ideal": 0.03, "at_most": 0.03, "blocks": 0.02, "capacity": 0.02, "got": 0.0},
            "workload",
            "hardly share beginnings",
        ),
        ({"got": 0.95}, None, "more than these prompts allow"),
        ({"got": None}, None, "does not report"),
        ({"got": 0.0, "cache_is_off": True}, "engine", "off"),
    ],
)
def test_who_is_to_blame(shares: dict[str, Any], who: str | None, words: str) -> None:
    found, reason = limiting_factor(allowed(**shares))
    assert found == who and words in reason


def test_no_step_takes_less_than_nothing() -> None:
    assert [step.lost for step in steps(allowed(capacity=0.9, got=0.88))][2:] == [0.0, 0.0]


# ---- tokens


def test_tokens_are_fitted_to_what_the_engine_counts() -> None:
    rng = np.random.default_rng(1)
    chars, said, count = rng.integers(100, 9000, 200), rng.integers(0, 3000, 200), rng.integers(1, 9, 200)
    model = fit(chars, said, count, chars / 4 + said / 2 + 5 * count, np.zeros(200), np.zeros(200))
    assert (model.per_char, model.per_assistant_char, model.per_message) == pytest.approx((0.25, 0.5, 5.0), rel=1e-3)
    assert model.error < 1e-6


def test_without_counts_a_token_has_four_characters() -> None:
    nothing = np.full(3, np.nan)
    model = fit(np.full(3, 400), np.zeros(3), np.ones(3), nothing, np.zeros(3), nothing)
    assert (model.per_char, model.error) == (0.25, None)


def test_prompts_all_alike_still_give_a_length() -> None:
    model = fit(np.full(9, 400), np.zeros(9), np.full(9, 2), np.full(9, 110.0), np.zeros(9), np.zeros(9))
    assert model.tokens(np.array([400]), np.array([False]), np.array([2]))[0] == pytest.approx(110)


def test_what_many_prompts_share_is_known_from_all_of_them() -> None:
    rng = np.random.default_rng(2)
    true = np.concatenate(([260.0], rng.normal(60, 8, 40)))
    estimated = np.concatenate(([240.0], np.full(40, 60.0)))
    paths = [[0, i] for i in range(1, 41)]
    found = refined(estimated, paths, np.array([true[0] + true[i] for i in range(1, 41)]))
    assert found[0] == pytest.approx(260, abs=4)
    assert np.abs(found[1:] - true[1:]).mean() < np.abs(estimated[1:] - true[1:]).mean()
    assert (refined(estimated, paths, np.full(40, np.nan)) == estimated).all()
