"""Makes synthetic run folders of the four workloads, with the schema's own writers.

Also a program: `python -m tests.analysis.make_run FOLDER rag` for a folder to look at.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from tokenswarm.contract import tables as schema

START = 1_795_000_000.0
WARMUP_S, DRAIN_S = 5.0, 10.0

SLO = {
    "rag": {"ttft_p95_ms": 400, "tpot_p95_ms": 30, "error_rate": 0.01, "attainment_min": 0.95},
    "chat": {"ttft_p95_ms": 300, "e2e_p95_ms": 6000, "goodput_rps_min": 3},
    "batch": {"e2e_p95_ms": 1500, "output_tok_s_min": 20, "error_rate": 0.01},
    "reasoning": {"ttft_p95_ms": 500, "ttfo_p95_ms": 25000, "tpot_p95_ms": 30},
}
CLASSES = {"rag": "RagReader", "chat": "MultiTurnChatter", "batch": "BatchClassifier", "reasoning": "ReasoningUser"}


def write_table(path: Path, columns: tuple[schema.Column, ...], rows: Iterable[Mapping[str, object]]) -> None:
    """A CSV table as the load generator writes it."""
    path.write_text(schema.header(columns) + schema.format_rows(columns, rows), encoding="utf-8")


def row(**cells: Any) -> dict[str, Any]:
    """One successful streamed request with plausible cells; keyword arguments replace them.

    No two requests of different seconds have the same TTFT to the microsecond, as in a run that was measured.
    """
    apart_ms = 1e-3 * (cells.get("sent_at", START) - START)
    plain = {
        "run_id": "r",
        "worker": 0,
        "phase": "measure",
        "user_class": "RagReader",
        "request_id": "id",
        "sent_at": START,
        "headers_ms": 5.0,
        "ttft_ms": 100.0 + apart_ms,
        "ttft_uncertainty_ms": 0.1,
        "ttfo_ms": 100.0,
        "last_token_ms": 1090.0,
        "e2e_ms": 1090.0,
        "chunks": 100,
        "prompt_tokens": 1000,
        "cached_tokens": 500,
        "completion_tokens": 100,
        "token_source": "usage",
        "status": "ok",
        "http_status": 200,
        "finish_reason": "stop",
    }
    return plain | cells


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _named(cells: dict[str, Any], number: int, told: Mapping[str, Any]) -> dict[str, Any]:
    """A row of this run, and of no other request."""
    named = cells | ({"run_id": told.get("run_id", "r")} if cells.get("run_id") == "r" else {})
    return named | ({"request_id": f"id-{number}"} if cells.get("request_id") == "id" else {})


def manifest(workload: str = "rag", seconds: float = 60.0, **facts: Any) -> dict[str, Any]:
    """A run.json of a simulated run that measured for `seconds` from START."""
    end = START + seconds
    plain: dict[str, Any] = {
        "format": 1,
        "run_id": f"20261118-{workload}-sim",
        "status": "complete",
        "started_at": _utc(START - WARMUP_S),
        "ended_at": _utc(end + DRAIN_S),
        "simulated": True,
        "engine": {
            "name": "sim",
            "title": "Simulator (vLLM-like)",
            "version": "0.1.0",
            "base_url": "http://127.0.0.1:8000",
            "runtime": "sim",
            "cold_start_s": 1.4,
            "command": ["python", "-m", "tokenswarm.sim"],
            "effective": {
                "context_length": 32768,
                "prefix_cache": True,
                "block_size": 16,
                "kv_tokens": 450_000,
                "max_sequences": 256,
            },
        },
        "model": "llama-3.1-8b",
        "scenario": {
            "name": workload,
            "title": workload.upper(),
            "description": f"Synthetic {workload} traffic.",
            "workload": workload,
            "values": {"slo": SLO[workload]},
            "overrides": {"load.users": "16"},
        },
        "load": {
            "mode": "closed",
            "users": 16,
            "spawn_rate": 8.0,
            "rate": None,
            "duration_s": seconds,
            "warmup_s": WARMUP_S,
            "drain_s": DRAIN_S,
            "workers": 1,
            "max_in_flight": 512,
        },
        "seed": 1,
        "salt": "a1b2c3",
        "argv": ["tokenswarm", "load", "--scenario", workload],
        "host": {"hostname": "bench-1", "platform": "Linux", "cpu": "x86-64", "cores": 2, "memory_gb": 16},
        "gpus": [],
        "versions": {"tokenswarm": "0.1.0", "locust": "2.47.0", "python": "3.11"},
        "git": {"revision": "0123abc", "dirty": False},
        "phases": [
            {"name": "warmup", "start": START - WARMUP_S, "end": START},
            {"name": "measure", "start": START, "end": end},
            {"name": "drain", "start": end, "end": end + DRAIN_S},
        ],
    }
    return plain | facts


def calm_host(seconds: int = 60) -> list[dict[str, Any]]:
    """host_metrics.csv of a load generator that was never pressed: a row a second."""
    row = {"cpu_share": 0.2, "loop_lag_ms": 0.1, "read_lag_p99_ms": 0.1, "rss_mb": 80.0, "in_flight": 4, "tokens": 400}
    return [{"at": START + second, "source": "worker 0", **row} for second in range(seconds)]


def write_run(
    folder: Path,
    rows: list[dict[str, Any]],
    facts: dict[str, Any] | None = None,
    engine: list[dict[str, Any]] | None = None,
    host: list[dict[str, Any]] | None = None,
) -> Path:
    """A run folder of exactly these rows; counts, and names that no row was given, are filled in from them."""
    folder.mkdir(parents=True, exist_ok=True)
    told = facts if facts is not None else manifest()
    rows = [_named(each, number, told) for number, each in enumerate(rows)]
    by_status = {status: sum(r["status"] == status for r in rows) for status in schema.STATUSES}
    counts = {"sent": len(rows), **by_status, "rows_lost": 0}
    (folder / schema.MANIFEST_JSON).write_text(json.dumps({"counts": counts} | told), encoding="utf-8")
    write_table(folder / schema.REQUESTS_CSV, schema.REQUEST_COLUMNS, rows)
    if engine is not None:
        write_table(folder / schema.ENGINE_METRICS_CSV, schema.ENGINE_METRIC_COLUMNS, engine)
    if host is not None:
        write_table(folder / schema.HOST_METRICS_CSV, schema.HOST_METRIC_COLUMNS, host)
    return folder


def make_run(
    folder: Path,
    workload: str,
    *,
    seconds: float = 60.0,
    rate: float = 12.0,
    seed: int = 1,
    failures: float = 0.01,
    cpu: float = 0.35,
    open_loop: bool = False,
    **facts: Any,
) -> Path:
    """A realistic run of one of the four workloads, the same for the same arguments."""
    rng = np.random.default_rng(seed)
    total = WARMUP_S + seconds
    sent = np.sort(rng.uniform(-WARMUP_S, seconds, int(rate * total)))
    rows = [_request(rng, workload, i, float(at), total, open_loop, failures, seconds) for i, at in enumerate(sent)]
    load = manifest(workload, seconds)["load"]
    if open_loop:
        load |= {"mode": "open", "rate": rate}
    told = manifest(workload, seconds, load=load, **facts)
    return write_run(folder, rows, told, _engine_rows(rng, rows, seconds), _host_rows(rng, rows, seconds, cpu))


def _request(
    rng: np.random.Generator,
    workload: str,
    i: int,
    at: float,
    total: float,
    open_loop: bool,
    failures: float,
    seconds: float,
) -> dict[str, Any]:
    wave = 1.0 + 0.35 * np.sin(2 * np.pi * at / 37.0)
    turn, document, shared = 1, f"doc-{int(rng.zipf(1.4)) % 40}", 0
    if workload == "rag":
        prompt, warm = int(rng.normal(4200, 500)), min(0.95, rng.beta(4, 1.2)) * (rng.random() > 0.22)
        output, shared = int(rng.integers(40, 240)), 15_000
    elif workload == "chat":
        turn = int(min(12, rng.geometric(0.3)))
        prompt, warm, output = 300 + 380 * turn, (0.0 if turn == 1 else 0.85), int(rng.integers(60, 320))
    elif workload == "batch":
        prompt, warm, output = int(rng.normal(900, 250)), 0.06, int(rng.integers(1, 5))
    else:
        prompt, warm, output = int(rng.integers(150, 400)), 0.0, int(rng.integers(300, 2000))
    prompt = max(prompt, 60)
    cached = int(prompt * warm) // 16 * 16
    ttft = (28.0 + 0.055 * (prompt - cached)) * wave * float(rng.lognormal(0, 0.28))
    gap = float(rng.normal(11.5, 0.9)) * (0.9 + 0.1 * wave)
    last = ttft + gap * (output - 1)
    thinking = int(output * rng.uniform(0.5, 0.85)) if workload == "reasoning" else None
    cells = row(
        run_id="r",
        worker=0,
        phase="warmup" if at < 0 else "measure",
        user_class=CLASSES[workload],
        conversation=f"c{i // 4}",
        turn=turn,
        request_id=f"{seedless(i):032x}",
        sent_at=START + at,
        scheduled_at=START + at - 0.0004 if open_loop else None,
        lateness_ms=0.4 if open_loop else None,
        connect_ms=0.6 if i < 16 else None,
        headers_ms=min(ttft, 6.0),
        ttft_ms=ttft,
        ttft_uncertainty_ms=float(rng.gamma(2, 0.06)),
        ttfo_ms=ttft + gap * (thinking or 0),
        last_token_ms=last,
        e2e_ms=last,
        icl_p50_ms=gap if output > 2 else None,
        icl_p99_ms=gap * 1.4 if output > 2 else None,
        icl_max_ms=gap * float(rng.uniform(1.4, 3)) if output > 2 else None,
        chunks=output,
        prompt_tokens=prompt,
        cached_tokens=cached,
        completion_tokens=output,
        reasoning_tokens=thinking,
        prompt_chars=prompt * 4,
        shared_prefix_chars=shared,
        document=document,
        valid_output=bool(rng.random() < 0.93) if workload in ("batch", "reasoning") else None,
    )
    draw = rng.random()
    if draw < failures:
        kind, code, detail = [
            ("overloaded", 503, "the queue is full"),
            ("engine_error", 200, "CUDA error <b>in</b> stream"),
            ("reset_mid_stream", 200, None),
            ("timeout_first_token", None, None),
        ][int(rng.integers(4))]
        cells |= dict.fromkeys(("ttft_ms", "ttfo_ms", "last_token_ms", "completion_tokens", "finish_reason"))
        cells |= {
            "status": "failed",
            "error": kind,
            "http_status": code,
            "error_detail": detail,
            "e2e_ms": 40.0,
            "valid_output": None,
            "icl_p50_ms": None,
            "icl_p99_ms": None,
            "icl_max_ms": None,
        }
    elif at + last / 1000.0 > seconds + DRAIN_S:
        cells |= {"status": "cancelled", "e2e_ms": None, "finish_reason": None, "valid_output": None}
    return cells


def seedless(i: int) -> int:
    """A number that looks random and differs for every i."""
    return (i * 0x9E3779B97F4A7C15F39CC0605CEDC835 + 0x1234567) % (1 << 128)


def _engine_rows(rng: np.random.Generator, rows: list[dict], seconds: float) -> list[dict[str, Any]]:
    out, sent = [], np.array([r["sent_at"] for r in rows])
    ended = sent + np.array([(r["e2e_ms"] or 10_000.0) for r in rows]) / 1000.0
    prompt = np.array([r["prompt_tokens"] for r in rows], dtype=float)
    cached = np.array([r["cached_tokens"] for r in rows], dtype=float)
    output = np.array([r["completion_tokens"] or 0 for r in rows], dtype=float)
    ttft = np.array([r["ttft_ms"] or 0.0 for r in rows]) / 1000.0
    for at in np.arange(START - WARMUP_S, START + seconds + DRAIN_S, 1.0):
        begun, done = sent <= at, ended <= at
        running = int(begun.sum() - done.sum())
        out.append(
            {
                "at": at,
                "running": running,
                "waiting": max(0, running - 40),
                "kv_usage": min(1.0, running * 0.012),
                "prefix_query_tokens": prompt[begun].sum(),
                "prefix_hit_tokens": cached[begun].sum(),
                "preemptions": 0,
                "prompt_tokens": prompt[begun].sum(),
                "generation_tokens": output[done].sum(),
                "server_ttft_sum_s": (ttft[done] * 0.97).sum(),
                "server_ttft_count": done.sum(),
            }
        )
    return out


def _host_rows(rng: np.random.Generator, rows: list[dict], seconds: float, cpu: float) -> list[dict[str, Any]]:
    return [
        {
            "at": at,
            "source": "worker 0",
            "cpu_share": float(np.clip(rng.normal(cpu, 0.04), 0, 1)),
            "loop_lag_ms": float(rng.gamma(2, 0.5)),
            "read_lag_p99_ms": float(rng.gamma(2, 0.1)),
            "lateness_max_ms": None,
            "rss_mb": 92.0,
            "in_flight": 14,
            "tokens": 900,
        }
        for at in np.arange(START - WARMUP_S, START + seconds + DRAIN_S, 1.0)
    ]


if __name__ == "__main__":
    print(make_run(Path(sys.argv[1]), sys.argv[2]))
