"""Whole tables of rows of runs in virtual time, as digests: `python -m tests.virtual.row_tables` writes them anew.

They were taken before the model was made faster, and hold what must not change by that: each value of each row, to the
last digit. Write them anew only where the model, the workloads or the users are meant to act differently.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from tokenswarm.base.config_text import parse_set
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.virtual.run import VirtualRun, run
from tokenswarm.virtual.simulated_engine import simulated
from tokenswarm.workloads.corpus import load_corpus

DIGESTS = Path(__file__).with_name("row_tables.json")
SHORT = "load.duration_s=5 load.warmup_s=2 load.drain_s=5 output.max_tokens=24"
TIGHT = "--kv-tokens 12000 --max-num-seqs 8"
"""Memory and places run out: preemption, eviction and a queue."""
CASES: dict[str, tuple[str, str, str]] = {
    "rag": ("rag", f"{SHORT} load.users=6", ""),
    "rag, radix": ("rag", f"{SHORT} load.users=6", "--style sglang"),
    "rag, open": ("rag", f"{SHORT} load.rate=20", ""),
    "rag, open, radix": ("rag", f"{SHORT} load.rate=20", "--style sglang"),
    "rag, tight": ("rag", f"{SHORT} load.users=12", TIGHT),
    "rag, tight, radix": ("rag", f"{SHORT} load.users=12", f"--style sglang {TIGHT}"),
    "rag, small engine, open": ("rag", f"{SHORT} load.rate=8", "--profile l4-3b"),
    "rag, cold, whole prompts": ("rag", f"{SHORT} load.users=6 prompts.state=cold", "--no-chunked-prefill"),
    "rag, no cache, small budget": ("rag", f"{SHORT} load.users=4", "--no-prefix-cache --max-batched-tokens 512"),
    "rag, flat": ("rag", f"{SHORT} load.users=4", "--profile flat"),
    "rag, until steady": ("rag", "load.users=4 load.duration_s=2 output.max_tokens=16", ""),
    "chat": ("chat", f"{SHORT} load.users=8", "--profile l4-3b"),
    "chat, corpus": ("chat", f"{SHORT} load.users=8 chat.assistant_turns=corpus", "--profile l4-3b --style sglang"),
    "chat, open": ("chat", f"{SHORT} load.rate=6", ""),
    "chat, steps": ("chat", f"{SHORT} load.users_steps=[2,9,3] user.think_time_s=0.2", ""),
    "chat-7k": ("chat-7k", f"{SHORT} load.users=4 user.think_time_s=0.2", "--style sglang"),
    "batch, open": ("batch", f"{SHORT} load.rate=30", ""),
    "batch, overloaded": ("batch", f"{SHORT} load.rate=60 load.max_in_flight=40", "--profile l4-3b"),
    "reasoning": ("reasoning", f"{SHORT} load.users=6", "--reasoning always"),
    "agent": ("agent", f"{SHORT} load.users=4", ""),
    "speculation": ("rag", f"{SHORT} load.users=6", "--speculative-tokens 3 --acceptance-rate 0.7"),
    "events of several tokens": ("batch", f"{SHORT} load.users=6", "--stream-interval 4"),
    "impatient": ("rag", f"{SHORT} load.users=12 timeouts.first_token_s=0.1", f"--profile l4-3b {TIGHT}"),
}


def digest(found: VirtualRun) -> str:
    """Of all rows, and of what else the run tells."""
    told = [found.timeline.measure_start, found.unsent, found.arrivals_queued, found.moved, found.warmup.steady]
    whole = repr((told, [sorted(row.items()) for row in found.rows]))
    return f"{len(found.rows)} rows, {hashlib.sha256(whole.encode()).hexdigest()[:24]}"


def digest_of(case: str) -> str:
    """That of a case played now."""
    name, settings, flags = CASES[case]
    scenario = load_scenario(name, parse_set(settings))
    return digest(run(scenario, simulated(*flags.split()), load_corpus(), seed=7))


def main() -> None:
    """Write them all."""
    DIGESTS.write_text(json.dumps({case: digest_of(case) for case in CASES}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
