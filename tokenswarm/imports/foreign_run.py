"""A run of another tool, as far as its file describes it, and the columns of its requests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, TypeVar

import msgspec

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.contract.manifest import EngineRecord, LoadRecord
from tokenswarm.contract.metric import Row as Row

"""Cells of requests.csv by column name; what is absent was not recorded."""
_File = TypeVar("_File")
GENERATOR_UNKNOWN = "whether the load generator kept up: CPU, event loop and lateness of its own were not recorded"
PROMPTS_UNKNOWN = "which prompts were sent, and so whether two files are of the same work"
"""What no other tool's file contains."""


@dataclass(frozen=True)
class ForeignRun:
    """One benchmark. `started` and `seconds`: the measured period (unix seconds, seconds); None: from its requests.
    `sent`: the number of requests, if the file may hold only some. `unknown`: what cannot be known from this file, as
    phrases after "not known:". `otherwise`: figures whose definition differs from the tool's own of the same name."""

    tool: str
    rows: Iterable[Row]
    version: str | None = None
    model: str | None = None
    engine: EngineRecord = field(default_factory=EngineRecord)
    load: LoadRecord = field(default_factory=LoadRecord)
    started: float | None = None
    seconds: float | None = None
    sent: int | None = None
    workload: str = ""
    unknown: Sequence[str] = ()
    otherwise: Sequence[str] = ()
    start_times: bool = True
    """Whether the file has the send time of each request."""


@dataclass(frozen=True)
class Detailed:
    """A tool whose file has one list per column if `option` was given. `needed`: columns required for single requests,
    each with its alternatives."""

    tool: str
    option: str
    needed: Sequence[Sequence[str]]

    def decode(self, content: bytes, kind: type[_File], name: str) -> _File:
        """Decode a file or a line. Raises UserError (DATA) if it is invalid or has only aggregate figures."""
        try:
            document = msgspec.json.decode(content, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise UserError(Exit.DATA, f"{name} is not what {self.tool} writes: {error}") from None
        if any(all(getattr(document, column) is None for column in either) for either in self.needed):
            raise UserError(
                Exit.DATA,
                f"{name} holds figures and no single requests, so no interval could be given: run {self.tool} with "
                f"{self.option}",
            )
        return document


def columns_of(document: object, *names: str) -> dict[str, Sequence[object]]:
    """Those of these columns that a file has."""
    return {name: values for name in names if (values := getattr(document, name)) is not None}


def load_of(rate: float | None, users: float | None) -> LoadRecord:
    """An open loop if the rate is finite, otherwise a closed loop of so many users."""
    if rate is not None and 0 < rate < float("inf"):
        return LoadRecord(mode="open", rate=rate, max_in_flight=users)
    return LoadRecord(mode="closed", users=users) if users else LoadRecord()


def gaps_ms(gaps_s: Sequence[float]) -> dict[str, float]:
    """The gap columns of requests.csv, from the gaps of one stream in seconds."""
    if not gaps_s:
        return {}
    ordered = sorted(gaps_s)
    return {
        "icl_p50_ms": 1e3 * _quantile(ordered, 0.5),
        "icl_p99_ms": 1e3 * _quantile(ordered, 0.99),
        "icl_max_ms": 1e3 * ordered[-1],
    }


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Linear interpolation between order statistics, as in our own requests.csv."""
    position = share * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def unix_of(date: str | None, form: str = "%Y%m%d-%H%M%S") -> float | None:
    """Unix seconds of a time without time zone, read as UTC; None if it is not a time."""
    try:
        return datetime.strptime(date or "", form).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def same_lengths(path: str, columns: Mapping[str, Sequence[Any]]) -> int:
    """The number of requests in these columns. Raises UserError (DATA) if they differ in length."""
    for (name, values), (other, others) in pairwise(columns.items()):
        if len(values) != len(others):
            raise UserError(
                Exit.DATA,
                f"{path}: {name} has {len(values)} entries and {other} {len(others)}: they "
                "should be of the same requests",
            )
    return len(next(iter(columns.values()), ()))


def failure(error: str) -> dict[str, object]:
    """The outcome columns of a failed request, from the tool's error text."""
    lower = error.lower()
    kind = (
        "timeout_total"
        if "timeout" in lower or "timed out" in lower
        else "rate_limited"
        if "429" in lower
        else "connect_refused"
        if "refused" in lower
        else None
    )
    last_line = next((line for line in reversed(error.splitlines()) if line.strip()), error)
    return {"status": "failed", "error": kind, "error_detail": last_line.strip()}


def from_arrays(
    start_times: Sequence[float] | None, begin: float, columns: Mapping[str, Sequence[Any]], count: int
) -> Iterator[Row]:
    """Rows of a file with one list per column: `ttfts`, `itls`, `latencies` (seconds), `errors`, lengths."""
    first = min(start_times, default=0.0) if start_times else 0.0
    for place in range(count):
        cell = {name: values[place] for name, values in columns.items()}
        sent_at = begin + (start_times[place] - first if start_times else 1e-6 * place)
        row: dict[str, object] = {"request_id": str(place), "sent_at": sent_at, "prompt_tokens": cell.get("input_lens")}
        if cell.get("errors"):
            yield row | failure(str(cell["errors"]))
            continue
        ttft, gaps = cell["ttfts"], cell.get("itls", ())
        whole = cell["latencies"] if "latencies" in cell else ttft + sum(gaps)
        if not ttft and not whole:  # a failure without a reason
            yield row | failure("no answer, and no reason")
            continue
        streamed = (
            {
                "ttft_ms": 1e3 * ttft,
                "ttfo_ms": 1e3 * ttft,
                "last_token_ms": 1e3 * whole,
                "chunks": len(gaps) + 1 if gaps else None,
            }
            if ttft
            else {}
        )
        yield (
            row
            | streamed
            | gaps_ms(gaps)
            | {"status": "ok", "e2e_ms": 1e3 * whole, "completion_tokens": cell["output_lens"]}
        )
