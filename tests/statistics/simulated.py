"""Simulated runs with a known truth: latencies that depend on their neighbours in time, as those of a server do."""

from __future__ import annotations

import heapq
import math
import os

import numpy as np
from scipy import stats
from scipy.signal import lfilter

MEDIAN_MS = 100.0


def latencies_ms(
    rng: np.random.Generator,
    count: int,
    *,
    correlation: float,
    spread: float = 0.6,
    run_spread: float = 0.0,
    scale: float = 1.0,
) -> np.ndarray:
    """(count,) lognormal TTFTs in order of time.

    Their logarithms are an AR(1) process: `correlation` is that of neighbours, `spread` their standard deviation.
    `run_spread` is the standard deviation of a shift of the whole run (a restart), `scale` the true effect.
    """
    noise = rng.standard_normal(count)
    noise[0] /= math.sqrt(1.0 - correlation**2)  # so that the process begins where it stays
    process = lfilter([math.sqrt(1.0 - correlation**2)], [1.0, -correlation], noise)
    return scale * MEDIAN_MS * np.exp(spread * process + run_spread * rng.standard_normal())


def true_percentile_ms(q: float, spread: float = 0.6) -> float:
    """Percentile `q` (0..100) of `latencies_ms` without a shift of the run."""
    return MEDIAN_MS * math.exp(spread * float(stats.norm.ppf(q / 100.0)))


def block_amounts(
    rng: np.random.Generator, blocks: int, *, mean: float, spread: float, correlation: float
) -> np.ndarray:
    """(blocks,) amounts of successive blocks of time, such as tokens, as an AR(1) process around `mean`."""
    noise = rng.standard_normal(blocks)
    noise[0] /= math.sqrt(1.0 - correlation**2)
    return mean + spread * lfilter([math.sqrt(1.0 - correlation**2)], [1.0, -correlation], noise)


def queue_ms(rng: np.random.Generator, count: int, *, utilisation: float, settle: int = 3000) -> np.ndarray:
    """(count,) TTFTs of an open loop before one server: wait plus service, in order of arrival.

    Poisson arrivals, lognormal service of 100 ms in the mean; the first `settle` requests are warm-up. Lindley's
    recursion, unrolled: the wait is the walk of (service - gap) above its lowest point so far.
    """
    total = settle + count
    service = rng.lognormal(-0.18, 0.6, total)
    gaps = rng.exponential(1.0 / utilisation, total)
    walk = np.concatenate([[0.0], np.cumsum(service[:-1] - gaps[1:])])
    return 100.0 * (walk - np.minimum.accumulate(walk) + service)[settle:]


def sessions_ms(
    rng: np.random.Generator, count: int, *, alike: float, turns: float = 5.0, users: int = 16
) -> tuple[np.ndarray, np.ndarray]:
    """(latencies in order of time, number of each one's session): `users` whose sessions are interleaved.

    Latencies have the distribution of `latencies_ms`; the share `alike` of their logarithm's variance is the session's.
    """
    user = rng.integers(0, users, count)
    last = rng.random(count) < 1.0 / turns
    session = np.empty(count, dtype=int)
    for number in range(users):
        mine = np.flatnonzero(user == number)
        session[mine] = np.concatenate([[0], np.cumsum(last[mine])[:-1]])[: len(mine)] * users + number
    level = rng.standard_normal(int(session.max()) + 1)[session]
    noise = rng.standard_normal(count)
    return MEDIAN_MS * np.exp(0.6 * (math.sqrt(alike) * level + math.sqrt(1.0 - alike) * noise)), session


def closed_loop_ends(
    rng: np.random.Generator,
    *,
    users: int,
    seconds: int,
    mean_s: float,
    correlation: float,
    spread: float = 0.2,
    settle: int = 20,
) -> np.ndarray:
    """Times in [0, seconds) at which answers end, of users who each ask anew as soon as they are answered.

    An answer takes about `mean_s` times the pace of the second in which it was asked: the engine's pace is a lognormal
    AR(1) process from second to second, so that the answers of one moment are fast or slow together.
    """
    pace = latencies_ms(rng, settle + seconds, correlation=correlation, spread=spread) / MEDIAN_MS
    now, ends = rng.uniform(0.0, mean_s, users), []
    while (now < settle + seconds).any():
        second = np.minimum(now.astype(int), settle + seconds - 1)
        now = now + mean_s * pace[second] * rng.gamma(4.0, 0.25, users)
        ends.append(now)
    moments = np.concatenate(ends) - settle
    return moments[(moments >= 0) & (moments < seconds)]


def runs(full: int, *, fast: int) -> int:
    """How many trials a test makes: `full` with FULL=1, else `fast`."""
    return full if os.environ.get("FULL") == "1" else fast


def tolerance(share: float, trials: int) -> float:
    """What a true share may exceed itself by in so many trials, once in a thousand times at most."""
    return 3.1 * math.sqrt(share * (1.0 - share) / trials)


def servers_queue(
    rng: np.random.Generator,
    *,
    load: float,
    servers: int,
    seconds: float,
    settle: float,
    burstiness: float = 1.0,
    mean_s: float = 0.5,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(arrivals in s, ends in s, TTFT in ms) of an open loop before `servers` servers, first come first served.

    `load`: offered work / what the servers can do. Gaps are gamma with a coefficient of variation `burstiness`,
    service is lognormal, TTFT the wait and a tenth of the service. The first `settle` seconds have negative times.
    """
    rate = load * servers / mean_s
    shape = 1.0 / burstiness**2
    arrivals = np.cumsum(rng.gamma(shape, 1.0 / (shape * rate), int(1.5 * rate * (settle + seconds)) + 50))
    arrivals = arrivals[arrivals < settle + seconds]
    service = mean_s * rng.lognormal(-0.18, 0.6, len(arrivals))
    free = [0.0] * servers
    begun = np.empty(len(arrivals))
    for number, (arrival, length) in enumerate(zip(arrivals, service, strict=True)):
        begun[number] = max(heapq.heappop(free), arrival)
        heapq.heappush(free, begun[number] + length)
    return arrivals - settle, begun + service - settle, 1000.0 * (begun - arrivals + 0.1 * service)
