"""What one worker on one core can handle: many streams, many short requests, many requests in a row.

    python bench/client_scale.py [--rounds 3] [--requests 110000]

streams   500 streams of 112 tokens/s after the first token: 50,000 tokens/s
short     1,000 requests/s of 10 tokens, open loop
memory    the same until --requests have been sent: growth of resident memory after the first 10,000
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import asdict

from tokenswarm.run.truth_run import KnownLoad, TruthRun, truth_run

_SHOWN = (
    "requests",
    "lost",
    "tokens_s",
    "cpu_us_per_token",
    "cpu_share",
    "ttft_error_p50_ms",
    "ttft_error_p99_ms",
    "e2e_error_p99_ms",
    "bound_p99_ms",
    "beyond_bound",
    "server_late_p99_ms",
    "waited_s",
)


def show(title: str, runs: list[TruthRun], limits: dict[str, str], names: tuple[str, ...] = _SHOWN) -> None:
    """Medians of the runs, with their limits."""
    print(f"{title}: medians of {len(runs)}")
    for name in names:
        median = statistics.median(asdict(run)[name] for run in runs)
        print(f"  {name:<20} {median:>12,.3f}   {limits.get(name, '')}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=110_000)
    arguments = parser.parse_args()
    streams = [truth_run(KnownLoad(500, 112.0, 128, 12.0)) for _ in range(arguments.rounds)]
    show("500 streams x 112 tokens/s", streams, {"ttft_error_p99_ms": "< 10", "lost": "= 0", "tokens_s": ">= 50,000"})
    short = [
        truth_run(KnownLoad(400, 500.0, 10, 12.0, ttft_ms=50.0, requests_s=1000.0)) for _ in range(arguments.rounds)
    ]
    show("1,000 requests/s x 10 tokens", short, {"cpu_share": "<= 1 (one core)", "lost": "= 0"})
    long = truth_run(KnownLoad(400, 500.0, 10, arguments.requests / 1000 + 5, ttft_ms=50.0, requests_s=1000.0))
    show(
        f"{long.requests:,} requests in a row", [long], {"rss_growth_mb": "< 1"}, ("requests", "lost", "rss_growth_mb")
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
