"""How true is the client, and what does it cost?

A truth-logging server (the simulator's flat profile) on one core, the load generator on another. In turn, ROUNDS times:

  bare   a bare gevent reader: one I/O watcher a socket, recv, a stamp, bytes kept; it parses nothing
  locust the real thing: `locust -f locustfiles/rag.py`, with prompts, records, live figures, health

Printed beside the limits: CPU per streamed token, its ratio to the bare reader's, and the error of the reported TTFT
and E2E against the times at which the server really wrote. Quote medians; a noisy machine shows in "waited".

    python bench/client_truth.py [--streams 160] [--rate 100] [--tokens 128] [--seconds 15] [--rounds 3]
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sim_throughput import Server, figure, pinned

from tokenswarm.schema import HOST_METRICS_CSV, MANIFEST_JSON, REQUESTS_CSV

LIMITS = {"cpu_us": 12.0, "ratio": 1.4, "ttft_p50_ms": 0.3, "ttft_p99_ms": 1.0, "e2e_p99_ms": 10.0}
_STAMP_COST_MS = 0.1
"""Between the server's stamp and the arrival in the client's kernel lies the server's write call."""
_LOAD_CORE = 1
_PROJECT = Path(__file__).resolve().parent.parent


def bare(port: int, streams: int, tokens: int, seconds: float) -> None:
    """The bare reader, in this process (started anew for each round); prints CPU us per token."""
    import _socket

    import gevent
    from gevent.hub import Waiter

    body = json.dumps({"model": "sim-8b", "stream": True, "ignore_eos": True, "max_tokens": tokens,
                       "messages": [{"role": "user", "content": "hello " * 40}]}).encode()
    request = b"POST /v1/chat/completions HTTP/1.1\r\nHost: sim\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    loop = gevent.get_hub().loop
    finished = 0
    end = time.monotonic() + seconds

    def stream(number: int) -> None:
        nonlocal finished
        gevent.sleep(number * 1.3 / streams)
        sock = _socket.socket()
        sock.connect(("127.0.0.1", port))
        sock.setblocking(False)
        watcher = loop.io(sock.fileno(), 1)
        while time.monotonic() < end:
            reads, waiter = [], Waiter()

            def readable(reads: list = reads, waiter: Waiter = waiter) -> None:
                data = sock.recv(65536)
                reads.append((time.monotonic_ns(), data))
                if data.endswith(b"0\r\n\r\n"):
                    watcher.stop()
                    loop.run_callback(waiter.switch, None)

            sock.send(request)
            watcher.start(readable)
            waiter.get()
            finished += 1

    before = resource.getrusage(resource.RUSAGE_SELF)
    gevent.joinall([gevent.spawn(stream, number) for number in range(streams)], raise_error=True)
    after = resource.getrusage(resource.RUSAGE_SELF)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(used / (finished * tokens) * 1e6)


def bare_round(server: Server, arguments: argparse.Namespace) -> float:
    """CPU us per token of the bare reader."""
    command = [sys.executable, __file__, "--bare-port", str(server.port), "--streams", str(arguments.streams),
               "--tokens", str(arguments.tokens), "--seconds", str(arguments.seconds / 2)]
    return float(subprocess.run(pinned(command, _LOAD_CORE), check=True, capture_output=True, text=True).stdout)


def locust_round(arguments: argparse.Namespace) -> dict[str, float]:
    """One Locust run against a server of its own; figures by name."""
    server = Server("--profile", "flat", "--ttft-ms", "100", "--token-gap-ms", str(1000 / arguments.rate))
    with tempfile.TemporaryDirectory(prefix="client-truth-") as results:
        environment = {**os.environ, "RESULTS": results, "MODEL": "sim-8b", "SET":
                       f"output.max_tokens={arguments.tokens} output.ignore_eos=true user.think_time_s=0 "
                       "load.warmup_s=3 rag.document_tokens=200"}
        command = [sys.executable, "-m", "locust", "-f", str(_PROJECT / "locustfiles" / "rag.py"), "--headless",
                   "--host", f"http://127.0.0.1:{server.port}", "-u", str(arguments.streams),
                   "-r", str(arguments.streams / 1.3), "-t", f"{arguments.seconds + 5:.0f}s"]
        offset_s = time.time() - time.monotonic()
        process = subprocess.Popen(pinned(command, _LOAD_CORE), env=environment, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True)
        waited = _waited_s(process.pid)
        while process.poll() is None:
            waited = _waited_s(process.pid) or waited
            time.sleep(0.5)
        truth = {row["request_id"]: row for row in server.stop()}
        folders = list(Path(results).iterdir())
        if process.returncode or not folders:
            raise SystemExit(f"locust ended with {process.returncode}: {process.stderr.read()[-2000:]}")
        [folder] = folders
        return {**judge(folder, truth, offset_s), "waited": waited}


