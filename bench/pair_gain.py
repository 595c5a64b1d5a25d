"""What pairs with common work gain over independent seeds, in virtual time, at 30, 80 and 90% load:
python bench/pair_gain.py [--loop open closed] [--seeds 10] [--seconds 12] [--load 0.3 0.8 0.9]

Of TTFT p95 of rag with short answers, by loop and load, over pairs with a seed each:

- A and C are the same engine on a machine whose speed differs by 1% from run to run (standard deviation), for in
  virtual time equal sides with one seed are equal to the last digit: how far log C/A spreads where both have the same
  seed, and where they have independent ones; the pairs that a true 5, 10 and 20% in the figure take for 80% power with
  either; and the factor between them;
- B is 10% slower: its ratio to A, and the pairs that this takes. Near capacity that is far more than 10% in the figure,
  and differs from seed to seed;
- in the end, how often five pairs of equal sides are called different: pairs of all lines, scaled to one spread, of
  which five are drawn; which of two equal sides is A is chance.
"""

from __future__ import annotations

import argparse
import math
import sys
from random import Random

import numpy as np
from tokenswarm.analysis.compare.ab_test import Reading, difference, pairs_for

from tokenswarm.base.config_text import parse_set
from tokenswarm.base.presence import present
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.scenario.model import Scenario
from tokenswarm.virtual.run import VirtualRun, run
from tokenswarm.virtual.simulated_engine import simulated
from tokenswarm.workloads.corpus import load_corpus

CORPUS = load_corpus()
SETTINGS = "output.max_tokens=32 load.warmup_s=5"
SLOWER, NOISE = 0.9, 0.01
FOUND_PAIRS, TRIALS = 5, 2000
MOST_USERS = 512
HEADS = (
    "loop",
    "load",
    "requests",
    "p95 ms",
    "spread, common work",
    "independent seeds",
    "pairs for 5 / 10 / 20%",
    "with independent seeds",
    "factor",
    "10% slower: B/A",
    "pairs",
    "with independent seeds",
)


def partner(what: Scenario, first: VirtualRun) -> Scenario:
    """The scenario of a pair's second run, which uses what the first one's warm-up measured, as in `compare`."""
    return what.model_copy(
        update={"load": what.load.model_copy(update={"answer_s": present(first.timeline.pace).answer_s})}
    )


def scenario(seconds: float, **load: float) -> Scenario:
    """rag with short answers under this load."""
    more = " ".join(f"load.{name}={value}" for name, value in load.items())
    return load_scenario("rag", parse_set(f"{SETTINGS} load.duration_s={seconds:g} {more}"))


def one(what: Scenario, seed: int, speed: float = 1.0) -> VirtualRun:
    """A run of the engine at this share of its speed."""
    return run(what, simulated("--time-scale", f"{speed:.6f}"), CORPUS, seed=seed, salt=f"gain-{seed}")


def log_p95(result: VirtualRun) -> float:
    """Logarithm of TTFT p95."""
    return math.log(np.percentile([row["ttft_ms"] for row in result.measured() if row["status"] == "ok"], 95))


def completed_s(users: int, seconds: float) -> float:
    """Answers per second with this many users."""
    return sum(1 for row in one(scenario(seconds, users=users, spawn_rate=users), 1).measured()) / seconds


def capacity(seconds: float) -> dict[int, float]:
    """Answers per second; users are doubled until the rate stops growing."""
    rates: dict[int, float] = {}
    users = 32
    while users <= MOST_USERS:
        rates[users] = completed_s(users, seconds)
        if users > 32 and rates[users] < 1.05 * rates[users // 2]:
            break
        users *= 2
    return rates


def at_load(loop: str, load: float, rates: dict[int, float], seconds: float) -> Scenario:
    """The scenario at this share of the engine's capacity."""
    asked, counts = load * max(rates.values()), sorted(rates)
    if loop == "open":
        return scenario(seconds, rate=round(asked, 2))
    users = max(1, round(float(np.interp(asked, [rates[count] for count in counts], counts))))
    return scenario(seconds, users=users, spawn_rate=users)


def called_different(apart: np.ndarray) -> float:
    """Share of series of FOUND_PAIRS pairs of equal sides in which a difference is found."""
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(TRIALS):
        drawn = rng.choice(apart, FOUND_PAIRS, replace=False) * rng.choice((-1.0, 1.0), FOUND_PAIRS)
        a, b = [Reading(100.0)] * FOUND_PAIRS, [Reading(100.0 * math.exp(each)) for each in drawn]
        result = difference(a, b, ratio=True, paired=True)
        hits += result is not None and result.significant
    return hits / TRIALS


def needed(spread: float, *logs: float) -> str:
    """Pairs needed for these differences of the logarithm with 80% power."""
    return " / ".join(str(pairs_for(apart, spread) or "> 1,000") for apart in logs)


def spreads(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Standard deviations of b - a, with the same seeds and with independent ones."""
    apart = [b[j] - a[i] for i in range(len(a)) for j in range(len(a)) if i != j]
    return float((b - a).std(ddof=1)), float(np.std(apart))


def measured(what: Scenario, seeds: range) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """Requests of a run, and log p95 of A, B and C with each seed."""
    noisy = {seed: math.exp(Random(f"speed/{seed}").gauss(0.0, NOISE * math.sqrt(2))) for seed in seeds}
    runs = [one(what, seed) for seed in seeds]
    seconds = [partner(what, each) for each in runs]
    a = np.array([log_p95(each) for each in runs])
    b = np.array([log_p95(one(each, seed, SLOWER)) for each, seed in zip(seconds, seeds, strict=True)])
    c = np.array([log_p95(one(each, seed, noisy[seed])) for each, seed in zip(seconds, seeds, strict=True)])
    return float(np.mean([sum(1 for _ in each.measured()) for each in runs])), a, b, c


def cells(requests: float, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> list[str]:
    """The row of the table of one loop and load."""
    common, independent = spreads(a, c)
    of_b = spreads(a, b)
    effects = [math.log1p(effect) for effect in (0.05, 0.1, 0.2)]
    slower = abs(float((b - a).mean()))
    return [
        f"{requests:.0f}",
        f"{math.exp(a.mean()):.0f}",
        f"{common:.3f}",
        f"{independent:.3f}",
        needed(common, *effects),
        needed(independent, *effects),
        f"{(independent / common) ** 2:.1f}",
        f"{math.exp(slower):.2f}",
        needed(of_b[0], slower),
        needed(of_b[1], slower),
    ]


def main() -> None:
    """One row per loop and load, as a Markdown table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--loop", nargs="+", choices=("open", "closed"), default=["open", "closed"])
    parser.add_argument("--load", nargs="+", type=float, default=[0.3, 0.8, 0.9])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=12.0)
    asked = parser.parse_args()
    rates = capacity(asked.seconds)
    print(f"capacity {max(rates.values()):.1f} requests/s; {rates}", file=sys.stderr, flush=True)
    print("|", " | ".join(HEADS), "|\n" + "|---" * len(HEADS) + "|", flush=True)
    equal = []
    for loop in asked.loop:
        for load in asked.load:
            requests, a, b, c = measured(at_load(loop, load, rates, asked.seconds), range(1, asked.seeds + 1))
            print("|", " | ".join([loop, f"{load:.0%}", *cells(requests, a, b, c)]), "|", flush=True)
            equal.append((c - a) / math.sqrt(float(np.mean((c - a) ** 2))))
    print(f"equal sides called different by {FOUND_PAIRS} pairs: {called_different(np.concatenate(equal)):.1%}")


if __name__ == "__main__":
    main()
