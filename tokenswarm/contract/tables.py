"""The tables of a run folder, shared by the measuring side and the analysis.

`tokenswarm` writes these columns and `analysis` reads them. This module imports only the standard library, so any
script can use it. An empty cell means *not measured*, never zero.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

FORMAT = 1
"""Version of the run folder's format, written to run.json as `format`."""

REQUESTS_CSV = "requests.csv"
ENGINE_METRICS_CSV = "engine_metrics.csv"
HOST_METRICS_CSV = "host_metrics.csv"
PROMPTS_CSV = "prompts.csv"
REPLAY_CSV = "replay.csv"
ANSWERS_JSONL = "answers.jsonl"
"""Some answers with their texts, if the run was asked to keep them: one JSON object per line, readable by the owner
only."""
MANIFEST_JSON = "run.json"
SUMMARY_JSON = "summary.json"
DASHBOARD_HTML = "dashboard.html"
JUNIT_XML = "junit.xml"
SUMMARY_MD = "summary.md"
PARTS_JSON = "parts.json"
SERIES_JSON = "series.json"
"""State of a series of runs, in the series' folder: its settings and results so far."""

PHASES = ("warmup", "measure", "drain")
"""Phase in which a request was sent. Only `measure` counts in figures."""

STATUSES = ("ok", "failed", "cancelled")
"""`cancelled`: still in flight when the run ended; neither success nor failure."""

CUT_BY_LENGTH = "length"
"""The API's `finish_reason` for an answer that reached its maximum length."""

TOKEN_SOURCES = ("usage", "chunks")
"""Source of completion_tokens: the engine's own count, or the number of events with text if it gave none."""

ERROR_KINDS: Mapping[str, str] = {
    "connect_refused": "nothing listens at the endpoint",
    "connect_timeout": "no connection within timeouts.connect_s",
    "connect_failed": "no connection for another reason (name not found, no route, ...)",
    "tls_failed": "the TLS handshake or the certificate was refused",
    "reset_before_headers": "the connection was closed or reset before any answer",
    "reset_mid_stream": "the connection was closed or reset before the body was complete",
    "truncated": "the answer ended cleanly but without finish_reason or [DONE]",
    "malformed_http": "the answer is not HTTP",
    "malformed_event": "an event or body is not the JSON that the API promises",
    "engine_error": "the engine reported an error inside a stream that began with 200",
    "unauthorized": "401 or 403: the key is missing, or not accepted",
    "not_found": "404: no such path or model",
    "rejected": "another 4xx: the engine refuses this request",
    "rate_limited": "429: the endpoint limits the requests or tokens per minute",
    "quota_exceeded": "402, or another refusal that says that a quota or a budget is used up",
    "overloaded": "503: the engine takes no more requests for now",
    "server_error": "another 5xx: the engine failed, or what stands before it",
    "unexpected_status": "neither 200 nor an error status (a redirect, say)",
    "timeout_first_token": "no token within timeouts.first_token_s",
    "timeout_gap": "no further token within timeouts.gap_s",
    "timeout_total": "not finished within timeouts.total_s",
    "too_large": "the answer exceeded the client's size limit",
    "generator_limit": "the load generator's machine ran out of open files, ports or memory; the engine was not asked",
    "client_error": "the load generator itself failed; a bug to report",
}
"""All values of the `error` column, with their meanings."""

GENERATOR_KINDS = ("generator_limit", "client_error")
"""Kinds of failure caused by the load generator, which never count as the engine's."""

LIMIT_KINDS = ("rate_limited", "quota_exceeded")
"""Kinds of failure caused by the endpoint's own limits (such as rate limits), which say nothing about the engine's
capacity."""

AWAY_KINDS = ("connect_refused", "connect_timeout", "connect_failed", "reset_before_headers", "reset_mid_stream")
"""Kinds of failure that show an engine that exits, is unavailable or restarts."""

