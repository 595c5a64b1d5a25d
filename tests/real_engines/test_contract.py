"""What tokenswarm assumes about the surface of a real engine, checked over plain HTTP."""

from __future__ import annotations

import contextlib
import re
import threading
import uuid

import pytest

from tests.real_engines.real import API_KEY, CONTEXT_LENGTH, SEED, Server
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.engines import adopt, load_description, probe

# Longer than several of the engines' cache blocks (128 tokens at most), far shorter than the context.
LONG = "The quick brown fox jumps over the lazy dog near the river. " * 40


def fresh(prompt: str = "Tell me something.") -> str:
    """A prompt that no cache can know."""
    return f"{uuid.uuid4()} {prompt}"


# Some answers differ between engines in ways that a load generator must know.
WRONG_MODEL_STATUS = {"vllm": 404, "sglang": 200}
FINISH_COMES_WITH_TEXT = {"vllm": True, "sglang": False}


def test_installed_engine_is_the_pinned_version(server: Server) -> None:
    pinned = load_description(server.name).package["cpu"].partition("==")[2]
    assert server.engine.version == pinned


def test_engine_is_recognised_by_what_it_answers(server: Server) -> None:
    description = probe(server.engine.base_url, API_KEY)
    assert description is not None
    assert description.name == server.name


def test_adopted_engine_tells_the_same_as_the_one_started_here(server: Server) -> None:
    adopted = adopt(server.engine.base_url, API_KEY)
    assert (adopted.runtime, adopted.version) == ("external", server.engine.version)
    assert adopted.effective == server.engine.effective


def test_effective_configuration_is_what_was_asked_for(server: Server) -> None:
    effective = server.engine.effective
    asked = {"context_length": CONTEXT_LENGTH, "seed": SEED, "max_num_seqs": 32, "dtype": "bfloat16"}
    assert {name: effective.get(name) for name in asked} == asked
    assert effective["prefix_cache"] is True
    assert (effective["tensor_parallel"], effective["data_parallel"], effective["expert_parallel"]) == (1, 1, 1)
    assert effective["kv_capacity_tokens"] >= CONTEXT_LENGTH
    assert 1 <= effective["block_size"] <= 128


def test_stream_begins_without_a_token_and_ends_with_usage_and_done(server: Server) -> None:
    stream = server.stream(fresh(), max_tokens=12)
    first = stream.events[0]["choices"][0]["delta"]
    assert first["role"] == "assistant"
    assert not first.get("content")
    assert stream.texts("content")
    assert stream.finish_reasons() == ["length"]
    last = stream.events[-1]
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 12
    assert last["usage"]["total_tokens"] == last["usage"]["prompt_tokens"] + 12
    assert stream.done


def test_finish_reason_comes_where_it_is_expected(server: Server) -> None:
    stream = server.stream(fresh())
    (finishing,) = [event for event in stream.events for choice in event["choices"] if choice.get("finish_reason")]
    has_text = bool(finishing["choices"][0]["delta"].get("content"))
    assert has_text is FINISH_COMES_WITH_TEXT[server.name]


def test_events_are_not_more_than_tokens(server: Server) -> None:
    stream = server.stream(fresh(), max_tokens=40)
    assert 1 <= len(stream.texts("content")) <= 40


def test_whole_answer_has_the_same_usage_fields(server: Server) -> None:
    status, document = server.ask(server.body(fresh(), stream=False, stream_options=None, max_tokens=5))
    assert status == 200
    assert document["usage"]["completion_tokens"] == 5
    assert document["choices"][0]["message"]["role"] == "assistant"


def test_repeated_prompt_reports_cached_tokens_by_whole_blocks(server: Server) -> None:
    prompt = fresh(LONG)
    first, second = server.stream(prompt + " One?"), server.stream(prompt + " Two?")
    block = server.engine.effective["block_size"]
    assert first.cached_tokens < block or first.cached_tokens < 16
    assert second.cached_tokens % block == 0
    assert second.usage["prompt_tokens"] - second.cached_tokens < block + 16


def test_cache_reset_empties_the_cache(server: Server) -> None:
    prompt = fresh(LONG)
    server.stream(prompt)
    assert server.stream(prompt).cached_tokens > 0
    assert server.engine.reset_prefix_cache() is True
    assert server.stream(prompt).cached_tokens == 0


