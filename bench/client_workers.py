"""What a second worker adds.

    python bench/client_workers.py [--streams 120] [--rounds 3]

In turn, ROUNDS times: one worker with STREAMS streams of 100 tokens/s, then two workers of one master with as many
streams each. A machine that has a core for the server, one for each worker and one for the master shows the gain as
tokens/s; on a smaller one both workers and their master share the core, and what counts is what a token costs: a
worker has a core's time to spend, so two workers reach 2 x (cost alone / cost of each of two) times the tokens/s of
one. Limits: at least 1.7 times, with the same error limit (TTFT p99 within 2 ms), and no lost request.
"""

from __future__ import annotations

import argparse
import statistics
import sys

from tokenswarm.run.truth_run import KnownLoad, truth_run

_LIMIT_MS = 2.0
_LEAST_GAIN = 1.7


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=120, help="of each worker")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    gains = []
    for number in range(1, arguments.rounds + 1):
        one_worker = truth_run(KnownLoad(arguments.streams, 100.0, 128, 10.0))
        two_workers = truth_run(KnownLoad(2 * arguments.streams, 100.0, 128, 10.0, workers=2))
        gains.append(2 * one_worker.cpu_us_per_token / two_workers.cpu_us_per_token)
        for title, run in (("one worker ", one_worker), ("two workers", two_workers)):
            print(
                f"round {number}: {title} {run.tokens_s:>8,.0f} tok/s  {run.cpu_us_per_token:6.2f} us/token each  "
                f"TTFT error p99 {run.ttft_error_p99_ms:.3f} ms (<= {_LIMIT_MS:g})  lost {run.lost}",
                flush=True,
            )
    print(
        f"two workers reach {statistics.median(gains):.2f} times the tokens/s of one (>= {_LEAST_GAIN}; median of "
        f"{', '.join(f'{gain:.2f}' for gain in gains)})"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
