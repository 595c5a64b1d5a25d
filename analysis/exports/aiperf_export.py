"""aiperf's summary, profile_export_aiperf.json: one entry per metric, with its unit and statistics."""

from __future__ import annotations

import numpy as np
from tokenswarm.analysis.exports.measured import DEFINITIONS, ExportableRun, known

_PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99)
_RATES = {
    "request_throughput": ("requests_s", "requests/sec"),
    "output_token_throughput": ("output_tok_s", "tokens/sec"),
    "total_token_throughput": ("total_tok_s", "tokens/sec"),
}


def aiperf_export(of: ExportableRun) -> dict[str, object]:
    """The document. Figures that were not measured are left out; `tokenswarm` lists the definitions that differ from
    aiperf's.
    """
    summary = of.summary
    counts, run = summary.counts.measured, summary.run
    tpot = of.values("tpot")
    entries: dict[str, dict[str, object] | None] = {
        "time_to_first_token": _metric(of.values("ttft"), "ms"),
        "time_to_first_output_token": _metric(of.values("ttfo"), "ms"),
        "inter_token_latency": _metric(tpot, "ms"),
        "request_latency": _metric(of.values("e2e"), "ms"),
        "output_token_throughput_per_user": _metric(1e3 / np.where(tpot > 0, tpot, np.nan), "tokens/sec/user"),
        "input_sequence_length": _metric(of.column("prompt_tokens"), "tokens"),
        "output_sequence_length": _metric(of.column("completion_tokens"), "tokens"),
        "reasoning_token_count": _metric(of.column("reasoning_tokens"), "tokens"),
        "request_count": _scalar(counts.ok, "requests"),
        "error_request_count": _scalar(counts.failed, "requests") if counts.failed else None,
        "benchmark_duration": _scalar(of.seconds, "sec"),
        "goodput": _scalar(summary.goodput.goodput_rps.value, "requests/sec"),
        "good_request_count": _scalar(summary.goodput.met if summary.goodput.bounds else None, "requests"),
        **{name: _scalar(of.rate(rate), unit) for name, (rate, unit) in _RATES.items()},
    }
    return {
        **{name: entry for name, entry in entries.items() if entry is not None},
        "was_cancelled": run.status == "interrupted",
        "error_summary": [
            {
                "error_details": {
                    "type": kind.kind,
                    "message": kind.example or kind.meaning,
                    **({"code": kind.http_status[0]} if kind.http_status else {}),
                },
                "count": kind.count,
            }
            for kind in summary.errors.kinds
        ],
        "start_time": run.started_at,
        "end_time": run.ended_at,
        "tokenswarm": {
            "definitions": DEFINITIONS
            | {
                "inter_token_latency": "what tokenswarm calls TPOT, by its own clock of the last token, where aiperf "
                "takes the end of the request"
            },
            "model": run.model,
            "engine": run.engine.with_version,
            "notes": of.caveats,
        },
    }


def _metric(values: np.ndarray, unit: str) -> dict[str, object] | None:
    values = known(values)
    if not len(values):
        return None
    return {
        "unit": unit,
        "avg": float(values.mean()),
        **{f"p{q}": float(np.percentile(values, q)) for q in _PERCENTILES},
        "min": float(values.min()),
        "max": float(values.max()),
        "count": len(values),
        **({"std": float(values.std(ddof=1))} if len(values) > 1 else {}),
    }


def _scalar(value: float | None, unit: str) -> dict[str, object] | None:
    return None if value is None else {"unit": unit, "avg": value}