def _waited_s(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def judge(folder: Path, truth: dict[str, dict], offset_s: float) -> dict[str, float]:
    """Errors against the truth and CPU per token, over the measured window."""
    manifest = json.loads((folder / MANIFEST_JSON).read_text())
    window = next(phase for phase in manifest["phases"] if phase["name"] == "measure")
    ttft, e2e, bounds, lost = [], [], [], 0
    for row in read(folder / REQUESTS_CSV):
        if row["phase"] != "measure" or row["status"] == "cancelled":
            continue
        true = truth.get(row["request_id"])
        if row["status"] != "ok" or true is None:
            lost += 1
            continue
        sent_ns = (float(row["sent_at"]) - offset_s) * 1e9
        ttft.append(float(row["ttft_ms"]) - (true["first_write_ns"] - sent_ns) / 1e6)
        e2e.append(float(row["e2e_ms"]) - (true["last_write_ns"] - sent_ns) / 1e6)
        bounds.append(float(row["ttft_uncertainty_ms"]))
    seconds = tokens = cpu_s = 0.0
    previous = None
    for row in read(folder / HOST_METRICS_CSV):
        at = float(row["at"])
        if previous is not None and window["start"] + 1 < at < window["end"] - 0.5:
            seconds += at - previous
            cpu_s += float(row["cpu_share"]) * (at - previous)
            tokens += int(row["tokens"])
        previous = at
    return {"requests": len(ttft), "lost": lost, "tokens_s": tokens / seconds, "cpu_us": cpu_s / tokens * 1e6,
            "cpu_share": cpu_s / seconds, "ttft_p50_ms": quantile(ttft, 0.5), "ttft_p99_ms": quantile(ttft, 0.99),
            "ttft_max_ms": max(map(abs, ttft)), "e2e_p99_ms": quantile(e2e, 0.99),
            "bound_p99_ms": quantile(bounds, 0.99),
            "beyond_bound": sum(error > bound + _STAMP_COST_MS for error, bound in zip(ttft, bounds, strict=True))}


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def quantile(errors: list[float], share: float) -> float:
    """Of the absolute values."""
    ordered = sorted(map(abs, errors))
    return ordered[int(share * (len(ordered) - 1))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=160)
    parser.add_argument("--rate", type=float, default=100.0, help="tokens/s of each stream")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bare-port", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.bare_port:
        bare(arguments.bare_port, arguments.streams, arguments.tokens, arguments.seconds)
        return 0
    rounds = []
    for number in range(arguments.rounds):
        server = Server("--profile", "flat", "--ttft-ms", "100", "--token-gap-ms", str(1000 / arguments.rate))
        bare_us = bare_round(server, arguments)
        server.stop()
        found = locust_round(arguments)
        rounds.append({**found, "bare_us": bare_us, "ratio": found["cpu_us"] / bare_us})
        print(f"round {number + 1}: " + "  ".join(f"{key} {value:,.3f}" for key, value in rounds[-1].items()))
    print(f"medians of {arguments.rounds} rounds: {arguments.streams} streams, {arguments.rate:g} tokens/s each, "
          f"{arguments.tokens} tokens an answer")
    for key in rounds[0]:
        median = statistics.median(found[key] for found in rounds)
        limit = LIMITS.get(key)
        figure(key, f"{median:,.3f}", f"<= {limit}" if limit is not None else "")
    return 0


if __name__ == "__main__":
    sys.exit(main())
