"""Start the server and wait for a signal."""

from __future__ import annotations

import argparse
import signal
import sys
from typing import Any

import xllamacpp

_CACHE_TYPES = {
    "f16": xllamacpp.ggml_type.GGML_TYPE_F16,
    "bf16": xllamacpp.ggml_type.GGML_TYPE_BF16,
    "f32": xllamacpp.ggml_type.GGML_TYPE_F32,
    "q8_0": xllamacpp.ggml_type.GGML_TYPE_Q8_0,
}
_REASONING = {
    "none": xllamacpp.common_reasoning_format.COMMON_REASONING_FORMAT_NONE,
    "auto": xllamacpp.common_reasoning_format.COMMON_REASONING_FORMAT_AUTO,
    "deepseek": xllamacpp.common_reasoning_format.COMMON_REASONING_FORMAT_DEEPSEEK,
}
_SPECULATION = {
    "none": xllamacpp.common_speculative_type.COMMON_SPECULATIVE_TYPE_NONE,
    "ngram-simple": xllamacpp.common_speculative_type.COMMON_SPECULATIVE_TYPE_NGRAM_SIMPLE,
}


def parser() -> argparse.ArgumentParser:
    """The flags, with llama-server's defaults."""
    flags = argparse.ArgumentParser(prog="llama-server", allow_abbrev=False)
    flags.add_argument("--model", required=True)
    flags.add_argument("--alias")
    flags.add_argument("--host", default="127.0.0.1")
    flags.add_argument("--port", type=int, default=8080)
    flags.add_argument("--api-key")
    flags.add_argument("--metrics", action="store_true")
    flags.add_argument("--context-shift", action=argparse.BooleanOptionalAction, default=False)
    flags.add_argument("--kv-unified", action=argparse.BooleanOptionalAction, default=False)
    flags.add_argument("--kv-unified-per-slot", type=int)
    flags.add_argument("--ctx-size", type=int)
    flags.add_argument("--parallel", type=int)
    flags.add_argument("--batch-size", type=int)
    flags.add_argument("--ubatch-size", type=int)
    flags.add_argument("--cache-prompt", action=argparse.BooleanOptionalAction, default=True)
    flags.add_argument("--cache-type-k", choices=_CACHE_TYPES, default="f16")
    flags.add_argument("--cache-type-v", choices=_CACHE_TYPES, default="f16")
    flags.add_argument("--n-gpu-layers", default="0")
    flags.add_argument("--threads", type=int, default=1)
    flags.add_argument("--seed", type=int)
    flags.add_argument("--reasoning-format", choices=_REASONING, default="auto")
    flags.add_argument("--spec-type", choices=_SPECULATION, default="none")
    flags.add_argument("--spec-ngram-simple-size-m", type=int)
    flags.add_argument("--spec-ngram-simple-size-n", type=int)
    return flags


def parameters(asked: argparse.Namespace) -> Any:
    """The same as the server's own parameters."""
    params = xllamacpp.CommonParams()
    params.model.path = asked.model
    params.model_alias = {asked.alias} if asked.alias else set()
    params.hostnames, params.port = [asked.host], asked.port
    params.api_keys = [asked.api_key] if asked.api_key else []
    params.endpoint_metrics = asked.metrics
    params.ctx_shift, params.kv_unified, params.cache_prompt = asked.context_shift, asked.kv_unified, asked.cache_prompt
    numbers = {
        "kv_unified_per_slot": asked.kv_unified_per_slot,
        "n_ctx": asked.ctx_size,
        "n_parallel": asked.parallel,
        "n_batch": asked.batch_size,
        "n_ubatch": asked.ubatch_size,
    }
    for name, value in numbers.items():
        if value is not None:
            setattr(params, name, value)
    params.cache_type_k, params.cache_type_v = _CACHE_TYPES[asked.cache_type_k], _CACHE_TYPES[asked.cache_type_v]
    params.n_gpu_layers = 0 if asked.n_gpu_layers == "0" else -1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = asked.threads
    if asked.seed is not None:
        params.sampling.seed = asked.seed
    params.reasoning_format = _REASONING[asked.reasoning_format]
    if asked.spec_type != "none":
        params.speculative.types = [_SPECULATION[asked.spec_type]]
        if asked.spec_ngram_simple_size_m is not None:
            params.speculative.ngram_simple.size_m = asked.spec_ngram_simple_size_m
        if asked.spec_ngram_simple_size_n is not None:
            params.speculative.ngram_simple.size_n = asked.spec_ngram_simple_size_n
    return params


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    asked = parser().parse_args()
    server = xllamacpp.Server(parameters(asked))
    print(f"listening on {server.listening_address}", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    sys.exit(0)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
