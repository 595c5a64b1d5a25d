"""Queues of known capacity for tests of searches: G/G/k, first come first served, one request after the other."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

import numpy as np
from tokenswarm.analysis.search.attainment import blocks_of
from tokenswarm.analysis.search.capacity_search import Knowledge, judge, next_step
from tokenswarm.analysis.search.load_levels import RATE, LoadEvidence, SearchSettings

WARMUP, FEWEST_WARMUP = 0.15, 60
"""Requests before each run that are not measured, but counted: a share of it, and at least so many."""


@dataclass(frozen=True)
class Queue:
    """`servers`, gamma arrivals (`arrival_cv`), lognormal service of mean 1 (`service_cv`); a request is good that
    waits at most `limit`."""

    servers: int
    arrival_cv: float
    service_cv: float
    limit: float
    target: float = 0.95

    def margins(self, rate: float, requests: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """When each request comes, and its wait as a share of the limit."""
        shape = self.arrival_cv**-2
        sigma = math.sqrt(math.log(1.0 + self.service_cv**2))
        gaps = rng.gamma(shape, 1.0 / shape / rate, requests)
        service = np.exp(rng.normal(-(sigma**2) / 2.0, sigma, requests))
        free, now, waits = [0.0] * self.servers, 0.0, []
        for gap, length in zip(gaps.tolist(), service.tolist(), strict=True):
            now += gap
            begun = max(now, free[0])
            waits.append(begun - now)
            heapq.heapreplace(free, begun + length)
        return np.cumsum(gaps), np.array(waits) / self.limit

    def capacity(self, requests: int = 600_000) -> float:
        """The rate at which attainment is the target, by bisection over long runs with the same random numbers."""
        low, high = 0.2 * self.servers, float(self.servers)
        for step in range(11):
            middle = math.sqrt(low * high)
            count = requests // 6 if step < 5 else requests
            _, margin = self.margins(middle, count, np.random.default_rng(7))
            above = float((margin[count // 20 :] <= 1.0).mean()) >= self.target
            low, high = (middle, high) if above else (low, middle)
            if step == 4:
                low, high = 0.99 * low, 1.01 * high
        return math.sqrt(low * high)

    def run(self, rate: float, requests: int, seed: tuple[int, ...]) -> tuple[LoadEvidence, int]:
        """One run from an empty queue, and all requests that it took."""
        before = max(FEWEST_WARMUP, int(WARMUP * requests))
        at, margin = self.margins(rate, requests + before, np.random.default_rng(seed))
        return LoadEvidence(
            rate, blocks_of(at[before:], margin[before:], (at[before], at[-1]), self.target)
        ), requests + before


@dataclass(frozen=True)
class Search:
    """How a search ended, and what it took."""

    known: Knowledge
    why: str
    requests: int
    evidence: list[LoadEvidence]


def search(queue: Queue, start: float, seed: int, most_requests: float = math.inf, **settings: float) -> Search:
    """A whole search over runs of the queue."""
    asked = SearchSettings(start, RATE, queue.target, **settings)
    evidence: list[LoadEvidence] = []
    requests = 0
    while True:
        step = next_step(asked, evidence)
        if step.load is None or requests + step.requests > most_requests:
            return Search(judge(asked, evidence), "budget" if step.load is not None else step.why, requests, evidence)
        measured, cost = queue.run(step.load, step.requests, (seed, len(evidence)))
        evidence.append(measured)
        requests += cost


def fixed_probes(start: float, capacity: float, precision: float = 0.10, each: int = 6000) -> int:
    """Requests of the same doubling and bisection with `each` at every level, where none of them decides wrongly."""
    low = high = None
    load, levels = start, 0
    while low is None or high is None or high > low * (1.0 + precision):
        low, high = (load, high) if load <= capacity else (low, load)
        load = load * 2 if high is None else load / 2 if low is None else math.sqrt(low * high)
        levels += 1
    return each * levels
