"""Lengths in tokens are the engine's: two known texts are counted before a run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pytest

from tests.run.helpers import QUIET_MACHINE
from tokenswarm.client.answer import Answer, Usage
from tokenswarm.run.first_request import LoadToCheck
from tokenswarm.run.options import LoadOptions
from tokenswarm.run.prompt_lengths import TextLength, TokenFit, fit, known_texts, measured_fit, with_measured_prompts
from tokenswarm.run.run_plan import RunPlan, resolve
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.scenario.requests import USUAL_CHARS_PER_TOKEN
from tokenswarm.workloads import create
from tokenswarm.workloads.base import Prompt, Workload
from tokenswarm.workloads.corpus import load_corpus
from tokenswarm.workloads.token_lengths import pieces_in

_BPE = re.compile(r" ?[A-Za-z]+| ?\d{1,3}| ?[^\s\w]+|\s+(?!\S)|\s+")
TOKENIZERS: dict[str, Callable[[str], int]] = {
    "bytes": lambda text: len(text.encode()),
    "four bytes": lambda text: len(text.encode()) // 4,
    "as BPE": lambda text: sum(-(-len(piece) // 7) for piece in _BPE.findall(text)),
    "pieces of six": lambda text: sum(-(-len(word) // 6) for word in text.split()),
}
TEMPLATE = 23


def made(scenario: str = "rag") -> Workload:
    return create(load_scenario(scenario), load_corpus(), 1, "")


def planned(settings: dict[str, str] | None = None, scenario: str = "rag") -> tuple[RunPlan, LoadToCheck]:
    plan = resolve(LoadOptions(scenario=scenario, overrides=settings or {}), QUIET_MACHINE)
    return plan, LoadToCheck("http://127.0.0.1:9", "m", plan.scenario, plan.corpus)


def counting(count: Callable[[str], int | None], longest: int = 10**9) -> Callable[[LoadToCheck, Prompt], Answer]:
    def ask(_load: LoadToCheck, prompt: Prompt) -> Answer:
        text = str(prompt.messages[0]["content"])
        if len(text) > longest:
            return Answer(status="failed", error="rejected", error_detail="too long")
        tokens = count(text)
        return Answer(usage=Usage(None if tokens is None else tokens + TEMPLATE))

    return ask


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize(
    ("scenario", "key", "tokens"),
    [
        ("rag", "rag.document_tokens", 3000),
        ("rag", "rag.document_tokens", 500),
        ("batch", "batch.document_tokens", 300),
    ],
)
def test_so_many_tokens_are_so_many_by_the_engines_tokenizer_at_the_median(
    tokenizer: str, scenario: str, key: str, tokens: int
) -> None:
    count = TOKENIZERS[tokenizer]
    plan, load = planned({key: str(tokens)}, scenario)
    plan, found = with_measured_prompts(plan, load, counting(count))
    assert found and plan.scenario.prompts.chars_per_token == found.chars_per_token and plan.prompt_notes == ()
    workload = create(plan.scenario, plan.corpus, 1, "salt")
    lengths = []
    for number in range(60):
        prompt = next(iter(workload.session("measure", number)))
        text = str(prompt.messages[0 if scenario == "rag" else 1]["content"])
        lengths.append(count(text.split(":\n\n", 1)[1]))
    assert abs(median(lengths) - tokens) <= max(3, 0.03 * tokens)


def test_the_factor_does_not_hang_on_salt_or_template_so_that_pairs_have_the_same_prompts() -> None:
    count = TOKENIZERS["as BPE"]
    factors = set()
    for salt, template in (("1", 0), ("2", 5), ("3", 80)):
        plan, load = planned({"prompts.salt": f"s{salt}"})
        factors.add(
            with_measured_prompts(plan, load, counting(lambda text, more=template: count(text) + more))[
                0
            ].scenario.prompts.chars_per_token
        )
    assert len(factors) == 1


@pytest.mark.parametrize("tokenizer", ["as BPE", "bytes"])
def test_replayed_texts_are_as_long_in_each_run_of_a_seed_and_as_their_record_says(
    tokenizer: str, tmp_path: Path
) -> None:
    count = TOKENIZERS[tokenizer]
    trace = tmp_path / "trace.jsonl"
    lengths = [300, 1200, 700, 1500]
    trace.write_text(
        "".join(
            json.dumps(
                {
                    "timestamp": 10 * n,
                    "input_length": size,
                    "output_length": 3,
                    "hash_ids": [3 * n + block for block in range(-(-size // 512))],
                }
            )
            + "\n"
            for n, size in enumerate(lengths)
        )
    )
    prompts = []
    for _ in range(4):
        options = LoadOptions(scenario="replay", data=str(trace), overrides={"replay.send": "chat"})
        plan = resolve(options, QUIET_MACHINE)
        load = LoadToCheck("http://127.0.0.1:9", "m", plan.scenario, plan.corpus)
        plan, _ = with_measured_prompts(plan, load, counting(count))
        workload = create(plan.scenario, plan.corpus, 1, "salt")
        sessions = [next(iter(workload.session("measure", number))) for number in range(len(lengths))]
        prompts.append([prompt.messages for prompt in sessions])
    assert all(each == prompts[0] for each in prompts)
    found = [count(str(messages[0]["content"])) + TEMPLATE for messages in prompts[0]]
    assert found == pytest.approx(lengths, rel=0.03)


def test_what_stands_around_a_text_is_told_apart_from_it() -> None:
    found, _ = measured_fit(planned()[1], made(), counting(TOKENIZERS["bytes"]))
    assert found and found.chars_per_token == pytest.approx(1, abs=0.01)
    assert found.template_tokens == pytest.approx(TEMPLATE, abs=10)


def test_an_engine_with_a_short_context_is_asked_shorter_texts() -> None:
    found, _ = measured_fit(planned()[1], made(), counting(TOKENIZERS["four bytes"], longest=2000))
    assert found and found.chars_per_token == pytest.approx(4, rel=0.03)


@pytest.mark.parametrize(
    "ask",
    [
        counting(lambda text: None),
        counting(lambda text: 7),
        counting(lambda text: 0, 1),
        counting(lambda text: len(text) * 9),
    ],
)
def test_where_nobody_counts_the_usual_factor_is_taken_and_told(
    ask: Callable[[LoadToCheck, Prompt], Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokenswarm.run.prompt_lengths.tokenized", lambda load, text: None)
    plan, load = planned()
    plan, found = with_measured_prompts(plan, load, ask)
    assert found is None and plan.scenario.prompts.chars_per_token == USUAL_CHARS_PER_TOKEN
    assert "4 characters per token" in plan.prompt_notes[0]


def test_a_factor_that_is_given_is_taken_and_nobody_asked() -> None:
    def never(*_: object) -> Answer:
        raise AssertionError("nobody has to be asked")

    plan, load = planned({"prompts.chars_per_token": "3.5"})
    assert with_measured_prompts(plan, load, never) == (plan, None)


@pytest.mark.parametrize("scenario", ["rag", "chat", "batch", "reasoning"])
def test_the_known_texts_have_the_length_asked_for_and_are_always_the_same(scenario: str) -> None:
    sparse, dense = known_texts(made(scenario), 16_000)
    assert (sparse, dense) == known_texts(made(scenario), 16_000)
    assert len(sparse) == len(dense) == 16_000
    assert pieces_in(sparse) <= pieces_in(dense)


def test_counts_that_no_tokenizer_gives_are_no_fit() -> None:
    by_both = fit(TextLength(800, 160, 207), TextLength(16_000, 3_200, 4_007), TextLength(16_000, 4_000, 4_807))
    assert by_both and by_both.tokens_per_piece == pytest.approx(1.0, rel=0.1) and by_both.template_tokens < 20
    by_chars = fit(TextLength(800, 160, 205), TextLength(16_000, 3_200, 4_005), TextLength(16_000, 4_000, 4_005))
    assert by_chars == TokenFit(4.0, 0.0, by_chars.pieces_per_char, 5.0)
    assert fit(TextLength(800, 160, 207), TextLength(16_000, 3_200, 207), TextLength(16_000, 4_000, 207)) is None
    assert fit(TextLength(800, 160, 7), TextLength(16_000, 3_200, 8), TextLength(16_000, 4_000, 9)) is None
