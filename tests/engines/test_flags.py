"""Canonical settings become each engine's own arguments, or an error; none is silently ignored."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.engines.spec.engine_spec import CANONICAL_SETTINGS, load_description
from tokenswarm.engines.spec.flags import AskedSetting, Placement, command, diff, resolve
from tokenswarm.scenario.engine_settings import EngineSettings

VLLM = load_description("vllm")
SGLANG = load_description("sglang")
SIM = load_description("sim")

NGRAM = {"method": "ngram", "tokens": 5}

# setting, value, vLLM's arguments, SGLang's arguments
MAPPING: list[tuple[str, Any, list[str], list[str]]] = [
    ("context_length", 8192, ["--max-model-len", "8192"], ["--context-length", "8192"]),
    ("memory_fraction", 0.85, ["--gpu-memory-utilization", "0.85"], ["--mem-fraction-static", "0.85"]),
    ("max_num_seqs", 64, ["--max-num-seqs", "64"], ["--max-running-requests", "64"]),
    ("tensor_parallel", 2, ["--tensor-parallel-size", "2"], ["--tp-size", "2"]),
    ("data_parallel", 2, ["--data-parallel-size", "2"], ["--dp-size", "2"]),
    ("quantization", "fp8", ["--quantization", "fp8"], ["--quantization", "fp8"]),
    ("kv_cache_dtype", "fp8", ["--kv-cache-dtype", "fp8"], ["--kv-cache-dtype", "fp8_e4m3"]),
    ("prefix_cache", False, ["--no-enable-prefix-caching"], ["--disable-radix-cache"]),
    ("prefix_cache", True, ["--enable-prefix-caching"], []),
    ("chunked_prefill", False, ["--no-enable-chunked-prefill"], ["--chunked-prefill-size", "-1"]),
    (
        "reasoning_parser",
        "deepseek_r1",
        ["--reasoning-parser", "deepseek_r1"],
        ["--reasoning-parser", "deepseek-r1"],
    ),
    ("dtype", "bfloat16", ["--dtype", "bfloat16"], ["--dtype", "bfloat16"]),
    ("load_format", "dummy", ["--load-format", "dummy"], ["--load-format", "dummy"]),
    ("seed", 7, ["--seed", "7"], ["--random-seed", "7"]),
    ("trust_remote_code", True, ["--trust-remote-code"], ["--trust-remote-code"]),
    ("trust_remote_code", False, [], []),
    (
        "speculation",
        NGRAM,
        [
            "--speculative-config",
            '{"method": "ngram", "num_speculative_tokens": 5, "prompt_lookup_min": 2, "prompt_lookup_max": 4}',
        ],
        ["--speculative-algorithm", "NGRAM", "--speculative-num-draft-tokens", "5"],
    ),
]


def args_of(description: Any, settings: Any, **options: Any) -> list[str]:
    return command(description, settings, Placement("m", 1), **options)


def contains(args: list[str], run: list[str]) -> bool:
    return any(args[start : start + len(run)] == run for start in range(len(args) - len(run) + 1))


@pytest.mark.parametrize(("name", "value", "vllm", "sglang"), MAPPING)
def test_each_setting_becomes_each_engines_own_arguments(
    name: str, value: Any, vllm: list[str], sglang: list[str]
) -> None:
    for description, expected in ((VLLM, vllm), (SGLANG, sglang)):
        without = args_of(description, {})
        args = args_of(description, {name: value})
        assert contains(args, expected)
        assert [arg for arg in args if arg not in without and arg not in expected] == []


def test_the_mapping_above_covers_every_canonical_setting() -> None:
    elsewhere = {"prefill_budget", "expert_parallel", "lora"}
    assert {name for name, *_ in MAPPING} | elsewhere == set(CANONICAL_SETTINGS)


def test_prefill_budget_is_the_size_of_a_chunk_where_chunks_are_what_a_step_computes() -> None:
    settings = {"prefill_budget": 4096, "chunked_prefill": True}
    assert contains(args_of(VLLM, settings), ["--max-num-batched-tokens", "4096"])
    assert contains(args_of(SGLANG, settings), ["--max-prefill-tokens", "4096"])
    assert contains(args_of(SGLANG, settings), ["--chunked-prefill-size", "4096"])
    unchunked = args_of(SGLANG, settings | {"chunked_prefill": False})
    assert contains(unchunked, ["--chunked-prefill-size", "-1"])
    assert unchunked.count("--chunked-prefill-size") == 1


def test_expert_parallelism_that_the_engine_fixes_otherwise_is_refused() -> None:
    assert "--enable-expert-parallel" in args_of(VLLM, {"tensor_parallel": 4, "data_parallel": 2, "expert_parallel": 8})
    assert "--enable-expert-parallel" not in args_of(VLLM, {"tensor_parallel": 4, "expert_parallel": 1})
    with pytest.raises(UserError, match=r"expert_parallel = 8.*here 4") as caught:
        args_of(VLLM, {"tensor_parallel": 4, "expert_parallel": 8})
    assert caught.value.code is Exit.USAGE
    assert contains(args_of(SGLANG, {"tensor_parallel": 4, "expert_parallel": 2}), ["--ep-size", "2"])


def test_draft_model_is_asked_for_by_name_where_the_method_needs_one() -> None:
    with pytest.raises(UserError, match=r"needs engine\.speculation\.draft_model"):
        args_of(VLLM, {"speculation": {"method": "eagle3", "tokens": 3}})
    args = args_of(VLLM, {"speculation": {"method": "eagle3", "tokens": 3, "draft_model": "d/x"}})
    assert json.loads(args[args.index("--speculative-config") + 1]) == {
        "method": "eagle3",
        "num_speculative_tokens": 3,
        "model": "d/x",
    }


def test_value_that_the_engine_has_no_word_for_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"SGLang has no engine.reasoning_parser = 'mine'; known: none, deepseek_r1"):
        args_of(SGLANG, {"reasoning_parser": "mine"})
    with pytest.raises(UserError, match="There is no engine setting 'ctx'"):
        args_of(VLLM, {"ctx": 1})


def test_own_settings_go_only_to_their_engine() -> None:
    settings = EngineSettings.model_validate(
        {"seed": 3, "vllm": {"max_num_queued_reqs": 8, "async-scheduling": False}, "sglang": {"schedule-policy": "lpm"}}
    )
    assert contains(args_of(VLLM, settings), ["--max-num-queued-reqs", "8", "--no-async-scheduling"])
    assert contains(args_of(SGLANG, settings), ["--schedule-policy", "lpm"])
    assert "--max-num-queued-reqs" not in args_of(SGLANG, settings)
    with pytest.raises(UserError, match=r"SGLang has no general way to say enable-x = false"):
        args_of(SGLANG, {"sglang": {"enable_x": False}})


def test_what_a_cpu_cannot_do_is_left_out_and_said() -> None:
    resolved = resolve(VLLM, {"tensor_parallel": 4, "prefill_budget": 16384}, "cpu")
    assert "tensor_parallel" not in resolved.settings
    assert resolved.settings["prefill_budget"] == 8192
    assert any("tensor_parallel = 4" in note for note in resolved.notes)
    assert any("reduced from 16384 to 8192" in note for note in resolved.notes)


def test_default_that_does_not_apply_is_not_worth_a_note() -> None:
    assert resolve(VLLM, {}, "cpu").notes == []


def test_setting_asked_for_by_hand_is_never_left_out_silently() -> None:
    with pytest.raises(UserError, match=r"cannot honour engine\.tensor_parallel = 4 here") as caught:
        resolve(VLLM, {"tensor_parallel": 4}, "cpu", explicit={"tensor_parallel"})
    assert caught.value.code is Exit.USAGE


def test_scenario_settings_win_over_the_engines_defaults() -> None:
    assert contains(args_of(VLLM, {}), ["--gpu-memory-utilization", "0.9"])
    assert contains(args_of(VLLM, {"memory_fraction": 0.8}), ["--gpu-memory-utilization", "0.8"])


def test_container_command_listens_on_all_its_interfaces_and_starts_as_its_image_wants() -> None:
    vllm = args_of(VLLM, {}, runtime="container")
    sglang = args_of(SGLANG, {}, runtime="container")
    assert vllm[0] == "m"
    assert sglang[:3] == ["python3", "-m", "sglang.launch_server"]
    assert contains(vllm, ["--host", "0.0.0.0"])
    assert contains(sglang, ["--host", "0.0.0.0"])


def test_what_the_measurements_need_is_always_on() -> None:
    assert "--enable-prompt-tokens-details" in args_of(VLLM, {})
    assert {"--enable-metrics", "--enable-cache-report"} <= set(args_of(SGLANG, {}))


def test_simulator_takes_the_settings_that_it_models() -> None:
    args = args_of(SIM, {"max_num_seqs": 8, "prefill_budget": 512, "prefix_cache": False, "seed": 1})
    for run in (["--max-num-seqs", "8"], ["--max-batched-tokens", "512"], ["--no-prefix-cache"], ["--seed", "1"]):
        assert contains(args, run)
    assert contains(args_of(SIM, {"sim": {"style": "sglang"}}), ["--style", "sglang"])


def test_diff_puts_the_engines_side_by_side() -> None:
    rows = {row.setting: row.engines for row in diff([VLLM, SGLANG], {"kv_cache_dtype": "fp8"})}
    assert rows["kv_cache_dtype"]["vllm"].args == ["--kv-cache-dtype", "fp8"]
    assert rows["kv_cache_dtype"]["sglang"] == AskedSetting("fp8", ["--kv-cache-dtype", "fp8_e4m3"])
    assert rows["seed"]["vllm"].args == ["--seed", "0"]
    assert rows["seed"]["sglang"].args == ["--random-seed", "0"]
    assert "dtype" not in rows
