"""`sglang.bench_serving --output-details`: JSON lines, one for each run that was appended to the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.imports.foreign_run import (
    GENERATOR_UNKNOWN,
    PROMPTS_UNKNOWN,
    ForeignRun,
    engine_of,
    from_arrays,
    load_of,
    same_lengths,
)


class SglangBench(msgspec.Struct):
    """What is read of a line; times in seconds. The file has no start times."""

    duration: float
    backend: str | None = None
    dataset_name: str | None = None
    model_id: str | None = None
    request_rate: float | str | None = None
    max_concurrency: float | None = None
    server_info: Any = None
    input_lens: list[int] | None = None
    output_lens: list[int] | None = None
    ttfts: list[float] | None = None
    itls: list[list[float]] | None = None
    errors: list[str | None] | None = None


_UNKNOWN = (
    GENERATOR_UNKNOWN,
    PROMPTS_UNKNOWN,
    "when each request was sent: figures over time and intervals of rates are left out",
    "E2E beyond the last token: it is TTFT and all gaps together",
    "when the benchmark ran",
    "cached prompt tokens of a request",
)


def read_sglang_line(line: bytes, name: str) -> ForeignRun:
    """The run in one line. Raises UserError (DATA)."""
    try:
        bench = msgspec.json.decode(line, type=SglangBench)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UserError(Exit.DATA, f"{name} is not what sglang.bench_serving writes: {error}") from None
    if bench.ttfts is None or bench.itls is None or bench.output_lens is None or bench.input_lens is None:
        raise UserError(
            Exit.DATA,
            f"{name} holds figures and no single requests, so no interval could be given: run "
            "sglang.bench_serving with --output-details",
        )
    columns: dict[str, Sequence[Any]] = {
        "ttfts": bench.ttfts,
        "itls": bench.itls,
        "output_lens": bench.output_lens,
        "input_lens": bench.input_lens,
    }
    if bench.errors is not None:
        columns["errors"] = bench.errors
    count = same_lengths(name, columns)
    info = bench.server_info if isinstance(bench.server_info, Mapping) else {}
    engine = engine_of(bench.backend)
    engine.version = _text(info, "version")
    rate = None if isinstance(bench.request_rate, str) else bench.request_rate
    return ForeignRun(
        tool="sglang.bench_serving",
        rows=from_arrays(None, 0.0, columns, count),
        model=bench.model_id or _text(info, "served_model_name") or _text(info, "model_path"),
        engine=engine,
        load=load_of(rate, bench.max_concurrency),
        started=0.0,
        seconds=bench.duration,
        workload=bench.dataset_name or "",
        unknown=_UNKNOWN,
        start_times=False,
    )


def _text(info: Mapping[str, Any], key: str) -> str | None:
    value = info.get(key)
    return value if isinstance(value, str) and value else None
