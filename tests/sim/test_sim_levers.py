"""The simulator's flags: what sizes its KV cache, and what its events and metrics hold."""

from __future__ import annotations

import json

import pytest

from tests.sim.simulators import running
from tokenswarm.base.errors import UserError
from tokenswarm.engines import load_description
from tokenswarm.engines.spec.metrics_text import canonical
from tokenswarm.sim.command_line import config_of, parser
from tokenswarm.sim.config import Config


def config(*flags: str) -> Config:
    return config_of(parser().parse_args(flags))


def test_the_kv_cache_is_what_the_memory_fraction_leaves_beside_the_weights() -> None:
    by_fraction = [config("--memory-fraction", share).limits.kv_tokens for share in ("0.5", "0.9")]
    assert by_fraction == [int((80e9 * share - 16.06e9 - 2e9) / 131072) for share in (0.5, 0.9)]
    assert config().limits.kv_tokens == 423_000


def test_sglangs_fraction_leaves_the_activations_out() -> None:
    vllm, sglang = (
        config("--style", style, "--memory-fraction", "0.8").limits.kv_tokens for style in ("vllm", "sglang")
    )
    assert sglang - vllm == pytest.approx(2e9 / 131072, abs=1)


def test_a_kv_cache_of_one_byte_holds_twice_the_tokens_and_is_read_in_half_the_time() -> None:
    whole, half = config(), config("--kv-cache-dtype", "fp8")
    assert half.limits.kv_tokens == 2 * whole.limits.kv_tokens
    assert half.profile.kv_bytes_per_token == whole.profile.kv_bytes_per_token / 2


def test_a_fraction_that_leaves_nothing_is_refused_in_a_sentence() -> None:
    with pytest.raises(UserError, match="leaves no memory for a KV cache"):
        config("--memory-fraction", "0.2")


def test_every_lever_of_a_scenario_reaches_the_simulator() -> None:
    ignored = load_description("sim").settings
    assert not [
        name
        for name in (
            "memory_fraction",
            "kv_cache_dtype",
            "chunked_prefill",
            "max_num_seqs",
            "prefill_budget",
            "speculation",
        )
        if getattr(ignored[name], "ignored", None)
    ]


def events(flags: tuple[str, ...], tokens: int) -> tuple[list[str], str]:
    """The texts of a stream's events, and the page of metrics."""
    with running("--profile", "h100-8b", *flags) as simulator:
        body = {
            "messages": [{"role": "user", "content": "Say something long."}],
            "stream": True,
            "max_tokens": tokens,
            "ignore_eos": True,
            "stream_options": {"include_usage": True},
        }
        with simulator.send("/v1/chat/completions", {**body, "model": "sim-8b"}, Connection="close") as client:
            data = b"".join(iter(lambda: client.recv(65536), b"")).decode()
        page = simulator.get("/metrics").decode()
    lines = [json.loads(line[6:]) for line in data.splitlines() if line.startswith("data: {")]
    usage = next(line["usage"] for line in lines if line.get("usage"))
    assert usage["completion_tokens"] == tokens and "data: [DONE]" in data
    texts = [choice["delta"].get("content") for line in lines for choice in line["choices"]]
    return [text for text in texts if text], page


def test_several_tokens_share_an_event_and_none_is_lost() -> None:
    (one, _), (several, page) = events((), 50), events(("--stream-interval", "8"), 50)
    assert "".join(one) == "".join(several) and (len(one), len(several)) == (50, 8)
    assert "spec_decode" not in page


def test_speculation_merges_tokens_and_tells_its_counters() -> None:
    texts, page = events(("--speculative-tokens", "3", "--acceptance-rate", "1"), 41)
    assert len(texts) == 11
    assert "vllm:spec_decode_num_drafts_total" in page and "vllm:spec_decode_num_accepted_tokens_total" in page


def test_acceptance_is_told_by_place_and_a_later_place_is_never_accepted_more_often() -> None:
    _, page = events(("--speculative-tokens", "3", "--acceptance-rate", "0.7"), 200)
    values = canonical(page, load_description("sim").metrics)
    places = [values[f"spec_accepted_{place}"] for place in (1, 2, 3)]
    assert values["spec_drafts"] >= places[0] >= places[1] >= places[2] > 0
    assert sum(places) == values["spec_accepted_tokens"]
    _, page = events(("--speculative-tokens", "3", "--style", "sglang"), 50)
    values = canonical(page, load_description("sim").metrics)
    assert values["spec_drafts"] is None and 1 < values["spec_accept_length"] <= 4
