"""llama.cpp's real server on this CPU: what its description says of it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.real_engines.real import API_KEY, Server, run_load, start_server
from tokenswarm.engines import probe
from tokenswarm.engines.local.install import install

LONG = "The quick brown fox jumps over the lazy dog near the river. " * 40
SLOTS, CONTEXT = 2, 2048
DRAFTED = 3


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server with the tiny model, behind an API key."""
    install("llamacpp", "cpu")
    settings = {"context_length": CONTEXT, "max_num_seqs": SLOTS}
    with start_server("llamacpp", tmp_path_factory.mktemp("llamacpp"), settings) as running:
        yield running


@pytest.fixture(scope="module")
def speculating(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The same, which drafts three tokens after a pair that it has seen: random weights repeat nothing longer."""
    install("llamacpp", "cpu")
    settings = {
        "context_length": CONTEXT,
        "max_num_seqs": SLOTS,
        "speculation": {"method": "ngram", "tokens": DRAFTED},
        "llamacpp": {"api-key": API_KEY, "spec-ngram-simple-size-n": 2},
    }
    with start_server("llamacpp", tmp_path_factory.mktemp("ngram"), settings) as running:
        yield running


def fresh(prompt: str) -> str:
    """A prompt that no cache can know."""
    return f"{uuid.uuid4()} {prompt}"


def test_it_is_recognised_by_what_it_answers(llama: Server) -> None:
    description = probe(llama.engine.base_url, API_KEY)
    assert description is not None and description.name == "llamacpp"


def test_each_slot_has_the_context_that_was_asked_for(llama: Server) -> None:
    effective = llama.engine.effective
    assert (effective["context_length"], effective["max_num_seqs"]) == (CONTEXT, SLOTS)
    status, document = llama.ask(llama.body("word " * 2 * CONTEXT))
    assert status == 400 and str(CONTEXT) in str(document)


def test_stream_ends_with_usage_and_done(llama: Server) -> None:
    stream = llama.stream(fresh("Tell me something."), max_tokens=12)
    assert stream.texts("content") and stream.finish_reasons() == ["length"] and stream.done
    assert stream.events[-1]["usage"]["completion_tokens"] == 12


def test_repeated_prompt_comes_from_the_cache_and_usage_tells(llama: Server) -> None:
    prompt = fresh(LONG)
    first, second = llama.stream(prompt + " One?"), llama.stream(prompt + " Two?")
    assert second.cached_tokens > 0.9 * second.usage["prompt_tokens"] > first.cached_tokens


def test_its_counters_add_up_to_usage(llama: Server) -> None:
    before = llama.wait_for(lambda now: now["running"] == 0)
    shared = fresh(LONG)
    streams = [llama.stream(shared + f" {number}", max_tokens=7) for number in range(3)]
    expected = {
        "prompt_tokens": sum(stream.usage["prompt_tokens"] for stream in streams),
        "prefix_query_tokens": sum(stream.usage["prompt_tokens"] for stream in streams),
        "prefix_hit_tokens": sum(stream.cached_tokens for stream in streams),
        "generation_tokens": 21,
    }

    def grown(now: dict[str, float]) -> dict[str, float]:
        return {name: now[name] - before[name] for name in expected}

    assert grown(llama.wait_for(lambda now: grown(now) == expected)) == expected


@pytest.mark.parametrize("key", [None, "wrong-key"])
def test_missing_or_wrong_key_is_401(llama: Server, key: str | None) -> None:
    assert llama.ask(llama.body("x"), key)[0] == 401


def test_a_schema_is_enforced_in_the_fields_that_its_description_has(llama: Server) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"enum": ["b", "c"]}},
        "required": ["a"],
        "additionalProperties": False,
    }
    asked = json.dumps(llama.engine.description.constraints["json_schema"]).replace('"{schema}"', json.dumps(schema))
    fields = json.loads(asked)
    more = {"stream": False, "stream_options": None, "ignore_eos": False, "max_tokens": 300, **fields}
    finished = 0
    for _ in range(3):
        status, document = llama.ask(llama.body(fresh("Write a story."), **more))
        assert status == 200, document
        choice = document["choices"][0]
        if choice["finish_reason"] == "stop":
            finished += 1
            assert json.loads(choice["message"]["content"])["a"] in ("b", "c")
        else:
            assert choice["message"]["content"].lstrip()[:1] in ("", "{")
    assert finished


def test_a_load_against_it_is_whole_and_tells_its_hit_rate(llama: Server) -> None:
    values = {
        "output.max_tokens": 8,
        "output.ignore_eos": "true",
        "rag.documents": 2,
        "rag.document_tokens": 400,
        "load.warmup_max_s": 5,
    }
    run = run_load(llama, "rag", values, "5s", users=2)
    ok = [row for row in run.requests if row["status"] == "ok"]
    assert ok and all(row["completion_tokens"] == "8" for row in ok)
    assert run.manifest["engine"]["name"] == "llamacpp"
    assert any(int(row["cached_tokens"] or 0) > 0 for row in ok)
    assert run.engine_total("prompt_tokens") > 0


def test_acceptance_comes_from_its_counters_by_length_rate_and_position(speculating: Server) -> None:
    values = {
        "output.max_tokens": 300,
        "output.ignore_eos": "true",
        "output.temperature": 0,
        "rag.documents": 2,
        "rag.document_tokens": 200,
        "load.warmup_max_s": 5,
        "user.think_time_s": 0,
    }
    run = run_load(speculating, "rag", values, "10s", users=2)
    summary: dict[str, Any] = json.loads((run.folder / "summary.json").read_text("utf-8"))
    told = summary["speculation"]
    assert told["source"] == "counters" and told["drafts"] > 0
    shares = [each["value"] for each in told["by_position"]]
    assert len(shares) == DRAFTED and shares == sorted(shares, reverse=True) and 0 < shares[0] <= 1
    assert told["length"]["value"] == pytest.approx(1 + sum(shares), abs=0.02)
    assert told["rate"]["value"] >= sum(shares) / DRAFTED - 0.02, "a draft may be shorter than asked for"
    assert any("ignore_eos" in note for note in told["notes"]) and any("made up" in note for note in told["notes"])
