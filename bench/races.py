"""Races over settings of the simulator in virtual time: python bench/races.py [SEEDS] [RACES]

Every candidate is run on every seed; its mean over all of them is its true worth. Then races draw their seeds from
these runs. One line a space: how often the winner is within 3% of the best, and the runs against a grid of 8 repeats.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence

import numpy as np
from tokenswarm.analysis.search.race import Race

from tokenswarm.base.config_text import parse_set
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.virtual.run import run
from tokenswarm.virtual.simulated_engine import simulated
from tokenswarm.workloads.corpus import load_corpus

CHAT = (
    "chat.assistant_turns=corpus chat.message_tokens=60 chat.history_limit_tokens=600 chat.system_tokens=60 "
    "output.max_tokens=32 chat.answer_tokens=32 load.duration_s=25 load.warmup_s=3 "
)
SPACES = {
    "chat, 24 users, 12 candidates": (CHAT + "load.users=24", (2, 4, 6, 8), (128, 512, 2048), (200.0, 20.0)),
    "chat, 24 users, 18 candidates": (CHAT + "load.users=24", (2, 3, 4, 6, 8, 16), (128, 512, 2048), (60.0, 20.0)),
    "chat, 32 users, 24 candidates": (CHAT + "load.users=32", (2, 3, 4, 6, 8, 16), (64, 128, 512, 2048), (100.0, 20.0)),
}
"""Settings, sequences, prefill budgets, limits of TTFT and TPOT in ms."""
GRID_REPEATS = 8


def goodput(settings: str, sequences: int, budget: int, limits: tuple[float, float], seed: int) -> float:
    """Requests per second within the limits, in one run."""
    scenario = load_scenario("chat", parse_set(settings))
    config = simulated("--max-num-seqs", str(sequences), "--max-batched-tokens", str(budget))
    rows = [row for row in run(scenario, config, load_corpus(), seed=seed).measured() if row["status"] == "ok"]
    good = sum(
        row["ttft_ms"] <= limits[0]
        and (row["e2e_ms"] - row["ttft_ms"]) / max((row["completion_tokens"] or 1) - 1, 1) <= limits[1]
        for row in rows
    )
    return good / scenario.load.duration_s


def races(table: np.ndarray, count: int) -> tuple[float, float]:
    """(share of races whose winner is within 3% of the best, median share of a grid's runs)."""
    truth = table.mean(axis=1)
    rng, good, shares = np.random.default_rng(1), 0, []
    for _ in range(count):
        race, seeds = Race([str(each) for each in range(len(table))]), iter(rng.permutation(table.shape[1]))
        while race.over is None:
            seed = next(seeds)
            race.record_round({each: float(table[int(each), seed]) for each in race.survivors})
        good += truth[int(race.winner or 0)] >= truth.max() / 1.03
        shares.append(sum(map(len, race.figures.values())) / (GRID_REPEATS * len(table)))
    return good / count, float(np.median(shares))


def main(arguments: Sequence[str]) -> None:
    """One line per space."""
    seeds, count = map(int, (*arguments, *("40", "100")[len(arguments) :]))
    print(f"{'space':34}{'worth of best / worst':>24}{'within 3%':>11}{'of grid':>9}")
    for name, (settings, sequences, budgets, limits) in SPACES.items():
        table = np.array(
            [
                [goodput(settings, *each, limits, seed) for seed in range(seeds)]
                for each in itertools.product(sequences, budgets)
            ]
        )
        worth = table.mean(axis=1)
        good, share = races(table, count)
        print(f"{name:34}{worth.max():14.2f}{worth.min():10.2f}{good:11.0%}{share:9.0%}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
