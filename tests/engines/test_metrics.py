"""Recorded /metrics and configuration answers of real engines, read into canonical names."""

from __future__ import annotations

import math

import pytest

from tests.engines.helpers import documents, recorded
from tokenswarm.engines.spec.effective import configuration, dig, metrics_needed, read
from tokenswarm.engines.spec.engine_spec import EngineMetric, load_description
from tokenswarm.engines.spec.metrics_text import canonical, samples


def test_vllm_metrics_in_canonical_names() -> None:
    values = canonical(recorded("vllm_metrics.txt"), load_description("vllm").metrics)
    assert values["running"] == 0
    assert values["prefix_query_tokens"] == 3347
    assert values["prefix_hit_tokens"] == 2048
    assert values["prompt_tokens"] == 3347
    assert values["server_ttft_count"] == 4
    assert 0 < values["server_ttft_sum_s"] < 60
    assert [name for name, value in values.items() if value is None and not name.startswith("spec_")] == []


def test_sglang_metrics_in_canonical_names() -> None:
    values = canonical(recorded("sglang_metrics.txt"), load_description("sglang").metrics)
    assert values["prefix_query_tokens"] == 3366
    assert values["prefix_hit_tokens"] == 2217
    assert values["preemptions"] == 0
    assert [name for name, value in values.items() if value is None and not name.startswith("spec_")] == []


def test_drafts_are_read_from_counters_by_position_or_from_gauges() -> None:
    name = "vllm:spec_decode_num_"
    text = (
        f'{name}drafts_total{{engine="0"}} 10\n{name}draft_tokens_total{{engine="0"}} 30\n'
        f'{name}accepted_tokens_total{{engine="0"}} 12\n'
        f'{name}accepted_tokens_per_pos_total{{engine="0",position="0"}} 8\n'
        f'{name}accepted_tokens_per_pos_total{{engine="1",position="0"}} 1\n'
        f'{name}accepted_tokens_per_pos_total{{engine="0",position="1"}} 4\n'
    )
    values = canonical(text, load_description("vllm").metrics)
    assert [values[f"spec_{each}"] for each in ("drafts", "draft_tokens", "accepted_tokens")] == [10, 30, 12]
    assert [values[f"spec_accepted_{place}"] for place in (1, 2, 3)] == [9, 4, None]
    text = "sglang:spec_accept_length 2.5\nsglang:spec_accept_rate 0.5\n"
    gauges = canonical(text, load_description("sglang").metrics)
    assert (gauges["spec_accept_length"], gauges["spec_accept_rate"]) == (2.5, 0.5)


def test_a_column_that_an_engine_counts_in_two_is_their_sum_and_unknown_without_either() -> None:
    metrics = load_description("llamacpp").metrics
    both = canonical("llamacpp:prompt_tokens_total 30\nllamacpp:prompt_tokens_cached_total 70\n", metrics)
    assert (both["prompt_tokens"], both["prefix_query_tokens"], both["prefix_hit_tokens"]) == (100, 100, 70)
    assert canonical("llamacpp:prompt_tokens_total 30\n", metrics)["prefix_query_tokens"] is None


def test_server_ttft_of_whole_answers_is_left_out_where_the_engine_tells_them_apart() -> None:
    text = (
        'sglang:time_to_first_token_seconds_sum{is_streaming="false"} 9.0\n'
        'sglang:time_to_first_token_seconds_sum{is_streaming="true"} 2.5\n'
    )
    assert canonical(text, load_description("sglang").metrics)["server_ttft_sum_s"] == 2.5


def test_simulator_is_read_in_either_style() -> None:
    metrics = load_description("sim").metrics
    assert canonical(recorded("vllm_metrics.txt"), metrics)["prefix_hit_tokens"] == 2048
    assert canonical(recorded("sglang_metrics.txt"), metrics)["prefix_hit_tokens"] == 2217


@pytest.mark.parametrize(("combine", "expected"), [("sum", 5.0), ("mean", 2.5), ("max", 3.0)])
def test_several_series_of_one_name_are_combined(combine: str, expected: float) -> None:
    text = 'x{engine="0"} 2\nx{engine="1"} 3\nx{engine="2"} NaN\n'
    assert canonical(text, {"running": EngineMetric(names=["x"], combine=combine)}) == {"running": expected}  # type: ignore[arg-type]


