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
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

from tokenswarm.run.truth_run import MODEL, FlatServer, KnownLoad, cores, pinned, truth_run

LIMITS = {
    "cpu_us_per_token": 12.0,
    "ratio_to_bare": 1.4,
    "ttft_error_p50_ms": 0.3,
    "ttft_error_p99_ms": 1.0,
    "e2e_error_p99_ms": 10.0,
    "lost": 0,
    "beyond_bound": 0,
}


def bare(port: int, streams: int, tokens: int, seconds: float) -> None:
    """The bare reader, in this process (started anew for each round); prints CPU us per token."""
    import _socket

    import gevent
    from gevent.hub import Waiter

    body = json.dumps(
        {
            "model": MODEL,
            "stream": True,
            "ignore_eos": True,
            "max_tokens": tokens,
            "messages": [{"role": "user", "content": "hello " * 40}],
        }
    ).encode()
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


def bare_round(arguments: argparse.Namespace) -> float:
    """CPU us per token of the bare reader, against a server of its own."""
    server_core, load_core = cores()
    with tempfile.TemporaryDirectory(prefix="client-truth-") as folder:
        server = FlatServer(Path(folder), ttft_ms=100, gap_ms=1000 / arguments.rate, core=server_core)
        command = [
            sys.executable,
            __file__,
            "--bare-port",
            str(urlsplit(server.url).port),
            "--streams",
            str(arguments.streams),
            "--tokens",
            str(arguments.tokens),
            "--seconds",
            str(arguments.seconds / 2),
        ]
        try:
            return float(subprocess.run(pinned(command, load_core), check=True, capture_output=True, text=True).stdout)
        finally:
            server.stop()


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
        bare_us = bare_round(arguments)
        measured = asdict(truth_run(KnownLoad(arguments.streams, arguments.rate, arguments.tokens, arguments.seconds)))
        rounds.append(
            {**measured, "bare_us_per_token": bare_us, "ratio_to_bare": measured["cpu_us_per_token"] / bare_us}
        )
        print(f"round {number + 1}: " + "  ".join(f"{key} {value:,.3f}" for key, value in rounds[-1].items()))
    print(
        f"medians of {arguments.rounds} rounds: {arguments.streams} streams, {arguments.rate:g} tokens/s each, "
        f"{arguments.tokens} tokens an answer"
    )
    for key in rounds[0]:
        median = statistics.median(each[key] for each in rounds)
        limit = LIMITS.get(key)
        print(f"  {key:<22} {median:>12,.3f}   {f'<= {limit}' if limit is not None else ''}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
