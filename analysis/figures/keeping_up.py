"""Whether engine and load kept up with each other: overload of an open loop, Little's law in a closed one.

Little's law: the mean number in flight is the completion rate times the time in the system (Little, Operations Research
9, 1961). The load generator samples what it has in flight. The rows give the rest, corrected at the borders of the
window, since each request counts for the part of it that lies inside. Any difference is time between the last token and
the moment at which its user is free again.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from tokenswarm.analysis.figures.flow import in_flight
from tokenswarm.analysis.figures.overload import judge_overload
from tokenswarm.analysis.figures.quantities import is_ok, lateness_ms
from tokenswarm.analysis.figures.statistics import CONFIDENCE, RATE_BLOCKS, t_quantile
from tokenswarm.analysis.figures.window import Window, ended_at
from tokenswarm.analysis.wording import number

from tokenswarm.base.numbers import significant
from tokenswarm.base.presence import present
from tokenswarm.contract.summary.time_records import KeepingUp, LittlesLaw

MOST_GAP = 0.05
LEAST_LOST_S = 0.005
"""Smaller lost times per request are not mentioned."""
_FEWEST_SAMPLES = 2
_NOTICED_GAP = 20.0
"""A gap without arrivals of this many mean gaps is not chance: probability 1 in 500 million for a Poisson process."""


def overload_of(everything: pd.DataFrame, window: Window | None, rate_s: float | None = None) -> KeepingUp:
    """The overload verdict of an open loop. `everything`: rows of all phases; `rate_s`: the rate asked for, requests/s.

    Arrivals that the in-flight limit delayed beyond the end of the run have no row. So if the last scheduled arrival is
    long before the end, arrivals at `rate_s` are added from there: they were offered and not served.
    """
    if window is None or window.seconds <= 0 or not len(everything):
        return KeepingUp()
    late_s = np.nan_to_num(lateness_ms(everything), nan=0.0) / 1000.0
    sent = everything["sent_at"].to_numpy() - window.start
    ended = (everything["status"] != "cancelled").to_numpy()
    ttft_ms = np.where(is_ok(everything), everything["ttft_ms"].to_numpy(), np.nan)
    unsent = _never_sent(sent - late_s, window.seconds, rate_s)
    nothing = np.full(len(unsent), np.nan)
    load = judge_overload(
        np.concatenate([sent - late_s, unsent]),
        np.concatenate([np.where(ended, ended_at(everything) - window.start, np.nan), nothing]),
        np.concatenate([ttft_ms + 1000.0 * late_s, nothing]),
        0.0,
        window.seconds,
    )
    keeping = KeepingUp(load.overloaded, load.offered_s, load.completed_s, load.in_flight_a_s, load.ttft_ms_a_s)
    if load.overloaded:
        growth = load.ttft_ms_a_s
        offered, completed = (significant(present(each)) for each in (load.offered_s, load.completed_s))
        keeping.sentence = (
            f"The engine did not keep up: {offered} requests/s were offered, {completed} were completed. Each second "
            f"{number(load.in_flight_a_s)} more were in the system"
            + (f", and TTFT grew by {number(growth)} ms" if growth is not None else "")
            + ", so latency depends on how long the run was and is not given. Use less RATE."
        )
    return keeping


def _never_sent(due: np.ndarray, seconds: float, rate_s: float | None) -> np.ndarray:
    """When the arrivals without a row were due, up to the end of the window."""
    last = float(due[due < seconds].max(initial=0.0))
    if not rate_s or (seconds - last) * rate_s < _NOTICED_GAP:
        return np.empty(0)
    return np.arange(last + 1.0 / rate_s, seconds, 1.0 / rate_s)


def littles_law(everything: pd.DataFrame, workers: pd.DataFrame, window: Window | None) -> LittlesLaw | None:
    """The check of a closed loop. `workers`: the load generator's own samples. None if there are too few."""
    if window is None or window.seconds <= 0 or not len(everything):
        return None
    edges = np.linspace(window.start, window.end, RATE_BLOCKS + 1)
    sampled = _sampled(workers, edges)
    if sampled is None or sampled.mean() <= 0:
        return None
    accounted = in_flight(everything, edges)
    apart = sampled - accounted
    half = float(t_quantile(0.5 + CONFIDENCE / 2.0, RATE_BLOCKS - 1) * apart.std(ddof=1) / math.sqrt(RATE_BLOCKS))
    ends = ended_at(everything)
    completed_s = float(np.sum((ends >= window.start) & (ends < window.end))) / window.seconds
    lost_s = float(apart.mean()) / completed_s if completed_s else None
    gap = float(apart.mean() / sampled.mean())
    holds = abs(gap) <= MOST_GAP or abs(float(apart.mean())) <= half or abs(lost_s or 0.0) < LEAST_LOST_S
    seen, by_answers = float(sampled.mean()), float(accounted.mean())
    law = LittlesLaw(holds, seen, by_answers, lost_s)
    if not holds and gap > 0:
        law.sentence = (
            f"{gap:.0%} of the users' time in requests lies after the last token: {significant(seen)} requests were "
            f"in flight on average, but the answers account for {significant(by_answers)} (Little's law). Each user "
            f"was held for {1000.0 * (lost_s or 0.0):,.0f} ms after an answer, so the engine got less load than "
            f"{significant(seen)} users make: look at what stands between (a proxy that keeps streams open)."
        )
    elif not holds:
        law.sentence = (
            f"The answers account for {significant(by_answers)} requests in flight, but the load generator saw "
            f"{significant(seen)} (Little's law): rows and load generator do not tell of the same run."
        )
    return law


def _sampled(workers: pd.DataFrame, edges: np.ndarray) -> np.ndarray | None:
    """Mean requests in flight in each block, summed over the workers; None if a block has too few samples."""
    known = workers[workers["in_flight"].notna()]
    total = np.zeros(len(edges) - 1)
    for _, samples in known.groupby("source", observed=True):
        place = np.searchsorted(edges, samples["at"].to_numpy(), side="left") - 1
        inside = (place >= 0) & (place < len(total))
        counts = np.bincount(place[inside], minlength=len(total))
        if counts.min() < _FEWEST_SAMPLES:
            return None
        total += np.bincount(place[inside], samples["in_flight"].to_numpy()[inside], len(total)) / counts
    return total if len(known) else None
