"""The simulator's command line, and the engine that it describes. Pure but for the key, which is in the environment."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.typed import CommandParser
from tokenswarm.sim.adapter_loading import AdapterSettings
from tokenswarm.sim.answers import AnswerSettings
from tokenswarm.sim.config import Config
from tokenswarm.sim.faults import KINDS
from tokenswarm.sim.hardware import EngineProfile, SpeculationModel, load_profile, profile_names
from tokenswarm.sim.jobs import EngineLimits
from tokenswarm.sim.styles import STYLES, Style

KV_BYTES = {"auto": 1.0, "bfloat16": 1.0, "fp8": 0.5, "fp8_e4m3": 0.5, "fp8_e5m2": 0.5}
"""Bytes of the KV cache against those of the profile, by the data type's name in vLLM and SGLang."""


def _whole(minimum: int):
    def convert(text: str) -> int:
        value = int(text)
        if value < minimum:
            raise argparse.ArgumentTypeError(f"must be at least {minimum}, not {value}")
        return value

    return convert


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value < 65536:  # the kernel would take the rest of a division for it
        raise argparse.ArgumentTypeError(f"must be from 0 to 65535, not {text}")
    return value


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be above 0, not {text}")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be from 0 to 1, not {text}")
    return value


def _milliseconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"must be at least 0, not {text}")
    return value / 1000


def parser() -> argparse.ArgumentParser:
    """The command line, with its help."""
    line = CommandParser(
        by_make=False,
        prog="python -m tokenswarm.sim",
        description="An OpenAI-compatible engine simulator with a model of time. Its figures are those of a model.",
    )
    add = line.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    add("--port", type=_port, default=0, help="port; 0 picks a free one")
    add("--model", default="sim-8b", help="name of the model that is served (sim-8b)")
    add("--profile", default="h100-8b", help=f"{', '.join(profile_names())}, or a .toml file (h100-8b)")
    add(
        "--style", choices=sorted(STYLES), default="vllm", help="the engine to imitate: dialect and prefix cache (vllm)"
    )
    add("--seed", type=int, default=0, help="seed of the answers and faults (0)")
    add("--api-key-env", metavar="VAR", help="name of the environment variable that holds the API key to ask for")
    add("--time-scale", type=_positive, default=1.0, help="2 makes the engine twice as fast (1)")
    engine = line.add_argument_group("engine (defaults come from the profile and the style)")
    add = engine.add_argument
    add("--context-length", type=_whole(1), help="longest prompt and answer together, tokens")
    add("--kv-tokens", type=_whole(1), help="size of the KV cache, tokens")
    add("--memory-fraction", type=_share, help="share of the GPUs' memory that the engine may use: sizes the KV cache")
    add("--kv-cache-dtype", choices=sorted(KV_BYTES), default="auto", help="one byte a value holds twice the tokens")
    add("--block-size", type=_whole(1), help="block or page of the prefix cache, tokens (vllm 16, sglang 1)")
    add("--max-num-seqs", type=_whole(1), help="sequences in a batch")
    add("--max-batched-tokens", type=_whole(1), help="token budget of a step (prefill chunks and decodes)")
    add("--no-prefix-cache", action="store_true", help="never reuse a computed prefix")
    add("--no-chunked-prefill", action="store_true", help="compute each prompt in one step")
    add("--speculative-tokens", type=_whole(1), help="tokens that are drafted for each step of a sequence (none)")
    add("--acceptance-rate", type=_share, default=0.7, help="chance that a drafted token is right (0.7)")
    add("--draft-cost", type=_share, default=0.05, help="drafting one token, as a share of reading the weights (0.05)")
    add("--stream-interval", type=_whole(1), default=1, help="tokens in one event, but for the first (1)")
    add("--lora-modules", nargs="*", default=[], metavar="NAME", help="LoRA adapters that are served")
    add("--max-loras", type=_whole(1), default=8, help="adapters that are held ready (8)")
    add("--lora-load-ms", type=_milliseconds, dest="lora_load_s", default=0.15, help="first use of an adapter (150)")
    add("--ttft-ms", type=_milliseconds, dest="ttft_s", help="time to the first token, flat profiles only")
    add("--token-gap-ms", type=_milliseconds, dest="gap_s", help="time between tokens, flat profiles only")
    answers = line.add_argument_group("answers")
    add = answers.add_argument
    add("--answer-tokens", type=_whole(1), default=200, help="mean length of an answer without reasoning (200)")
    add("--reasoning", choices=("auto", "always", "never"), default="auto", help="auto: if the prompt asks for it")
    add("--think-tags", action="store_true", help="reasoning as <think>...</think> in the content")
    add("--no-cached-tokens", action="store_true", help="usage does not tell cached tokens")
    add("--role-with-first-token", action="store_true", help="the role event waits for the first token")
    add("--ignore-response-format", action="store_true", help="take response_format and answer freely all the same")
    add(
        "--invalid-answers",
        type=_share,
        default=0.0,
        metavar="SHARE",
        help="share of the answers under a schema, and of calls of tools, that do not fit (0)",
    )
    add(
        "--refused-answers",
        type=_share,
        default=0.0,
        metavar="SHARE",
        help="share of them that are refusals, with finish_reason content_filter (0)",
    )
    add(
        "--compile-ms",
        type=_milliseconds,
        dest="compile_s",
        default=0.02,
        help="time to compile 1,000 characters of a schema, or of the tools that must be called, on their first use "
        "(20; an estimate)",
    )
    add(
        "--largest-schema",
        type=_whole(1),
        metavar="CHARS",
        help="refuse a schema, a pattern or a grammar that is longer",
    )
    checks = line.add_argument_group("judging a client")
    add = checks.add_argument
    add("--fault", action="append", default=[], metavar="KIND[:PARAMETERS][@PROBABILITY]", help=", ".join(KINDS))
    add("--truth-log", type=Path, metavar="FILE", help="CSV of when each request came in and its tokens went out")
    add("--truth-tokens", action="store_true", help="the truth log keeps every token's time")
    return line