Kind = Literal["text", "int", "ms", "unix_s", "bool", "float"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a CSV table: its name, value format and meaning."""

    name: str
    kind: Kind
    meaning: str


REQUEST_COLUMNS: tuple[Column, ...] = (
    Column("run_id", "text", "the run's folder name"),
    Column("worker", "int", "index of the load-generating process"),
    Column("phase", "text", "phase in which the request was sent: " + ", ".join(PHASES)),
    Column("level", "int", "load level in which the request was sent, from 1; empty outside the measured phase"),
    Column("user_class", "text", "Locust user class"),
    Column("conversation", "text", "conversation, reading or document that the request belongs to"),
    Column("turn", "int", "1-based position in its conversation"),
    Column("continuing", "bool", "whether its conversation began in an earlier phase, or before the run"),
    Column("request_id", "text", "equals the X-Request-Id header"),
    Column("attempt", "int", "1 for the first try; more only where the scenario asks for retries"),
    Column("adapter", "int", "rank of its LoRA adapter by popularity, from 1; empty without adapters"),
    Column("scheduled_at", "unix_s", "when an open loop meant to send it; empty in a closed loop"),
    Column("sent_at", "unix_s", "just before the first byte was written"),
    Column("lateness_ms", "ms", "sent_at - scheduled_at"),
    Column("connect_ms", "ms", "set-up of a new connection, part of every duration below; empty if one was reused"),
    Column("headers_ms", "ms", "response headers complete"),
    Column("ttft_ms", "ms", "first event with non-empty text in any channel"),
    Column("ttft_uncertainty_ms", "ms", "the true ttft_ms may be earlier by at most this"),
    Column("ttfo_ms", "ms", "first event with non-empty answer text (after reasoning)"),
    Column("last_token_ms", "ms", "last event with non-empty text"),
    Column("e2e_ms", "ms", "last token of a stream; end of body otherwise"),
    Column("icl_p50_ms", "ms", "median gap between successive events with text"),
    Column("icl_p99_ms", "ms", "99th percentile of these gaps"),
    Column("icl_max_ms", "ms", "longest of these gaps"),
    Column("chunks", "int", "events with text"),
    Column("prompt_tokens", "int", "usage.prompt_tokens"),
    Column("cached_tokens", "int", "usage.prompt_tokens_details.cached_tokens"),
    Column("completion_tokens", "int", "usage.completion_tokens, or chunks (see token_source)"),
    Column("reasoning_tokens", "int", "reasoning tokens (see reasoning_source)"),
    Column("token_source", "text", "source of completion_tokens: " + ", ".join(TOKEN_SOURCES)),
    Column("reasoning_source", "text", "source of reasoning_tokens: usage, or chunks (share of events with reasoning)"),
    Column("prompt_chars", "int", "characters of all messages sent"),
    Column("shared_prefix_chars", "int", "leading characters that other requests share by design"),
    Column("document", "text", "identity of the shared document, or the kind of request"),
    Column("task", "text", "in a workload of tasks: task that the request belongs to; its sub-agents' requests too"),
    Column("task_step", "int", "1-based step of that task; empty for a sub-agent's request"),
    Column("task_steps", "int", "how many steps the task has; the answer to the last one ends it"),
    Column("status", "text", "outcome: " + ", ".join(STATUSES)),
    Column("error", "text", "kind of failure, one of ERROR_KINDS"),
    Column("http_status", "int", "status code of the answer"),
    Column("finish_reason", "text", "as the engine gave it"),
    Column("valid_output", "bool", "the scenario's own check of the answer; empty if it has none"),
    Column("error_detail", "text", "one line, shortened"),
    Column("trace_id", "text", "trace id of the W3C `traceparent` header sent; empty if none was"),
)
"""requests.csv: one row per request sent. Durations are from sent_at, on a monotonic clock."""

SPEC_POSITIONS = 8
"""Number of draft positions whose acceptance is recorded; drafts are rarely longer."""

ENGINE_METRIC_COLUMNS: tuple[Column, ...] = (
    Column("at", "unix_s", "when the engine's /metrics was read"),
    Column("running", "float", "requests being computed"),
    Column("waiting", "float", "requests queued in the engine"),
    Column("kv_usage", "float", "share of the KV cache in use, 0..1"),
    Column("prefix_query_tokens", "float", "counter: prompt tokens looked up in the prefix cache"),
    Column("prefix_hit_tokens", "float", "counter: prompt tokens found there"),
    Column("preemptions", "float", "counter: requests evicted from the batch"),
    Column("prompt_tokens", "float", "counter: prompt tokens of finished or running requests, as the engine counts"),
    Column("generation_tokens", "float", "counter: tokens generated"),
    Column("server_ttft_sum_s", "float", "counter: sum of the engine's own TTFT histogram"),
    Column("server_ttft_count", "float", "counter: number of observations in it"),
    Column("spec_drafts", "float", "counter: drafts of speculative decoding, one for each step of a request"),
    Column("spec_draft_tokens", "float", "counter: tokens drafted"),
    Column("spec_accepted_tokens", "float", "counter: drafted tokens that were accepted"),
    *(
        Column(f"spec_accepted_{place}", "float", f"counter: drafts whose token {place} was accepted")
        for place in range(1, SPEC_POSITIONS + 1)
    ),
    Column("spec_accept_length", "float", "gauge: recent tokens per step, accepted ones and the model's own"),
    Column("spec_accept_rate", "float", "gauge: recent share of drafted tokens accepted"),
)
"""engine_metrics.csv: the engine's own view, in canonical names. A failed scrape leaves only `at`."""

HOST_METRIC_COLUMNS: tuple[Column, ...] = (
    Column("at", "unix_s", "end of the sampled interval"),
    Column("source", "text", "`worker N`, `gpu N`, or `engine`: an engine that runs as processes of this machine"),
    Column("cpu_share", "float", "share of one core that the process used in the interval"),
    Column("loop_lag_ms", "ms", "worst delay of a timer in the interval"),
    Column("read_lag_p99_ms", "ms", "99th percentile of the time that received bytes waited to be read"),
    Column("lateness_max_ms", "ms", "worst lateness of an arrival in the interval (open loop)"),
    Column("rss_mb", "float", "resident memory of the process (of an engine, summed over its processes), MiB"),
    Column("steal_share", "float", "share of the machine's CPU time that its host gave to other machines (steal time)"),
    Column("in_flight", "int", "requests in flight"),
    Column("tokens", "int", "events with text received in the interval"),
    Column("gpu_util", "float", "GPU utilisation 0..1"),
    Column("gpu_memory_mb", "float", "GPU memory used, MiB"),
    Column("gpu_power_w", "float", "GPU power"),
    Column("gpu_clock_mhz", "float", "clock of the GPU's multiprocessors, MHz"),
    Column("gpu_throttle", "text", "reasons for a lowered clock, joined by +: power, heat, hardware, sync; else empty"),
    Column("gpu_energy_j", "float", "the GPU's energy counter, J since its driver was loaded"),
    Column("gpu_own_processes", "int", "processes of the engine that compute on the GPU; empty: not known"),
    Column("gpu_other_processes", "int", "other processes that compute on the GPU; empty: not known"),
)
"""host_metrics.csv: the load generator, and the engine and GPUs on the same machine."""

PROMPT_COLUMNS: tuple[Column, ...] = (
    Column("worker", "int", "index of the load-generating process, as in requests.csv"),
    Column("request", "int", "the last part of request_id: number of the request in its process"),
    Column("prompt", "text", "hashes of its messages, in order, 6 bytes each"),
    Column("answer", "text", "hash of the answer as an assistant's message; empty for none, or one with reasoning"),
    Column("new", "text", "hashes that this process had not written recently"),
    Column("new_sizes", "text", "for each of these 3 bytes, big-endian: top bit 1 = an assistant's; then characters"),
    Column("new_pieces", "text", "for each of these 3 bytes a piece: hash of the message up to the end of that piece"),
)
"""prompts.csv: the beginning of each prompt as keyed hashes, never as text. One row per row of requests.csv.

Bytes are written in base64 with `_` and `.` for `+` and `/`. The key is random and never stored.
"""

REPLAY_COLUMNS: tuple[Column, ...] = (
    Column("conversation", "text", "session that the request belongs to, as in requests.csv"),
    Column("turn", "int", "1-based position in it"),
    Column("at_s", "float", "when the trace has it due, seconds into the measured phase, at the replay's speed"),
    Column("prompt_tokens", "int", "recorded length of the prompt, scaled; empty if the trace has only its text"),
    Column("output_tokens", "int", "recorded length of the answer, scaled"),
    Column("block_tokens", "int", "tokens per block of the trace; empty if it does not say what prompts share"),
    Column(
        "blocks",
        "text",
        "its blocks from the start: numbers of 4 bytes, little-endian, in base64; equal numbers mean equal text",
    ),
)
"""replay.csv: what the trace asks for in the measured phase, one row per request. Only in replays."""


_ERROR_DETAIL_CHARS = 300
_FORMULA_LEADS = ("=", "+", "-", "@", "\t", "\r")


def part_name(table: str, number: int) -> str:
    """The file of part `number` (from 1) of a table: requests.csv, requests.0002.csv, requests.0003.csv, ..."""
    stem, dot, suffix = table.rpartition(".")
    return table if number == 1 else f"{stem}.{number:04d}{dot}{suffix}"


def table_parts(folder: Path, table: str) -> list[Path]:
    """The existing files of a table, in order: the table of a long run is split into parts. Needs no index."""
    stem, _, suffix = table.rpartition(".")
    pattern = re.compile(rf"{re.escape(stem)}\.(\d{{4,}})\.{re.escape(suffix)}")
    numbered = [(int(match[1]), path) for path in folder.iterdir() if (match := pattern.fullmatch(path.name))]
    whole = folder / table
    return [*([whole] if whole.is_file() else []), *(path for _, path in sorted(numbered))]


def names(columns: Iterable[Column]) -> list[str]:
    """The column names, in file order."""
    return [column.name for column in columns]


def header(columns: Iterable[Column]) -> str:
    """The CSV header line, with a line break."""
    return ",".join(names(columns)) + "\n"


def clean_text(text: str) -> str:
    """The text as one printable line of at most 300 characters that no spreadsheet takes for a formula."""
    if (
        len(text) <= _ERROR_DETAIL_CHARS
        and text.isprintable()
        and "  " not in text
        and text == text.strip()
        and not text.startswith(_FORMULA_LEADS)
    ):
        return text  # the usual case
    line = "".join(ch if ch.isprintable() else " " for ch in text[: 4 * _ERROR_DETAIL_CHARS])
    line = " ".join(line.split())[:_ERROR_DETAIL_CHARS]
    return "'" + line if line.startswith(_FORMULA_LEADS) else line


_TEXT_OF: Mapping[Kind, Callable[[Any], str]] = {
    "ms": "{:.3f}".format,
    "unix_s": "{:.6f}".format,
    "text": lambda value: clean_text(str(value)),
    "bool": lambda value: "true" if value else "false",
    "float": lambda value: f"{value:.6g}" if abs(value) < 1e5 else f"{value:.1f}",
    "int": lambda value: str(int(value)),
}
"""Formatter of each kind of value."""


def format_rows(columns: tuple[Column, ...], rows: Iterable[Mapping[str, object]]) -> str:
    """CSV lines (without header) for rows given as mappings by column name; a missing key is an empty cell."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for row in rows:
        get = row.get
        writer.writerow(
            ["" if (value := get(column.name)) is None else _TEXT_OF[column.kind](value) for column in columns]
        )
    return out.getvalue()
