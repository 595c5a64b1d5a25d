"""How many runs a minute virtual time gives, and what one costs: python bench/virtual_runs.py [SECONDS]

Each run has another seed, as in a study of statistics. CPU time of one core, so that a busy machine tells the same.
"""

from __future__ import annotations

import sys
import time

from tokenswarm.base.config_text import parse_set
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.virtual.run import run
from tokenswarm.virtual.simulated_engine import simulated
from tokenswarm.workloads.corpus import load_corpus

CASES = {
    "short closed loop: chat, 8 users, 100 requests": (
        "chat",
        "load.users=8 load.duration_s=25 load.warmup_s=2 output.max_tokens=16 chat.answer_tokens=16 "
        "chat.assistant_turns=corpus chat.message_tokens=30 chat.history_limit_tokens=600 chat.system_tokens=60",
    ),
    "short open loop: batch, 20 requests/s, 100 requests": (
        "batch",
        "load.rate=20 load.duration_s=4 load.warmup_s=1 output.max_tokens=8",
    ),
    "rag as it comes: 16 users, 30 s": ("rag", "load.duration_s=30 load.warmup_s=5"),
    "rag, open loop at 30 requests/s, 20 s": ("rag", "load.rate=30 load.duration_s=20 load.warmup_s=5"),
}


def main() -> None:
    """One line per case."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    corpus, config = load_corpus(), simulated()
    print(f"{'case':55}{'requests':>10}{'tokens':>9}{'ms a run':>10}{'runs a minute':>15}")
    for name, (scenario_name, settings) in CASES.items():
        scenario = load_scenario(scenario_name, parse_set(settings))
        run(scenario, config, corpus, seed=0)
        begin, runs, requests, tokens = time.process_time(), 0, 0, 0
        while (spent_s := time.process_time() - begin) < seconds:
            runs += 1
            rows = run(scenario, config, corpus, seed=runs).rows
            requests += len(rows)
            tokens += sum(row["completion_tokens"] or 0 for row in rows)
        print(
            f"{name:55}{requests / runs:10.0f}{tokens / runs:9.0f}{1e3 * spent_s / runs:10.1f}"
            f"{60 * runs / spent_s:15.0f}"
        )


if __name__ == "__main__":
    main()