def test_cache_reset_says_busy_while_a_request_runs_and_succeeds_after_it(server: Server) -> None:
    connection, answer = server.open(server.body(fresh(), max_tokens=1500))
    try:
        answer.readline()
        with pytest.raises(UserError, match="still busy") as caught:
            server.engine.reset_prefix_cache(wait_s=0)
        assert caught.value.code is Exit.ENGINE
    finally:
        connection.close()
    assert server.engine.reset_prefix_cache(wait_s=60) is True


def test_cache_reset_waits_until_a_running_request_has_ended_by_itself(server: Server) -> None:
    prompt = fresh(LONG)
    server.stream(prompt)
    connection, answer = server.open(server.body(fresh(), max_tokens=300))
    with contextlib.closing(connection):
        answer.readline()
        reader = threading.Thread(target=answer.read)
        reader.start()
        assert server.engine.reset_prefix_cache(wait_s=60) is True
        reader.join(30)
    assert server.stream(prompt).cached_tokens == 0


def test_disconnected_client_frees_its_place_in_the_batch(server: Server) -> None:
    connection, answer = server.open(server.body(fresh(), max_tokens=3000))
    answer.readline()
    assert server.wait_for(lambda now: now["running"] >= 1)["running"] >= 1
    connection.close()
    assert server.wait_for(lambda now: now["running"] == 0)["running"] == 0


def test_engines_counters_add_up_to_usage(server: Server) -> None:
    server.wait_for(lambda now: now["running"] == 0)
    before = server.counters()
    shared = fresh(LONG)
    streams = [server.stream(shared + f" {number}", max_tokens=7) for number in range(4)]
    expected = {
        "prompt_tokens": sum(stream.usage["prompt_tokens"] for stream in streams),
        "generation_tokens": 28,
        "prefix_hit_tokens": sum(stream.cached_tokens for stream in streams),
        "server_ttft_count": 4,
    }
    assert expected["prefix_hit_tokens"] > 0

    def grown(now: dict[str, float]) -> dict[str, float]:
        return {name: now[name] - before[name] for name in expected}

    after = server.wait_for(lambda now: grown(now) == expected)
    assert grown(after) == expected
    assert after["prefix_query_tokens"] - before["prefix_query_tokens"] == expected["prompt_tokens"]


def test_first_token_is_never_seen_before_the_engine_says_it_made_it(server: Server) -> None:
    for _ in range(5):
        before = server.wait_for(lambda now: now["running"] == 0)
        stream = server.stream(fresh(LONG))
        count = before["server_ttft_count"] + 1
        after = server.wait_for(lambda now, count=count: now["server_ttft_count"] == count)
        engine_ttft_s = after["server_ttft_sum_s"] - before["server_ttft_sum_s"]
        assert stream.ttft_s is not None
        assert 0 < engine_ttft_s <= stream.ttft_s


@pytest.mark.parametrize("key", [None, "wrong-key"])
def test_missing_or_wrong_key_is_401(server: Server, key: str | None) -> None:
    status, _ = server.ask(server.body("x"), key)
    assert status == 401
    with pytest.raises(UserError, match="asks for an API key") as caught:
        adopt(server.engine.base_url, key)
    assert caught.value.code is Exit.AUTH


def test_model_that_is_not_served(server: Server) -> None:
    status, _ = server.ask(server.body("x", model="nobody", stream=False, stream_options=None))
    assert status == WRONG_MODEL_STATUS[server.name]


def test_prompt_beyond_the_context_is_400_with_a_message(server: Server) -> None:
    status, document = server.ask(server.body("word " * 2 * CONTEXT_LENGTH))
    assert status == 400
    assert str(CONTEXT_LENGTH) in str(document)


def test_body_that_is_not_json_is_400(server: Server) -> None:
    status, _ = server.ask(b'{"model":')
    assert status == 400


def test_request_that_stops_early_says_stop(server: Server) -> None:
    status, document = server.ask(server.body(fresh(), stream=False, stream_options=None, stop=["e"], max_tokens=400))
    assert status == 200
    assert document["choices"][0]["finish_reason"] == "stop"


def test_log_shows_what_the_server_is_doing(server: Server) -> None:
    log = "\n".join(server.engine.log_tail(200))
    assert re.search(r"POST /v1/chat/completions.* (200|400|401)", log)
