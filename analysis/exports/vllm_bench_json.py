"""The JSON that `vllm bench serve --save-result --save-detailed` writes, which its plots and dashboards read."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from tokenswarm.analysis.exports.measured import DEFINITIONS, ExportableRun, known

_PERCENTILES = (50, 90, 95, 99)
_LEFT_OUT = {
    "itl": "requests.csv keeps three numbers of each stream's gaps, not all of them, and a gap between events "
    "is none between tokens where an event carries several",
    "generated_texts": "no text of an answer is kept",
}
_LATENCIES = {"ttft": "ttft", "tpot": "tpot", "e2el": "e2e"}


def vllm_bench(of: ExportableRun) -> dict[str, object]:
    """The document. Figures that were not measured are left out; `tokenswarm` lists the definitions that differ from
    vLLM's.
    """
    summary, load = of.summary, of.summary.run.load
    counts = summary.counts.measured
    prompts, outputs = of.column("prompt_tokens"), of.column("completion_tokens")
    ended = of.window.end if of.window is not None else None
    out: dict[str, object] = {
        "date": datetime.fromtimestamp(ended, UTC).strftime("%Y%m%d-%H%M%S") if ended else None,
        "backend": summary.run.engine.name,
        "label": summary.run_id,
        "model_id": summary.run.model,
        "num_prompts": counts.sent,
        "request_rate": load.rate if load.mode == "open" else "inf",
        "burstiness": 1.0 if load.arrivals == "poisson" else None,
        "max_concurrency": load.users if load.mode == "closed" else load.max_in_flight,
        "duration": of.seconds,
        "completed": counts.ok,
        "failed": counts.failed,
        "total_input_tokens": _total(prompts),
        "total_output_tokens": _total(outputs),
        "request_throughput": of.rate("requests_s"),
        "request_goodput": summary.goodput.goodput_rps.value,
        "output_throughput": of.rate("output_tok_s"),
        "total_token_throughput": of.rate("total_tok_s"),
    }
    for theirs, ours in _LATENCIES.items():
        out |= _statistics(theirs, of.values(ours))
    out |= _single_requests(of)
    return {key: value for key, value in out.items() if value is not None} | {
        "tokenswarm": {"definitions": DEFINITIONS, "notes": of.caveats, "left_out": _LEFT_OUT}
    }


def _statistics(name: str, values: np.ndarray) -> dict[str, float]:
    values = known(values)
    if not len(values):
        return {}
    return {
        f"mean_{name}_ms": float(values.mean()),
        f"median_{name}_ms": float(np.median(values)),
        f"std_{name}_ms": float(values.std()),
        **{f"p{q}_{name}_ms": float(np.percentile(values, q)) for q in _PERCENTILES},
    }


def _single_requests(of: ExportableRun) -> dict[str, object]:
    """One list per column, in seconds, as `--save-detailed` writes them, for the requests that ended; a failed one has
    zeros and its error.

    None if answers were not streamed or not counted.
    """
    rows = of.run.measured
    ended = rows[(rows["status"] != "cancelled").to_numpy()]
    ok = (ended["status"] == "ok").to_numpy()
    columns = {
        name: ended[name].to_numpy(dtype=float)
        for name in ("ttft_ms", "e2e_ms", "prompt_tokens", "completion_tokens", "sent_at")
    }
    unknown = any(np.isnan(values[ok]).any() for values in columns.values())
    if not ok.any() or unknown or of.is_withheld("ttft") or of.is_withheld("e2e"):
        return {}
    columns = {name: np.nan_to_num(values) for name, values in columns.items()}
    for name in ("ttft_ms", "e2e_ms", "completion_tokens"):
        columns[name] = np.where(ok, columns[name], 0.0)
    details = ended["error_detail"].astype("object")
    errors = details.where(details.notna(), ended["error"].astype("object"))
    return {
        "input_lens": [int(n) for n in columns["prompt_tokens"]],
        "output_lens": [int(n) for n in columns["completion_tokens"]],
        "ttfts": (columns["ttft_ms"] / 1e3).tolist(),
        "latencies": (columns["e2e_ms"] / 1e3).tolist(),
        "start_times": (columns["sent_at"] - columns["sent_at"][0]).tolist(),
        "errors": ["" if good else str(error) for good, error in zip(ok, errors, strict=True)],
    }


def _total(values: np.ndarray) -> int | None:
    values = known(values)
    return int(values.sum()) if len(values) else None
