"""What a search promises where all requests of a moment take about equally long: waves of latency that are slow beside
the requests, and a latency that grows gently with the load. Attainment falls from nearly all to nearly nothing within a
few percent, so that only the margins tell where."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.signal import lfilter
from tokenswarm.analysis.search.attainment import blocks_of
from tokenswarm.analysis.search.capacity_search import Knowledge, judge, next_step
from tokenswarm.analysis.search.load_levels import LoadEvidence, SearchSettings

from tests.statistics.simulated import runs, tolerance

TARGET = 0.95
TRIALS = runs(200, fast=12)


@dataclass(frozen=True)
class Waves:
    """`growth`: by how many percent the latency grows with one percent of load; `wave`, `own`: the standard deviations
    of its logarithm in time and between the requests of one moment; `requests`: how long a wave is; `bend`: how much
    the growth itself grows."""

    growth: float
    wave: float
    own: float
    requests: float
    bend: float = 0.0
    capacity: int = 57

    def margins(self, users: float, count: int, rng: np.random.Generator) -> np.ndarray:
        keeps = math.exp(-1.0 / self.requests)
        steps = rng.normal(0.0, self.wave * math.sqrt(1.0 - keeps**2), count)
        wave = lfilter([1.0], [1.0, -keeps], steps, zi=[keeps * rng.normal(0.0, self.wave)])[0]
        beyond = math.log(users / (self.capacity + 0.5))  # the quantile is at the limit between two numbers of users
        quantile = self.growth * beyond + self.bend * beyond * abs(beyond)
        return np.exp(quantile + wave + rng.normal(0.0, self.own, count) - 1.6449 * math.hypot(self.wave, self.own))

    def search(self, start: int, seed: int) -> tuple[Knowledge, str, int]:
        settings, evidence, sent = SearchSettings(start, target=TARGET), [], 0
        while (step := next_step(settings, evidence)).load is not None:
            margin = self.margins(step.load, step.requests, np.random.default_rng((seed, len(evidence))))
            at = np.arange(len(margin)) + 0.5
            evidence.append(LoadEvidence(step.load, blocks_of(at, margin, (0.0, float(len(at))), TARGET)))
            sent += len(margin)
        return judge(settings, evidence), step.why, sent


ENGINES = {
    "as the simulator's": Waves(0.5, 0.03, 0.025, 150.0),
    "slow waves": Waves(0.7, 0.02, 0.02, 400.0),
    "short waves": Waves(0.4, 0.03, 0.02, 20.0),
    "a line that bends": Waves(0.6, 0.02, 0.03, 100.0, bend=1.5),
    "hardly any waves": Waves(0.5, 0.005, 0.04, 100.0),
}


@pytest.mark.parametrize("name", ENGINES)
def test_the_interval_closes_and_holds_the_capacity(name: str) -> None:
    held, closed, widths, requests = 0, 0, [], []
    for seed in range(TRIALS):
        start = int(np.random.default_rng(seed).integers(12, 130))
        known, _, sent = ENGINES[name].search(start, seed)
        low, high = known.low or 0.0, math.inf if known.high is None else known.high
        held += low <= ENGINES[name].capacity <= high
        closed += low > 0.0 and high < math.inf
        widths.append((high + 1.0) / max(low, 1.0) - 1.0)
        requests.append(sent)
    print(
        f"{name}: held {held / TRIALS:.1%} of {TRIALS}, closed {closed / TRIALS:.1%}, "
        f"median width {np.median(widths):.1%}, median requests {np.median(requests):.0f}"
    )
    assert held >= TRIALS * (0.90 - tolerance(0.10, TRIALS))
    assert closed >= TRIALS * (1.0 - tolerance(0.05, TRIALS))
    assert np.median(widths) <= 0.12
