"""Checks the load generator against a server with a truth log. Starts the simulator's flat profile, loads it with the
complete load generator (Locust, prompts, records, health), and compares the rows with when the server really wrote.
Used by `calibrate` and by the benchmarks.
"""

from __future__ import annotations

import csv
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenswarm.base.data_files import LOCUSTFILES_DIR
from tokenswarm.base.environment import without_disturbing
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.presence import present
from tokenswarm.contract.manifest import PhaseRecord, read_manifest
from tokenswarm.contract.tables import HOST_METRICS_CSV, REQUESTS_CSV
from tokenswarm.sim.truth import read_truth

_WARMUP_S = 3
_MARGIN_S = 1.0
"""Cut from both ends of the window for CPU and rates, since ramps are not steady state."""
_SETTLE_S = 10.0
_STAMP_COST_MS = 0.1
"""The cost of two clock readings, in ms."""
MODEL = "sim-8b"


@dataclass(frozen=True, slots=True)
class TruthRun:
    """The result. Errors are absolute differences between row and truth."""

    requests: int
    lost: int
    """Requests that failed or are missing in the server's log."""
    tokens_s: float
    cpu_us_per_token: float
    cpu_share: float
    """CPU use of the Locust process, as a share of one core."""
    ttft_error_p50_ms: float
    ttft_error_p99_ms: float
    e2e_error_p99_ms: float
    bound_p99_ms: float
    """The run's own bound on its TTFT error (p99)."""
    beyond_bound: int
    """Requests whose error exceeds their own bound."""
    server_late_p99_ms: float
    """Lateness of the server against its own model. A late server cannot judge the load generator."""
    rss_growth_mb: float
    """Resident memory of the Locust process at the end of the window minus at its beginning, MiB. A window of over a
    minute begins 10 s later for this: buffers reach their size and connections their number first."""
    waited_s: float
    """Seconds in which the Locust process was ready to run but had no CPU."""


class FlatServer:
    """The simulator with fixed TTFT and token gap, as a separate process."""

    def __init__(self, folder: Path, *, ttft_ms: float, gap_ms: float, core: int | None = None) -> None:
        self._log = folder / "truth.csv"
        command = [
            sys.executable,
            "-m",
            "tokenswarm.sim",
            "--profile",
            "flat",
            "--model",
            MODEL,
            "--truth-log",
            str(self._log),
            "--ttft-ms",
            f"{ttft_ms:g}",
            "--token-gap-ms",
            f"{gap_ms:g}",
        ]
        self._process = subprocess.Popen(pinned(command, core), stdout=subprocess.PIPE, text=True)
        line = present(self._process.stdout).readline()
        if not line.startswith("listening on "):
            raise UserError(Exit.ENGINE, f"the simulator did not start: {line.strip() or 'it said nothing'}")
        self.url = line.removeprefix("listening on ").strip()

    def stop(self) -> dict[str, dict[str, object]]:
        """Stop it; returns the truth by request ID."""
        self._process.terminate()
        self._process.wait(20)
        return {str(row["request_id"]): row for row in read_truth(self._log)}


def pinned(command: list[str], core: int | None) -> list[str]:
    """The command, pinned to `core` unless that is None."""
    return command if core is None else ["taskset", "-c", str(core), *command]


