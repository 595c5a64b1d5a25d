"""Whose dialect the simulator speaks: names, fields, order of events, as data (vLLM 0.32, SGLang 0.5.23)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Style:
    """One engine's dialect.

    static_memory: the memory fraction is that of weights and KV cache alone (see Profile.kv_capacity).
    reasoning_field: field of a message or delta that carries reasoning.
    finish_on_last_token: finish_reason comes with the last text, or in an event of its own.
    first_delta, choice_extra, chunk_extra: further JSON members (raw, each with its leading comma).
    usage_reasoning: usage counts reasoning tokens.
    auth_prefix: paths that ask for the API key, except OPEN_PATHS.
    info_paths: where the server tells its version and settings.
    reset_busy_status: what a cache reset answers while requests are in the engine.
    metrics: our name -> (the engine's name, Prometheus type).
    """

    name: str
    title: str
    version: str
    cache: Literal["block", "radix"]
    policy: Literal["mixed", "prefill-first"]
    static_memory: bool
    block_size: int
    reasoning_field: str
    finish_on_last_token: bool
    first_delta: bytes
    choice_extra: bytes
    chunk_extra: bytes
    usage_reasoning: bool
    auth_prefix: str
    info_paths: tuple[str, ...]
    reset_path: str
    reset_busy_status: int
    labels: Mapping[str, str]
    metrics: Mapping[str, tuple[str, str]]


VLLM = Style(
    name="vllm",
    title="vLLM",
    version="0.32.0",
    cache="block",
    policy="mixed",
    static_memory=False,
    block_size=16,
    reasoning_field="reasoning",
    finish_on_last_token=True,
    first_delta=b"",
    choice_extra=b"",
    chunk_extra=b"",
    usage_reasoning=False,
    auth_prefix="/v1/",
    info_paths=("/version",),
    reset_path="/reset_prefix_cache",
    reset_busy_status=200,
    labels={"engine": "0", "model_name": "{model}"},
    metrics={
        "running": ("vllm:num_requests_running", "gauge"),
        "waiting": ("vllm:num_requests_waiting", "gauge"),
        "kv_usage": ("vllm:kv_cache_usage_perc", "gauge"),
        "prefix_query_tokens": ("vllm:prefix_cache_queries_total", "counter"),
        "prefix_hit_tokens": ("vllm:prefix_cache_hits_total", "counter"),
        "preemptions": ("vllm:num_preemptions_total", "counter"),
        "drafts": ("vllm:spec_decode_num_drafts_total", "counter"),
        "draft_tokens": ("vllm:spec_decode_num_draft_tokens_total", "counter"),
        "accepted_tokens": ("vllm:spec_decode_num_accepted_tokens_total", "counter"),
        "accepted_at": ("vllm:spec_decode_num_accepted_tokens_per_pos_total", "counter"),
        "prompt_tokens": ("vllm:prompt_tokens_total", "counter"),
        "generation_tokens": ("vllm:generation_tokens_total", "counter"),
        "ttft": ("vllm:time_to_first_token_seconds", "histogram"),
        "itl": ("vllm:inter_token_latency_seconds", "histogram"),
        "e2e": ("vllm:e2e_request_latency_seconds", "histogram"),
        "queue": ("vllm:request_queue_time_seconds", "histogram"),
        "cache_config": ("vllm:cache_config_info", "gauge"),
    },
)

SGLANG = Style(
    name="sglang",
    title="SGLang",
    version="0.5.23",
    cache="radix",
    policy="prefill-first",
    static_memory=True,
    block_size=1,
    reasoning_field="reasoning_content",
    finish_on_last_token=False,
    first_delta=b',"reasoning_content":null,"tool_calls":null',
    choice_extra=b',"matched_stop":null',
    chunk_extra=b',"usage":null',
    usage_reasoning=True,
    auth_prefix="/",
    info_paths=("/server_info", "/get_server_info", "/model_info", "/get_model_info"),
    reset_path="/flush_cache",
    reset_busy_status=400,
    labels={"model_name": "{model}", "engine_type": "unified", "tp_rank": "0", "pp_rank": "0"},
    metrics={
        "running": ("sglang:num_running_reqs", "gauge"),
        "waiting": ("sglang:num_queue_reqs", "gauge"),
        "kv_usage": ("sglang:token_usage", "gauge"),
        "prefix_hit_tokens": ("sglang:cached_tokens_total", "counter"),
        "preemptions": ("sglang:num_retracted_requests_total", "counter"),
        "accept_length": ("sglang:spec_accept_length", "gauge"),
        "accept_rate": ("sglang:spec_accept_rate", "gauge"),
        "prompt_tokens": ("sglang:prompt_tokens_total", "counter"),
        "generation_tokens": ("sglang:generation_tokens_total", "counter"),
        "ttft": ("sglang:time_to_first_token_seconds", "histogram"),
        "itl": ("sglang:inter_token_latency_seconds", "histogram"),
        "e2e": ("sglang:e2e_request_latency_seconds", "histogram"),
        "queue": ("sglang:queue_time_seconds", "histogram"),
        "kv_tokens": ("sglang:max_total_num_tokens", "gauge"),
        "block_size": ("sglang:page_size", "gauge"),
        "context_length": ("sglang:context_len", "gauge"),
    },
)

STYLES: Mapping[str, Style] = {style.name: style for style in (VLLM, SGLANG)}
"""The dialects by name."""

OPEN_PATHS = ("/health", "/health_generate", "/metrics", "/ping", "/version")
"""Paths that never ask for an API key."""