def test_first_name_that_the_engine_exports_wins() -> None:
    metrics = {"running": EngineMetric(names=["new", "old"])}
    assert canonical("old 1\n", metrics) == {"running": 1}
    assert canonical("old 1\nnew 2\n", metrics) == {"running": 2}


def test_counter_that_has_not_counted_is_zero_but_a_foreign_text_is_unknown() -> None:
    metrics = load_description("sglang").metrics
    assert canonical("sglang:num_running_reqs 1\n", metrics)["prefix_hit_tokens"] == 0
    assert set(canonical("something_else 1\n", metrics).values()) == {None}
    assert set(canonical("", metrics).values()) == {None}


@pytest.mark.parametrize("line", ["x{a=", "x", "x{} y", 'x{a="b"', "x {", "x 1 2 3 4", "x{a=b} 1"])
def test_line_that_is_not_in_the_format_is_passed_over(line: str) -> None:
    assert samples(f"{line}\nx 4\n", frozenset({"x"}))["x"][-1].value == 4


def test_label_values_keep_their_escapes_and_braces() -> None:
    (series,) = samples('x{a="} 7 \\"q\\" {",b="c"} 4\n', frozenset({"x"}))["x"]
    assert series.labels == {"a": '} 7 "q" {', "b": "c"}
    assert math.isclose(series.value, 4)


def test_vllm_effective_configuration() -> None:
    description = load_description("vllm")
    found = samples(recorded("vllm_metrics.txt"), metrics_needed(description))
    values = configuration(description, documents("vllm"), found)
    assert values == {
        "context_length": 4096,
        "model_path": "tiny-llama",
        "block_size": 128,
        "kv_capacity_tokens": 1048576,
        "prefix_cache": True,
        "memory_fraction": 0.92,
        "kv_cache_dtype": "auto",
        "max_num_seqs": 32,
        "prefill_budget": 2048,
        "chunked_prefill": True,
        "tensor_parallel": 1,
        "data_parallel": 1,
        "expert_parallel": 1,
        "dtype": "bfloat16",
        "seed": 0,
        "trust_remote_code": False,
        "load_format": "auto",
        "reasoning_parser": "none",
        "quantization": "none",
        "speculation": "none",
    }
    assert read(description.version, documents("vllm"), found, {}) == "0.32.0"


def test_sglang_effective_configuration() -> None:
    description = load_description("sglang")
    values = configuration(description, documents("sglang"), {})
    assert values["kv_capacity_tokens"] == 65536
    assert values["block_size"] == 1
    assert values["prefix_cache"] is True
    assert values["chunked_prefill"] is True
    assert values["expert_parallel"] == 1
    assert (values["quantization"], values["reasoning_parser"], values["speculation"]) == ("none", "none", "none")
    assert read(description.version, documents("sglang"), {}, {}) == "0.5.23"


def test_disabled_things_read_as_false() -> None:
    answers = documents("sglang")
    answers["/server_info"] |= {"disable_radix_cache": True, "chunked_prefill_size": -1}
    values = configuration(load_description("sglang"), answers, {})
    assert values["prefix_cache"] is False
    assert values["chunked_prefill"] is False


def test_expert_parallel_degree_follows_from_the_gpus_where_it_is_only_a_switch() -> None:
    answers = documents("vllm")
    parallel = answers["/server_info?config_format=json"]["vllm_config"]["parallel_config"]
    parallel |= {"enable_expert_parallel": True, "tensor_parallel_size": 4, "data_parallel_size": 2}
    assert configuration(load_description("vllm"), answers, {})["expert_parallel"] == 8


def test_answers_of_another_shape_leave_values_out() -> None:
    description = load_description("vllm")
    assert configuration(description, {"/v1/models": ["?"], "/version": None}, {}) == {}
    assert configuration(description, {"/v1/models": {"data": []}}, {}) == {}
    assert dig({"a": [{"b": 1}]}, "a.0.b") == 1
    assert dig({"a": "text"}, "a.0") is None


def test_null_says_that_a_thing_is_not_in_use_but_a_missing_key_says_nothing() -> None:
    description = load_description("sglang")
    assert configuration(description, {"/server_info": {"quantization": None}}, {}) == {"quantization": "none"}
    assert configuration(description, {"/server_info": {"page_size": None}}, {}) == {}
