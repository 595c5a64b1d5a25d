"""What a level's interval promises where bad requests come together: at a load that just meets its target it is seldom
called sure, however often it is looked at; and it grows narrower with the requests.

`usual` is what loads beside the target show of dependence: here the truth of each process, from long runs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tokenswarm.analysis.search.attainment import (
    ERROR,
    Attainment,
    Blocks,
    attainment,
    blocks_of,
    error_of_a_look,
    fewest_requests,
)

from tests.analysis.search.queues import Queue
from tests.statistics.simulated import latencies_ms, runs, tolerance, true_percentile_ms

TARGET, LOOKS = 0.95, 6
TRIALS = runs(1000, fast=60)
EACH = error_of_a_look()
QUEUE = Queue(servers=32, arrival_cv=1.2, service_cv=1.0, limit=0.25)
AT_CAPACITY, SETTLE = 25.64, 3000
Process = Callable[[np.random.Generator, int], np.ndarray]


def independent(rng: np.random.Generator, count: int) -> np.ndarray:
    return np.where(rng.random(count) < 1.0 - TARGET, 1.5, 0.7)


def neighbours(rng: np.random.Generator, count: int) -> np.ndarray:
    return latencies_ms(rng, count, correlation=0.94) / true_percentile_ms(100.0 * TARGET)


def bursts(length: int) -> Process:
    """So many bad requests at a time, at random; what is good tells nothing of them."""

    def process(rng: np.random.Generator, count: int) -> np.ndarray:
        begin = rng.random(count + length) < -np.log(TARGET) / length
        begun = np.concatenate([[0], np.cumsum(begin)])
        inside = begun[length:-1] - begun[: -length - 1] > 0
        return np.where(inside[:count], 1.5, rng.uniform(0.2, 0.9, count))

    return process


def queue(rng: np.random.Generator, count: int) -> np.ndarray:
    return QUEUE.margins(AT_CAPACITY, SETTLE + count, rng)[1][SETTLE:]


PROCESSES: dict[str, tuple[Process, float]] = {
    "independent": (independent, 1.0),
    "neighbours": (neighbours, 15.0),
    "bursts of 20": (bursts(20), 20.0),
    "bursts of 100": (bursts(100), 100.0),
    "a queue near saturation": (queue, 80.0),
}


def run_of(margin: np.ndarray) -> Blocks:
    return blocks_of(np.arange(len(margin)) + 0.5, margin, (0.0, float(len(margin))), TARGET)


def looks(process: Process, usual: float, seed: int) -> list[Attainment]:
    """A level that is measured again and again, each time for as long as all before."""
    rng, runs_so_far, seen = np.random.default_rng(seed), [], []
    count = fewest_requests(TARGET, EACH)
    for _ in range(LOOKS):
        runs_so_far.append(run_of(process(rng, count)))
        seen.append(attainment(runs_so_far, EACH, usual))
        count = seen[-1].requests
    return seen


@pytest.mark.parametrize("name", PROCESSES)
def test_a_load_that_just_meets_its_target_is_seldom_called_sure_at_any_look(name: str) -> None:
    process, usual = PROCESSES[name]
    trials = TRIALS if process is not queue else max(20, TRIALS // 5)
    seen = [looks(process, usual, seed) for seed in range(trials)]
    passed = sum(any(each.low > TARGET for each in one) for one in seen) / trials
    failed = sum(any(each.high < TARGET for each in one) for one in seen) / trials
    wide = [float(np.median([one[look].high - one[look].low for one in seen])) for look in (0, LOOKS - 1)]
    print(f"{name}: called a pass {passed:.1%}, a fail {failed:.1%} of {trials}; width {wide[0]:.3f} to {wide[1]:.3f}")
    assert max(passed, failed) <= ERROR + tolerance(ERROR, trials)
    assert wide[1] < 0.5 * wide[0], "32 times the requests"


def test_one_bad_request_of_tens_of_thousands_is_no_cluster() -> None:
    """Requests whose slowest come in waves far below the limit, and a single late one."""
    rng = np.random.default_rng(3)
    calm = np.clip(latencies_ms(rng, 26_000, correlation=0.94, spread=0.05) / 125.0, 0.0, 0.99)
    late = calm.copy()
    late[7_000] = 1.4
    without, with_it = (attainment([run_of(margin)], EACH, 60.0) for margin in (calm, late))
    assert without.state(TARGET) == with_it.state(TARGET) == "pass"
    assert with_it.low == pytest.approx(without.low, abs=0.003)
