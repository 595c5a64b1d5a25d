"""What pairs with common work gain over independent seeds, in virtual time, at 30, 80 and 90% load, open and closed
loop: python bench/pair_gain.py [SEEDS] [SECONDS] [LOAD ...]

Side B is the same engine, 10% slower (time scale 0.9). Of TTFT p95: its ratio, the spread of log B/A with common seeds
and with independent ones, the pairs that a true 5, 10 and 20% in the figure take for 80% power with either, and how
often equal sides are called different by five pairs. In virtual time equal sides with one seed are equal to the last
digit, so their differences are those of B with the mean taken out and a sign by chance.
"""

from __future__ import annotations

import math
import sys

import numpy as np
from tokenswarm.analysis.compare.ab_test import Reading, difference, pairs_for

from tokenswarm.base.config_text import parse_set
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.scenario.model import Scenario
from tokenswarm.virtual.engine import simulated
from tokenswarm.virtual.run import VirtualRun, run
from tokenswarm.workloads.corpus import load_corpus

CORPUS = load_corpus()
SETTINGS = "output.max_tokens=32 load.warmup_s=8"
LOADS = (0.3, 0.8, 0.9)
SLOWER = 0.9
FOUND_PAIRS, TRIALS = 5, 2000
MOST_USERS = 512


def scenario(seconds: float, **load: float) -> Scenario:
    """rag with short answers under this load."""
    more = " ".join(f"load.{name}={value}" for name, value in load.items())
    return load_scenario("rag", parse_set(f"{SETTINGS} load.duration_s={seconds:g} {more}"))


def one(what: Scenario, seed: int, speed: float = 1.0) -> VirtualRun:
    """A run of the engine at this speed."""
    return run(what, simulated("--time-scale", f"{speed:g}"), CORPUS, seed=seed, salt=f"gain-{seed}")


def p95_ms(result: VirtualRun) -> float:
    """TTFT p95."""
    return float(np.percentile([row["ttft_ms"] for row in result.measured() if row["status"] == "ok"], 95))


def completed_s(users: int, seconds: float) -> float:
    """Answers a second of so many users."""
    return sum(1 for row in one(scenario(seconds, users=users, spawn_rate=users), 1).measured()) / seconds


def settings_at(seconds: float, loads: tuple[float, ...]) -> dict[str, dict[float, Scenario]]:
    """The scenarios at these shares of what the engine can do, by kind of loop."""
    rates: dict[int, float] = {}
    users = 4
    while users <= MOST_USERS:
        rates[users] = completed_s(users, seconds)
        if users > 4 and rates[users] < 1.05 * rates[users // 2]:
            break
        users *= 2
    most, counts = max(rates.values()), sorted(rates)
    print(f"capacity {most:.1f} requests/s; " + ", ".join(f"{count} users {rates[count]:.1f}" for count in counts))
    for_load = {
        load: max(1, round(float(np.interp(load * most, [rates[count] for count in counts], counts)))) for load in loads
    }
    return {
        "open": {load: scenario(seconds, rate=round(load * most, 2)) for load in loads},
        "closed": {load: scenario(seconds, users=for_load[load], spawn_rate=for_load[load]) for load in loads},
    }


def called_different(apart: np.ndarray) -> float:
    """Share of series of FOUND_PAIRS pairs of equal sides in which a difference is found."""
    rng = np.random.default_rng(1)
    centred, hits = apart - apart.mean(), 0
    for _ in range(TRIALS):
        drawn = rng.choice(centred, FOUND_PAIRS) * rng.choice((-1.0, 1.0), FOUND_PAIRS)
        a, b = [Reading(100.0)] * FOUND_PAIRS, [Reading(100.0 * math.exp(each)) for each in drawn]
        result = difference(a, b, ratio=True, paired=True)
        hits += result is not None and result.significant
    return hits / TRIALS


def main() -> None:
    """One line a loop and load."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 20.0
    loads = tuple(map(float, sys.argv[3:])) or LOADS
    print(
        f"{'loop':8}{'load':>6}{'p95 ms':>8}{'B/A':>7}{'spread: common':>16}{'independent':>13}"
        f"{'pairs for 5/10/20%: common':>29}{'independent':>14}{'factor':>8}{'A/A':>7}",
        flush=True,
    )
    for loop, levels in settings_at(seconds, loads).items():
        for load, what in levels.items():
            a, b = (np.log([p95_ms(one(what, seed, speed)) for seed in range(1, seeds + 1)]) for speed in (1.0, SLOWER))
            common = b - a
            independent = np.array([b[j] - a[i] for i in range(seeds) for j in range(seeds) if i != j])
            spreads = float(common.std(ddof=1)), float(math.sqrt(np.mean((independent - independent.mean()) ** 2)))
            needed = [
                "/".join(str(pairs_for(math.log1p(effect), spread) or ">1000") for effect in (0.05, 0.1, 0.2))
                for spread in spreads
            ]
            print(
                f"{loop:8}{load:6.0%}{math.exp(a.mean()):8.0f}{math.exp(common.mean()):7.2f}{spreads[0]:16.3f}"
                f"{spreads[1]:13.3f}{needed[0]:>29}{needed[1]:>14}{(spreads[1] / spreads[0]) ** 2:8.1f}"
                f"{called_different(common):7.1%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
