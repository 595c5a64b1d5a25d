"""Is the engine simulator quick and punctual enough to judge a client by?

Starts the simulator on one core and a bare epoll reader on another (it parses nothing: it counts bytes), and reads
the truth log. Two parts:

1. pace: STREAMS streams of the flat profile at RATE tokens/s each, begun evenly over a while and renewed when they end.
   Lateness = time of the write - time that the model wanted. Limits: 30,000 tokens/s in all, p99 under 2 ms.
2. peak: the instant profile, which writes as fast as it can.

    python bench/sim_throughput.py [--streams 330] [--rate 100] [--seconds 6] [--repeat 3] [--profile flat]
"""

from __future__ import annotations

import argparse
import os
import resource
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tokenswarm.sim.truth import read_truth

LIMIT_TOKENS_S = 30_000
LIMIT_LATE_P99_MS = 2.0
DISTURBED = 0.02
"""Share of the time without its CPU from which the figures reflect the machine's other work."""

_SERVER_CORE, _READER_CORE = 0, 1
_BODY = (
    b'{"model":"sim-8b","stream":true,"ignore_eos":true,"max_tokens":%d,"messages":[{"role":"user","content":"%d"}]}'
)


class Server:
    """The simulator in a process of its own, pinned to a core, with a truth log."""

    def __init__(self, *flags: str) -> None:
        self.log = Path(tempfile.mkstemp(prefix="sim-truth-", suffix=".csv")[1])
        command = [sys.executable, "-m", "tokenswarm.sim", "--truth-log", str(self.log), "--truth-tokens", *flags]
        self._process = subprocess.Popen(pinned(command, _SERVER_CORE), stdout=subprocess.PIPE, text=True)
        line = self._process.stdout.readline()
        if not line.startswith("listening on http://127.0.0.1:"):
            raise SystemExit(f"the simulator did not start: {line!r}")
        self.port = int(line.rsplit(":", 1)[1])

    def cpu_s(self) -> float:
        """CPU seconds that the process has used."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def waited_s(self) -> float:
        """Seconds in which the process was ready to run but had no CPU, because others used its core."""
        return int(Path(f"/proc/{self._process.pid}/schedstat").read_text().split()[1]) / 1e9

    def stop(self) -> list[dict[str, object]]:
        """Ends it and returns the truth."""
        self._process.terminate()
        self._process.wait(10)
        rows = read_truth(self.log)
        self.log.unlink()
        return rows


def pinned(command: list[str], core: int) -> list[str]:
    """The command pinned to one core, if the machine has several."""
    return ["taskset", "-c", str(core), *command] if (os.cpu_count() or 1) > 1 else command


def read_streams(port: int, streams: int, tokens: int, seconds: float, ramp_s: float) -> int:
    """Keep this many streams open for a time, and read until all have ended. Returns the bytes received."""
    poll = select.epoll()
    sockets: dict[int, socket.socket] = {}
    sent = 0
    received = 0
    start = time.monotonic()
    end = start + seconds

    def ask(client: socket.socket) -> None:
        nonlocal sent
        body = _BODY % (tokens, sent)
        sent += 1
        client.send(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: sim\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )

    opened = 0
    while opened < streams or sockets:
        while opened < streams and time.monotonic() >= start + opened * ramp_s / streams:
            client = socket.create_connection(("127.0.0.1", port))
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.setblocking(False)
            sockets[client.fileno()] = client
            poll.register(client, select.EPOLLIN)
            ask(client)
            opened += 1
        for number, _ in poll.poll(0.002 if opened < streams else 1.0):
            client = sockets[number]
            data = client.recv(1 << 18)
            received += len(data)
            if not data.endswith(b"0\r\n\r\n"):
                if data:
                    continue
                raise SystemExit("the simulator closed a connection")
            if time.monotonic() < end:
                ask(client)
            else:
                poll.unregister(client)
                client.close()
                del sockets[number]
    return received


def pace(arguments: argparse.Namespace) -> dict[str, float]:
    """Part 1, once: the figures by name."""
    flags = ["--profile", arguments.profile]
    if arguments.profile == "flat":
        flags += ["--token-gap-ms", str(1000 / arguments.rate), "--ttft-ms", "100"]
    server = Server(*flags)
    cpu_s, waited_s, own_s = server.cpu_s(), server.waited_s(), own_cpu_s()
    started_ns = time.monotonic_ns()
    read_streams(server.port, arguments.streams, arguments.tokens, arguments.seconds, ramp_s=1.0)
    wall_s = (time.monotonic_ns() - started_ns) / 1e9
    cpu_s, waited_s, own_s = server.cpu_s() - cpu_s, server.waited_s() - waited_s, own_cpu_s() - own_s
    rows = server.stop()
    stamps = [
        (write, write - model) for row in rows for write, model in zip(row["write_ns"], row["model_ns"], strict=True)
    ]
    # the ramps at both ends are not part of the steady state
    start_ns, end_ns = started_ns + int(1.5e9), started_ns + int(arguments.seconds * 1e9)
    late_ms = sorted(late / 1e6 for write, late in stamps if start_ns <= write < end_ns)
    return {
        "tokens_s": len(late_ms) / ((end_ns - start_ns) / 1e9),
        "late_p50_ms": late_ms[len(late_ms) // 2],
        "late_p99_ms": late_ms[int(0.99 * len(late_ms))],
        "late_max_ms": late_ms[-1],
        "cpu_us": cpu_s / len(stamps) * 1e6,
        "reader_us": own_s / len(stamps) * 1e6,
        "waited": waited_s / wall_s,
    }


def own_cpu_s() -> float:
    """CPU seconds of this process: the reader."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def show_paces(arguments: argparse.Namespace) -> bool:
    """Part 1, repeated: each figure of each repeat and its median; True if the medians are within the limits."""
    repeats = [pace(arguments) for _ in range(arguments.repeat)]
    medians = {name: statistics.median(repeat[name] for repeat in repeats) for name in repeats[0]}
    met = medians["tokens_s"] >= LIMIT_TOKENS_S and medians["late_p99_ms"] < LIMIT_LATE_P99_MS
    print(f"pace ({arguments.profile}, {arguments.streams} streams, {arguments.tokens} tokens an answer)")
    rows = [
        ("tokens/s", "tokens_s", "{:,.0f}", f">= {LIMIT_TOKENS_S:,}"),
        ("lateness p50, ms", "late_p50_ms", "{:.3f}", ""),
        ("lateness p99, ms", "late_p99_ms", "{:.3f}", f"< {LIMIT_LATE_P99_MS}"),
        ("lateness max, ms", "late_max_ms", "{:.3f}", ""),
        ("CPU of the simulator, us a token", "cpu_us", "{:.1f}", ""),
        ("CPU of the reader, us a token", "reader_us", "{:.1f}", ""),
        ("time waited for a CPU", "waited", "{:.1%}", ""),
    ]
    for title, name, form, limit in rows:
        each = " ".join(form.format(repeat[name]) for repeat in repeats)
        print(f"  {title:<33} {form.format(medians[name]):>10}   {limit:<10} ({each})")
    if medians["waited"] > DISTURBED:
        print(f"  disturbed: other processes took its core for {medians['waited']:.0%} of the time; repeat it alone")
    return met


def peak(arguments: argparse.Namespace) -> None:
    """Part 2. Prints the rate at which the simulator writes without any pacing."""
    server = Server("--profile", "instant")
    cpu_s = server.cpu_s()
    read_streams(server.port, 32, 512, 3.0, ramp_s=0.1)
    cpu_s = server.cpu_s() - cpu_s
    rows = server.stop()
    first, last = min(row["first_write_ns"] for row in rows), max(row["last_write_ns"] for row in rows)
    tokens = sum(row["tokens"] for row in rows)
    print("peak (instant, 32 streams)")
    print(f"  {'tokens/s':<33} {tokens / (last - first) * 1e9:>10,.0f}")
    print(f"  {'CPU of the simulator, us a token':<33} {cpu_s / tokens * 1e6:>10.1f}")


def main() -> int:
    """Runs both parts; 1 if a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=330)
    parser.add_argument("--rate", type=float, default=100.0, help="tokens/s of each stream")
    parser.add_argument("--tokens", type=int, default=1024, help="tokens an answer")
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--profile", default="flat")
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {_READER_CORE})
    met = show_paces(arguments)
    peak(arguments)
    print("limits met" if met else "LIMITS MISSED")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