def config_of(arguments: argparse.Namespace) -> Config:
    """The engine that the arguments describe. Raises UserError."""
    style = STYLES[arguments.style]
    profile = load_profile(
        arguments.profile, context_length=arguments.context_length, ttft_s=arguments.ttft_s, gap_s=arguments.gap_s
    )
    if profile.kind != "flat" and (arguments.ttft_s is not None or arguments.gap_s is not None):
        raise UserError(Exit.USAGE, f"--ttft-ms and --token-gap-ms need a flat profile; {profile.name} is not one")
    profile = replace(profile, kv_bytes_per_token=profile.kv_bytes_per_token * KV_BYTES[arguments.kv_cache_dtype])
    limits = EngineLimits(
        kv_tokens=arguments.kv_tokens or _kv_tokens(profile, arguments, style),
        block_size=arguments.block_size or style.block_size,
        max_num_seqs=arguments.max_num_seqs or profile.max_num_seqs,
        max_batched_tokens=arguments.max_batched_tokens or profile.max_batched_tokens,
        prefix_cache=not arguments.no_prefix_cache,
        chunked_prefill=not arguments.no_chunked_prefill,
        speculation=None
        if arguments.speculative_tokens is None
        else SpeculationModel(arguments.speculative_tokens, arguments.acceptance_rate, arguments.draft_cost),
        stream_interval=arguments.stream_interval,
    )
    if limits.block_size > limits.kv_tokens:
        raise UserError(
            Exit.USAGE, f"--block-size {limits.block_size} is more than the KV cache's {limits.kv_tokens} tokens"
        )
    return Config(
        model=arguments.model,
        style=style,
        profile=profile,
        limits=limits,
        answers=AnswerSettings(
            arguments.answer_tokens,
            arguments.reasoning,
            arguments.think_tags,
            arguments.seed,
            arguments.ignore_response_format,
            arguments.invalid_answers,
            arguments.refused_answers,
        ),
        adapters=AdapterSettings(tuple(arguments.lora_modules), arguments.max_loras, arguments.lora_load_s),
        seed=arguments.seed,
        api_key=_api_key(arguments.api_key_env),
        time_scale=arguments.time_scale,
        report_cached=not arguments.no_cached_tokens,
        role_at_once=not arguments.role_with_first_token,
        compile_s_per_kb=arguments.compile_s,
        largest_constraint=arguments.largest_schema,
    )


def _kv_tokens(profile: EngineProfile, arguments: argparse.Namespace, style: Style) -> int:
    """The size of the KV cache: by the share of the memory that was asked for, else the profile's own."""
    if arguments.memory_fraction is None or not profile.memory_bytes:
        return int(profile.kv_tokens / KV_BYTES[arguments.kv_cache_dtype])
    tokens = profile.kv_capacity(arguments.memory_fraction, static=style.static_memory)
    if tokens < 1:
        raise UserError(
            Exit.USAGE,
            f"--memory-fraction {arguments.memory_fraction:g} leaves no memory for a KV cache "
            f"beside the weights of {profile.name}",
        )
    return tokens


def _api_key(variable: str | None) -> str:
    if variable is None:
        return ""
    key = os.environ.get(variable, "")
    if not key:
        raise UserError(Exit.USAGE, f"--api-key-env: the environment variable {variable} is empty or not set")
    return key
