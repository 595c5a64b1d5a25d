"""aiperf's profile_export.jsonl: one JSON object per request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.imports.foreign_run import GENERATOR_UNKNOWN, PROMPTS_UNKNOWN, ForeignRun, Row, failure, gaps_ms


class Metadata(msgspec.Struct):
    """When and how a request was sent; times in nanoseconds since 1970."""

    request_start_ns: int
    request_end_ns: int | None = None
    x_request_id: str | None = None
    conversation_id: str | None = None
    x_correlation_id: str | None = None
    turn_index: int | None = None
    benchmark_phase: str | None = None
    was_cancelled: bool = False


class Value(msgspec.Struct):
    value: object = None
    unit: str = ""


class AiperfFailure(msgspec.Struct):
    code: int | str | None = None
    type: str | None = None
    message: str | None = None


class AiperfRecord(msgspec.Struct):
    """One line."""

    metadata: Metadata
    metrics: dict[str, Value] | None = None
    error: AiperfFailure | None = None


_DECODER = msgspec.json.Decoder(AiperfRecord)
_TO_MS = {"ms": 1.0, "sec": 1e3, "s": 1e3, "seconds": 1e3, "us": 1e-3, "ns": 1e-6}
_UNKNOWN = (
    GENERATOR_UNKNOWN,
    PROMPTS_UNKNOWN,
    "which engine and version answered, and its configuration",
    "which load was asked for",
    "whether lengths are a tokenizer's, where a record lacks the engine's own count (usage)",
)
_OTHERWISE = (
    "lengths are those that the engine counted (usage), where aiperf's own summary counts with its tokenizer, so its "
    "inter-token latency and token rates differ",
)


def read_aiperf(lines: Iterable[bytes], name: str) -> ForeignRun:
    """The run in these lines, which are read one by one. Raises UserError (DATA) for an invalid line."""
    return ForeignRun(tool="aiperf", rows=_rows(lines, name), unknown=_UNKNOWN, otherwise=_OTHERWISE)


def _rows(lines: Iterable[bytes], name: str) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = _DECODER.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise UserError(
                Exit.DATA, f"{name}, line {number}, is not a request as aiperf records it: {error}"
            ) from None
        yield _row(record)


def _row(record: AiperfRecord) -> Row:
    about, metrics = record.metadata, record.metrics or {}
    row: dict[str, object] = {
        "request_id": about.x_request_id,
        "conversation": about.x_correlation_id or about.conversation_id,
        "turn": None if about.turn_index is None else about.turn_index + 1,
        "sent_at": about.request_start_ns / 1e9,
        "phase": "warmup" if about.benchmark_phase == "warmup" else "measure",
        "prompt_tokens": _count(metrics, "usage_prompt_tokens", "input_sequence_length", "error_isl"),
    }
    if about.was_cancelled:
        return row | {"status": "cancelled"}
    if record.error is not None:
        code = record.error.code if isinstance(record.error.code, int) else None
        words = ": ".join(part for part in (record.error.type, record.error.message) if part)
        return (
            row
            | failure(f"{code or ''} {words}".strip())
            | {"http_status": code if code is not None and 100 <= code < 600 else None}
        )
    whole = _ms(metrics, "request_latency")
    if whole is None and about.request_end_ns is not None:
        whole = (about.request_end_ns - about.request_start_ns) / 1e6
    first = _ms(metrics, "time_to_first_token")
    gaps = metrics.get("inter_chunk_latency")
    scale = _TO_MS.get(gaps.unit, 1.0) / 1e3 if gaps is not None else 0.0
    listed = [each * scale for each in _numbers(gaps.value)] if gaps is not None else []
    return (
        row
        | gaps_ms(listed)
        | {
            "status": "ok",
            "e2e_ms": whole,
            "ttft_ms": first,
            "last_token_ms": None if first is None else whole,
            "ttfo_ms": _ms(metrics, "time_to_first_output_token") or first,
            "chunks": len(listed) + 1 if listed else None,
            "completion_tokens": _count(
                metrics, "usage_completion_tokens", "output_sequence_length", "output_token_count"
            ),
            "reasoning_tokens": _count(metrics, "usage_reasoning_tokens", "reasoning_token_count"),
            "cached_tokens": _count(metrics, "usage_prompt_cache_read_tokens", "usage_prompt_cached_tokens"),
        }
    )


def _numbers(value: object) -> list[float]:
    """A list of numbers; empty if the value is not a list of numbers."""
    listed = value if isinstance(value, list) else []
    return listed if all(type(each) in (int, float) for each in listed) else []


def _ms(metrics: dict[str, Value], name: str) -> float | None:
    metric = metrics.get(name)
    if metric is None or not isinstance(metric.value, int | float):
        return None
    return float(metric.value) * _TO_MS.get(metric.unit, 1.0)


def _count(metrics: dict[str, Value], *names: str) -> int | None:
    for name in names:
        metric = metrics.get(name)
        if metric is not None and isinstance(metric.value, int | float):
            return int(metric.value)
    return None