def cores() -> tuple[int | None, int | None]:
    """(server core, load generator core); None if there is only one core or affinity cannot be set."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    mine = sorted(os.sched_getaffinity(0))
    return (mine[0], mine[1]) if len(mine) > 1 else (None, None)


@dataclass(frozen=True, slots=True)
class KnownLoad:
    """`streams` users, each reading answers of `tokens` tokens at `rate` tokens/s, measured for `seconds`.

    With `requests_s` an open loop sends that many requests a second, at most `streams` at once. Several `workers` are
    Locust's own, of one master; they share the core.
    """

    streams: int
    rate: float
    tokens: int
    seconds: float
    ttft_ms: float = 100.0
    requests_s: float | None = None
    workers: int = 1


def truth_run(load: KnownLoad) -> TruthRun:
    """Run that load against a server whose timing is known, and compare. Raises UserError (LOAD_GENERATOR) if the load
    generator fails."""
    server_core, load_core = cores()
    with tempfile.TemporaryDirectory(prefix="tokenswarm-truth-") as name:
        folder = Path(name)
        server = FlatServer(folder, ttft_ms=load.ttft_ms, gap_ms=1000 / load.rate, core=server_core)
        results = folder / "results"
        offset_s = time.time() - time.monotonic()
        try:
            waited_s = _locust(server.url, load, results, load_core)
        finally:
            truth = server.stop()
        [run] = results.iterdir()
        return judge(run, truth, offset_s, waited_s)


def _locust(url: str, load: KnownLoad, results: Path, core: int | None) -> float:
    settings = (
        f"output.max_tokens={load.tokens} output.ignore_eos=true user.think_time_s=0 load.warmup_s={_WARMUP_S} "
        "rag.document_tokens=200"
    )
    if load.requests_s is not None:
        settings += f" load.rate={load.requests_s:g} load.max_in_flight={load.streams}"
    environment = {**without_disturbing(), "RESULTS": str(results), "MODEL": MODEL, "SET": settings}
    command = [
        sys.executable,
        "-m",
        "locust",
        "-f",
        str(LOCUSTFILES_DIR / "rag.py"),
        "--headless",
        "--host",
        url,
        "-u",
        str(load.streams),
        "-r",
        f"{load.streams / 1.3:.3f}",
        "-t",
        f"{load.seconds + _WARMUP_S + 2:.0f}s",
    ]
    if load.workers > 1:
        command += ["--processes", str(load.workers)]
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(pinned(command, core), env=environment, stdout=subprocess.DEVNULL, stderr=output)
        waited_s = 0.0
        while process.poll() is None:
            waited_s = _waited_s(process.pid) or waited_s
            time.sleep(0.5)
        if process.returncode or not results.is_dir():
            output.seek(0)
            raise UserError(Exit.LOAD_GENERATOR, f"locust ended with {process.returncode}: {output.read()[-2000:]}")
    return waited_s


def _waited_s(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0  # not Linux, or the process has ended


def judge(run: Path, truth: Mapping[str, Mapping[str, Any]], offset_s: float, waited_s: float) -> TruthRun:
    """Compare a run's rows with the truth. `offset_s`: this machine's wall clock minus its monotonic clock."""
    manifest = read_manifest(run)
    window = next((phase for phase in manifest.phases if phase.name == "measure"), None)
    if window is None:
        raise UserError(Exit.LOAD_GENERATOR, "the run was too short to judge; give it more seconds")
    ttft, e2e, bounds, late, lost, beyond = [], [], [], [], 0, 0
    for row in _table(run / REQUESTS_CSV):
        if row["phase"] != "measure" or row["status"] == "cancelled":
            continue
        true = truth.get(row["request_id"])
        if row["status"] != "ok" or true is None:
            lost += 1
            continue
        sent_ns = (float(row["sent_at"]) - offset_s) * 1e9
        off_ms = float(row["ttft_ms"]) - (true["first_write_ns"] - sent_ns) / 1e6
        ttft.append(abs(off_ms))
        beyond += _is_beyond(off_ms, float(row["ttft_uncertainty_ms"]), true)
        e2e.append(abs(float(row["e2e_ms"]) - (true["last_write_ns"] - sent_ns) / 1e6))
        bounds.append(float(row["ttft_uncertainty_ms"]))
        late.append(true["max_late_ns"] / 1e6)
    if not ttft:
        raise UserError(Exit.LOAD_GENERATOR, "no request succeeded against the simulator")
    seconds, cpu_s, tokens, rss_growth_mb = _steady(run, window)
    return TruthRun(
        requests=len(ttft),
        lost=lost,
        tokens_s=tokens / seconds,
        cpu_us_per_token=cpu_s / max(tokens, 1) * 1e6,
        cpu_share=cpu_s / seconds,
        ttft_error_p50_ms=_quantile(ttft, 0.5),
        ttft_error_p99_ms=_quantile(ttft, 0.99),
        e2e_error_p99_ms=_quantile(e2e, 0.99),
        bound_p99_ms=_quantile(bounds, 0.99),
        beyond_bound=beyond,
        server_late_p99_ms=_quantile(late, 0.99),
        rss_growth_mb=rss_growth_mb,
        waited_s=waited_s,
    )


def _is_beyond(off_ms: float, bound_ms: float, true: Mapping[str, Any]) -> bool:
    """Whether a TTFT error exceeds its own bound. `off_ms` counts from before the server's first write; the token left
    during that write, in which the server may be held."""
    writing_ms = ((true.get("first_written_ns") or true["first_write_ns"]) - true["first_write_ns"]) / 1e6
    return max(off_ms - writing_ms, -off_ms) > bound_ms + _STAMP_COST_MS


def _steady(run: Path, window: PhaseRecord) -> tuple[float, float, int, float]:
    """(seconds, CPU seconds, tokens, growth of memory in MiB) of all load generators together, inside the window."""
    sources: dict[str, list[dict[str, str]]] = {}
    for row in _table(run / HOST_METRICS_CSV):
        if row["source"].startswith("worker") and window.start + _MARGIN_S < float(row["at"]) < present(window.end):
            sources.setdefault(row["source"], []).append(row)
    if not sources or min(map(len, sources.values())) < 3:
        raise UserError(Exit.LOAD_GENERATOR, "the run was too short to judge; give it more seconds")
    spans, cpu_s, tokens, growths = zip(*(_steady_worker(samples) for samples in sources.values()), strict=True)
    return statistics.mean(spans), sum(cpu_s), sum(tokens), max(growths)


def _steady_worker(samples: Sequence[Mapping[str, str]]) -> tuple[float, float, int, float]:
    times = [float(row["at"]) for row in samples]
    parts = [(later - earlier, row) for earlier, later, row in zip(times, times[1:], samples[1:], strict=False)]
    memory = [float(row["rss_mb"]) for row in samples if len(samples) < 60 or float(row["at"]) > times[0] + _SETTLE_S]
    some = max(1, len(memory) // 10)
    growth = statistics.median(memory[-some:]) - statistics.median(memory[:some])
    return (
        sum(length for length, _ in parts),
        sum(length * float(row["cpu_share"]) for length, row in parts),
        sum(int(row["tokens"]) for _, row in parts),
        growth,
    )


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[int(share * (len(ordered) - 1))]
