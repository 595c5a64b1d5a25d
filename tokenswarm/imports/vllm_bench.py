"""`vllm bench serve --save-result --save-detailed`: one JSON object with one list per column."""

from __future__ import annotations

import msgspec

from tokenswarm.imports.foreign_run import (
    GENERATOR_UNKNOWN,
    PROMPTS_UNKNOWN,
    Detailed,
    ForeignRun,
    columns_of,
    from_arrays,
    load_of,
    same_lengths,
    unix_of,
)


class VllmBench(msgspec.Struct):
    """The fields read from the file; texts of answers are skipped. Times in seconds; `start_times` on a monotonic
    clock, `date` in the machine's local time."""

    duration: float
    date: str | None = None
    model_id: str | None = None
    request_rate: float | str | None = None
    max_concurrency: float | None = None
    input_lens: list[int] | None = None
    output_lens: list[int] | None = None
    ttfts: list[float] | None = None
    itls: list[list[float]] | None = None
    latencies: list[float] | None = None
    start_times: list[float] | None = None
    errors: list[str | None] | None = None


_TOOL = Detailed(
    "vllm bench serve", "--save-detailed", (("ttfts",), ("output_lens",), ("input_lens",), ("itls", "latencies"))
)
_UNKNOWN = (
    GENERATOR_UNKNOWN,
    PROMPTS_UNKNOWN,
    "which engine and version answered, and its configuration: a backend is the name of an API",
    "whether its first token had text: in chat it counts the first event, which may hold a role alone, and then TTFT "
    "is too short and TPOT too long",
    "cached prompt tokens, and whether lengths are the engine's count or a tokenizer's",
    "when the requests of a warm-up were sent, if there was one",
    "the time zone of its date, which is taken for UTC",
)


def read_vllm_bench(content: bytes, name: str) -> ForeignRun:
    """The run in the bytes of one such file. Raises UserError (DATA)."""
    bench = _TOOL.decode(content, VllmBench, name)
    columns = columns_of(bench, "ttfts", "output_lens", "input_lens", "itls", "latencies", "errors")
    count = same_lengths(name, columns | ({"start_times": bench.start_times} if bench.start_times else {}))
    ended = unix_of(bench.date)
    started = (ended if ended is not None else 0.0) - bench.duration
    unknown = _UNKNOWN if bench.start_times else (*_UNKNOWN, "when each request was sent")
    return ForeignRun(
        tool=_TOOL.tool,
        rows=from_arrays(bench.start_times, started, columns, count),
        model=bench.model_id,
        load=load_of(_rate(bench), bench.max_concurrency),
        started=started,
        seconds=bench.duration,
        unknown=unknown,
        start_times=bool(bench.start_times),
    )


def _rate(bench: VllmBench) -> float | None:
    try:
        return None if bench.request_rate is None else float(bench.request_rate)
    except ValueError:  # "inf" is a number; anything else is not
        return None
