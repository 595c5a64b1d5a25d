"""What a search for a capacity promises of an engine: the simulator's model in virtual time, with two profiles, and a
closed loop of users who chat. The true capacities come from long runs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from tokenswarm.analysis.search.attainment import blocks_of
from tokenswarm.analysis.search.capacity_search import Knowledge, judge, next_step
from tokenswarm.analysis.search.load_levels import LoadEvidence, SearchSettings

from tests.statistics.simulated import runs, tolerance
from tokenswarm.base.config_text import parse_set
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.virtual.run import run
from tokenswarm.virtual.simulated_engine import simulated
from tokenswarm.workloads.corpus import load_corpus

TRIALS = runs(150, fast=1)
TTFT_MS, TPOT_MS, TARGET = 200.0, 50.0, 0.95
_SCENARIO = (
    "load.drain_s=20 load.warmup_max_s=20 load.spawn_rate=50 user.think_time_s=0.5 "
    "chat.answer_tokens.mean=30 chat.answer_tokens.min=4 chat.answer_tokens.max=64 chat.system_tokens=50 "
    "output.max_tokens=64"
)
_SHORTEST_S = 10.0


@dataclass
class Bench:
    """An engine, its true capacity in users (the highest number of which 95% of the requests are in time, in four runs
    of 240 to 300 s at each number around it), and the requests/s that its runs showed."""

    flags: tuple[str, ...]
    capacity: float
    rates: dict[float, float] = field(default_factory=dict)

    def margins(self, users: int, seconds: float, seed: int) -> tuple[np.ndarray, np.ndarray, tuple[float, float], int]:
        """When each request was sent, its worst latency as a share of its limit, the measured window, and all that were
        sent."""
        scenario = load_scenario("chat", parse_set(f"{_SCENARIO} load.users={users} load.duration_s={seconds:.1f}"))
        played = run(scenario, simulated(*self.flags), load_corpus(), seed=seed)
        rows = [row for row in played.rows if row["phase"] == "measure"]
        margin = [_margin(row) for row in rows]
        window = (played.timeline.measure_start, played.timeline.measure_end)
        return np.array([row["sent_at"] for row in rows], dtype=float), np.array(margin), window, len(played.rows)

    def search(self, start: int, seed: int) -> tuple[Knowledge, str, int]:
        """A whole search; what is known, why it ended, and how many requests it sent."""
        settings, evidence, sent = SearchSettings(start, target=TARGET), [], 0
        while (step := next_step(settings, evidence)).load is not None:
            nearest = min(self.rates, key=lambda each: abs(math.log(each / step.load)), default=None)
            rate = self.rates[nearest] * max(1.0, step.load / nearest) if nearest else 0.8 * step.load
            at, margin, window, count = self.margins(
                int(step.load), max(_SHORTEST_S, step.requests / rate), 1000 * seed + len(evidence)
            )
            self.rates[step.load] = len(at) / (window[1] - window[0])
            evidence.append(LoadEvidence(step.load, blocks_of(at, margin, window, TARGET)))
            sent += count
        return judge(settings, evidence), step.why, sent


def _margin(row: dict) -> float:
    if row["status"] != "ok":
        return math.inf
    gaps = max(1, row["completion_tokens"] - 1)
    return max(row["ttft_ms"] / TTFT_MS, (row["last_token_ms"] - row["ttft_ms"]) / gaps / TPOT_MS)


BENCHES = {
    "vllm-like": Bench(("--max-num-seqs", "4"), 14.0),
    "sglang-like": Bench(("--style", "sglang", "--profile", "a100-8b", "--max-num-seqs", "4"), 8.0),
}
CHEAP = ["sglang-like"]
"""A search of it takes 4 s, one of the other 15."""


@pytest.mark.parametrize("name", BENCHES if TRIALS > 1 else CHEAP)
def test_the_interval_of_an_engine_holds_its_capacity(name: str) -> None:
    bench, held, widths = BENCHES[name], 0, []
    for seed in range(TRIALS):
        start = int(np.random.default_rng(seed).integers(3, 40))
        known, why, _ = bench.search(start, seed)
        low, high = known.low or 0.0, known.high or math.inf
        held += low <= bench.capacity <= high
        widths.append((high + 1.0) / max(low, 1.0) - 1.0)
        assert why in ("precision", "neighbours", "undecided", "levels")
    print(f"{name}: held {held / TRIALS:.1%} of {TRIALS}, median width {np.median(widths):.1%}")
    assert held >= TRIALS * (0.90 - tolerance(0.10, TRIALS))
