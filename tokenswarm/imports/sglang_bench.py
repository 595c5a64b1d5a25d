"""`sglang.bench_serving --output-details`: JSON lines, one per run appended to the file."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tokenswarm.contract.manifest import EngineRecord
from tokenswarm.imports.foreign_run import (
    GENERATOR_UNKNOWN,
    PROMPTS_UNKNOWN,
    Detailed,
    ForeignRun,
    columns_of,
    from_arrays,
    load_of,
    same_lengths,
)


class SglangBench(msgspec.Struct):
    """The fields read from a line; times in seconds. The file has no start times."""

    duration: float
    backend: str | None = None
    dataset_name: str | None = None
    model_id: str | None = None
    request_rate: float | str | None = None
    max_concurrency: float | None = None
    server_info: object = None
    input_lens: list[int] | None = None
    output_lens: list[int] | None = None
    ttfts: list[float] | None = None
    itls: list[list[float]] | None = None
    errors: list[str | None] | None = None


_TOOL = Detailed("sglang.bench_serving", "--output-details", (("ttfts",), ("itls",), ("output_lens",), ("input_lens",)))
_OF_ITS_OWN = ("sglang", "sglang-native")
"""Backends with SGLang's own API; the APIs of the others could be any engine's."""
_UNKNOWN = (
    GENERATOR_UNKNOWN,
    PROMPTS_UNKNOWN,
    "when each request was sent: figures over time and intervals of rates are left out",
    "E2E beyond the last token: it is TTFT and all gaps together",
    "when the benchmark ran",
    "cached prompt tokens of a request, and whether lengths are the engine's count or a tokenizer's",
)


def read_sglang_line(line: bytes, name: str) -> ForeignRun:
    """The run in one line. Raises UserError (DATA)."""
    bench = _TOOL.decode(line, SglangBench, name)
    columns = columns_of(bench, "ttfts", "itls", "output_lens", "input_lens", "errors")
    count = same_lengths(name, columns)
    info = bench.server_info if isinstance(bench.server_info, Mapping) else {}
    is_sglang = bool(info) or bench.backend in _OF_ITS_OWN
    engine = EngineRecord("sglang", "SGLang", _text(info, "version")) if is_sglang else EngineRecord()
    rate = None if isinstance(bench.request_rate, str) else bench.request_rate
    return ForeignRun(
        tool=_TOOL.tool,
        rows=from_arrays(None, 0.0, columns, count),
        model=bench.model_id or _text(info, "served_model_name") or _text(info, "model_path"),
        engine=engine,
        load=load_of(rate, bench.max_concurrency),
        started=0.0,
        seconds=bench.duration,
        workload=bench.dataset_name or "",
        unknown=_UNKNOWN if is_sglang else (*_UNKNOWN, "which engine answered: a backend is the name of an API"),
        start_times=False,
    )


def _text(info: Mapping[str, object], key: str) -> str | None:
    value = info.get(key)
    return value if isinstance(value, str) and value else None
