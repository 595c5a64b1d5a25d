"""How long a profile takes, and how much memory, for many requests.

    python bench/profile_scale.py [REQUESTS]

Writes a trace of REQUESTS requests (default 1,000,000; Mooncake's format, about 25 blocks each, in sessions that grow),
profiles it in a process of its own, and prints time and peak memory beside their limits. Exits with 1 when a limit is
exceeded (limits are for 1,000,000 requests and scale with REQUESTS beyond). On a machine that others use too, the time
of the CPU says about how long it would take alone: all of it is one thread.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random

SECONDS_LIMIT, MIB_LIMIT = 60.0, 1536.0
BLOCK = 512

CHILD = """
import json, resource, sys, time
begin, cpu = time.perf_counter(), time.process_time()
from tokenswarm.analysis.traffic.columns import collect
from tokenswarm.analysis.traffic.workload_profile import profile
from tokenswarm.traces.reader import open_trace
found = profile(collect(open_trace(sys.argv[1]).requests()))
took, cpu = time.perf_counter() - begin, time.process_time() - cpu
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"seconds": took, "cpu_seconds": cpu, "peak_mib": peak, "requests": found.requests,
                  "hit_rate": found.hit_rate.unbounded}))
"""


def write_trace(path: Path, requests: int) -> None:
    """Sessions that grow by some blocks per turn, after one of fifty system prompts; 3 arrivals per second."""
    rng = Random(1)
    systems = [list(range(n * 20, n * 20 + rng.randrange(1, 12))) for n in range(50)]
    open_sessions: list[list[int]] = []
    next_id, time_ms = 1_000_000, 0.0
    with path.open("w") as stream:
        for _ in range(requests):
            time_ms += rng.expovariate(3 / 1000)
            if open_sessions and rng.random() < 0.6:
                at = rng.randrange(len(open_sessions))
                session = open_sessions[at] = open_sessions[at] + list(range(next_id, next_id + rng.randrange(1, 6)))
                if len(session) > 120:
                    open_sessions[at] = open_sessions[-1]
                    open_sessions.pop()
            else:
                session = systems[rng.randrange(50)] + list(range(next_id, next_id + rng.randrange(1, 40)))
                open_sessions.append(session)
            next_id += 64
            if len(open_sessions) > 500:
                open_sessions.pop(0)
            length = len(session) * BLOCK - rng.randrange(BLOCK)
            stream.write(
                json.dumps(
                    {
                        "timestamp": round(time_ms),
                        "input_length": length,
                        "output_length": rng.randrange(1, 900),
                        "hash_ids": session,
                    }
                )
                + "\n"
            )


def main() -> int:
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("requests", nargs="?", type=int, default=1_000_000)
    requests = parser.parse_args().requests
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.jsonl"
        write_trace(path, requests)
        size_mb = path.stat().st_size / 1e6
        result = json.loads(
            subprocess.run([sys.executable, "-c", CHILD, str(path)], check=True, stdout=subprocess.PIPE).stdout
        )
    scale = max(1.0, requests / 1_000_000)
    print(
        f"{result['requests']:,} requests ({size_mb:,.0f} MB, hit rate {result['hit_rate']:.1%}): "
        f"{result['seconds']:.1f} s (limit {SECONDS_LIMIT * scale:.0f}; {result['cpu_seconds']:.1f} s of CPU), "
        f"{result['peak_mib']:,.0f} MiB (limit {MIB_LIMIT * scale:,.0f})"
    )
    return int(result["seconds"] > SECONDS_LIMIT * scale or result["peak_mib"] > MIB_LIMIT * scale)


if __name__ == "__main__":
    sys.exit(main())
