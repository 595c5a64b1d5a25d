"""guidellm's benchmarks.json (format 2): a report of several benchmarks, each with its requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.imports.foreign_run import GENERATOR_UNKNOWN, PROMPTS_UNKNOWN, ForeignRun, Row, failure, load_of


class Timings(msgspec.Struct):
    """Times of a request in unix seconds."""

    targeted_start: float | None = None
    resolve_start: float | None = None
    request_start: float | None = None
    first_token_iteration: float | None = None
    first_output_token_iteration: float | None = None
    last_token_iteration: float | None = None
    request_end: float | None = None
    token_iterations: int | None = None


class Info(msgspec.Struct):
    timings: Timings
    conversation_id: str | None = None
    turn_index: int | None = None
    error: str | None = None


class GuidellmRequest(msgspec.Struct):
    """One request; texts are skipped."""

    info: Info
    request_id: str | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None


class Requests(msgspec.Struct):
    successful: list[GuidellmRequest] | None = None
    errored: list[GuidellmRequest] | None = None
    incomplete: list[GuidellmRequest] | None = None


class Benchmark(msgspec.Struct):
    """One benchmark of the report: one load. `start_time` and `duration` are the measured period."""

    requests: Requests
    start_time: float | None = None
    duration: float | None = None
    config: dict[str, object] = {}
    metrics: dict[str, object] = {}


class About(msgspec.Struct):
    version: int | None = None
    guidellm_version: str | None = None


class Report(msgspec.Struct):
    metadata: About
    benchmarks: list[Benchmark]


_UNKNOWN = (
    GENERATOR_UNKNOWN,
    PROMPTS_UNKNOWN,
    "which engine and version answered, and its configuration",
    "the single gaps of a stream",
)
_OTHERWISE = (
    "E2E ends with the last token, where guidellm's request latency ends when the answer is closed",
    "TPOT is the time after the first token over the tokens after it, which guidellm calls inter-token latency; its "
    "own TPOT divides the whole time by all tokens",
)


def read_guidellm(content: bytes, name: str) -> list[ForeignRun]:
    """The runs in one report, one per benchmark. Raises UserError (DATA)."""
    try:
        report = msgspec.json.decode(content, type=Report)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UserError(Exit.DATA, f"{name} is not a report as guidellm writes it (format 2): {error}") from None
    return [_run(benchmark, report) for benchmark in report.benchmarks]


def _run(benchmark: Benchmark, report: Report) -> ForeignRun:
    strategy, backend = (_table(benchmark.config, key) for key in ("strategy", "backend"))
    rate = strategy.get("rate")
    rate = float(rate) if isinstance(rate, int | float) and not isinstance(rate, bool) else None
    users = next(
        (
            strategy[key]
            for key in ("streams", "max_concurrency")
            if isinstance(strategy.get(key), int) and rate is None
        ),
        None,
    )
    users = 1 if strategy.get("type_") == "synchronous" else users
    total = _table(benchmark.metrics, "request_totals").get("total")
    model = backend.get("model")
    return ForeignRun(
        tool="guidellm",
        version=report.metadata.guidellm_version,
        rows=_rows(benchmark.requests),
        model=model if isinstance(model, str) else None,
        load=load_of(rate, users),
        started=benchmark.start_time,
        seconds=benchmark.duration,
        sent=total if isinstance(total, int) else None,
        workload=str(strategy.get("type_") or ""),
        unknown=_UNKNOWN,
        otherwise=_OTHERWISE,
    )


def _table(holder: Mapping[str, object], key: str) -> dict[str, Any]:
    value = holder.get(key)
    return value if isinstance(value, dict) else {}


def _rows(requests: Requests) -> Iterator[Row]:
    kinds = ((requests.successful, "ok"), (requests.errored, "failed"), (requests.incomplete, "cancelled"))
    for listed, status in kinds:
        for request in listed or ():
            row = _row(request, status)
            if row is not None:
                yield row


def _row(request: GuidellmRequest, status: str) -> Row | None:
    """The row of a request; None if it was never sent."""
    at, info = request.info.timings, request.info
    begin = at.request_start if at.request_start is not None else at.resolve_start
    if begin is None:
        return None
    row: dict[str, object] = {
        "request_id": request.request_id,
        "conversation": info.conversation_id,
        "turn": None if info.turn_index is None else info.turn_index + 1,
        "sent_at": begin,
        "status": status,
        "prompt_tokens": request.prompt_tokens,
        "cached_tokens": request.cached_tokens,
    }
    if status == "failed":
        return row | failure(info.error or "")
    if status == "cancelled":
        return row
    first, last = _ms(begin, at.first_token_iteration), _ms(begin, at.last_token_iteration)
    return row | {
        "ttft_ms": first,
        "ttfo_ms": _ms(begin, at.first_output_token_iteration) or first,
        "last_token_ms": last,
        "e2e_ms": last if last is not None else _ms(begin, at.request_end),
        "chunks": at.token_iterations or None,
        "completion_tokens": request.output_tokens,
    }


def _ms(begin: float, moment: float | None) -> float | None:
    return None if moment is None else 1e3 * (moment - begin)
