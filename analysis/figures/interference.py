"""What long prefills do to other requests: bystanders' TTFT and gaps before, during and after one.

A disturbance begins when a request of a disturbing class is sent, and is assumed to last as long as 90% of them wait
for their first token. This length is the same for all, as is the stretch in which a bystander is observed. So whether a
bystander met a disturbance follows from when requests were sent, not from how long they took. With actual durations,
slow requests would meet disturbances more often because they are slow, and harmless neighbours would seem to disturb.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from tokenswarm.analysis import wording as text
from tokenswarm.analysis.figures.quantities import is_ok
from tokenswarm.analysis.figures.statistics import CONFIDENCE, Estimate, percentiles, t_quantile
from tokenswarm.analysis.figures.window import Window

from tokenswarm.contract.manifest import Manifest
from tokenswarm.contract.summary.interference_records import Disturbed, Interference, Stretch

TITLES = {"ttft_ms": "TTFT", "icl_max_ms": "Longest gap"}
"""The bystanders' latencies that are examined; the longest gap is between two chunks of an answer."""
PERCENTILES = (50, 95, 99)
BEYOND = 5
"""Observations beyond a percentile that its rise needs, because a resampled maximum is meaningless."""
FEWEST_CYCLES = 10
"""With fewer disturbances their spread is unknown."""
RESAMPLES = 400
BEFORE, DURING, AFTER = 0, 1, 2
STRETCHES = ("before", "during", "after")


@dataclass(frozen=True, slots=True)
class Classes:
    """User classes of a mix: the disturbers, and the bystanders."""

    disturbers: list[str]
    bystanders: list[str]


@dataclass(frozen=True, slots=True)
class Probes:
    """One latency of the bystanders' successful requests, in time order.

    - since_s: seconds since the latest disturbance began, at the request's first byte or its first token (NaN: none
      yet)
    - stretch: BEFORE, DURING or AFTER
    - cycle: number of that disturbance
    """

    values: np.ndarray
    since_s: np.ndarray
    stretch: np.ndarray
    cycle: np.ndarray


def classes_of(manifest: Manifest) -> Classes | None:
    """Disturbers and bystanders by the run's mix (`mix.disturbs`); None if the mix names no disturber."""
    mix = manifest.scenario.table("mix")
    disturbers = [str(name) for name in mix.get("disturbs") or []]
    names = [str(part.get("user_class")) for part in mix.get("parts") or [] if isinstance(part, Mapping)]
    return Classes(disturbers, [name for name in names if name not in disturbers]) if disturbers else None


def interference_of(
    manifest: Manifest, requests: pd.DataFrame, rows: pd.DataFrame, window: Window | None
) -> Interference | None:
    """How much the bystanders' latencies rise; None for a run without a disturbing class.

    `requests`: of all phases, because a disturbance may begin in the warm-up. `rows`: of the measure phase.
    """
    classes = classes_of(manifest)
    if classes is None:
        return None
    result = Interference(classes.bystanders, classes.disturbers)
    starts, length_s = disturbances(classes, requests, rows)
    if manifest.load.mode != "open" or window is None:
        result.why = "bystanders that wait for their answers ask least while they are disturbed: set a rate (RATE=...)"
    elif math.isnan(length_s):
        result.why = "no request of a class that disturbs had a first token"
    if result.why is not None or window is None:
        return result
    inside = (starts >= window.start) & (starts < window.end)
    result.disturbances = int(inside.sum())
    measured = rows["ttft_ms"].to_numpy()[_of(rows, classes.disturbers) & is_ok(rows)]
    result.length_ms = Estimate(length_s * 1e3, n=int(np.sum(~np.isnan(measured)))).figure("ms")
    share = _covered(starts, length_s, window)
    result.share_of_time = Estimate(share, n=result.disturbances).figure("share")
    for key in TITLES:
        seen = probes(classes, rows, key, starts, length_s)
        result.latencies[key] = disturbed(TITLES[key], seen, _failures(classes, rows, starts, length_s))
    result.sentences = [sentence(result, key) for key in result.latencies]
    return result


def _of(rows: pd.DataFrame, names: list[str]) -> np.ndarray:
    return rows["user_class"].isin(names).to_numpy()


def disturbances(classes: Classes, requests: pd.DataFrame, rows: pd.DataFrame) -> tuple[np.ndarray, float]:
    """(start of each, unix s, ascending; assumed length, s). The length is NaN if none got a first token."""
    ttft_ms = rows["ttft_ms"].to_numpy(float)[_of(rows, classes.disturbers) & is_ok(rows)]
    ttft_ms = ttft_ms[~np.isnan(ttft_ms)]
    length_s = float(np.quantile(ttft_ms, 0.9)) / 1e3 if len(ttft_ms) else math.nan
    return np.sort(requests["sent_at"].to_numpy(float)[_of(requests, classes.disturbers)]), length_s


def probes(classes: Classes, rows: pd.DataFrame, key: str, starts: np.ndarray, length_s: float) -> Probes:
    """One latency of the bystanders, each request assigned to its stretch.

    A TTFT is observed from the sending of the request for the median TTFT; the longest gap of an answer from its first
    token for the time in which 90% of the answers stream.
    """
    chosen = rows[_of(rows, classes.bystanders) & is_ok(rows)].sort_values("sent_at")
    sent, ttft_ms = chosen["sent_at"].to_numpy(float), chosen["ttft_ms"].to_numpy(float)
    values = chosen[key].to_numpy(float)
    known = ~np.isnan(values) & ~np.isnan(ttft_ms)
    begins = sent if key == "ttft_ms" else sent + ttft_ms / 1e3
    lasts_ms = ttft_ms if key == "ttft_ms" else chosen["last_token_ms"].to_numpy(float) - ttft_ms
    lasts_s = float(np.nanquantile(lasts_ms[known], 0.5 if key == "ttft_ms" else 0.9)) / 1e3 if known.any() else 0.0
    return placed(values[known], begins[known], lasts_s, starts, length_s)


def placed(values: np.ndarray, begins: np.ndarray, lasts_s: float, starts: np.ndarray, length_s: float) -> Probes:
    """Values whose stretch of `lasts_s` seconds begins at `begins`, assigned to disturbances of `length_s` seconds that
    begin at `starts` (ascending).

    AFTER is the stretch of the same length that follows a disturbance.
    """
    cycle = np.searchsorted(starts, begins + lasts_s, side="right") - 1
    since = begins - starts[np.maximum(cycle, 0)] if len(starts) else np.full(len(begins), np.nan)
    since = np.where(cycle < 0, np.nan, since)
    stretch = np.where(since <= length_s, DURING, np.where(since <= 2 * length_s, AFTER, BEFORE))
    return Probes(values, since, stretch, cycle)


def disturbed(title: str, seen: Probes, failed: list[int]) -> Disturbed:
    """Percentiles in each stretch, and their ratios to those before."""

    def stretch(number: int) -> Stretch:
        values = seen.values[seen.stretch == number]
        figures = percentiles(values, PERCENTILES)
        return Stretch(len(values), failed[number], {f"p{q}": each.figure("ms") for q, each in figures.items()})

    during, after = (
        {f"p{q}": rise(seen, q, number).figure("times") for q in PERCENTILES} for number in (DURING, AFTER)
    )
    return Disturbed(title, stretch(BEFORE), stretch(DURING), stretch(AFTER), during, after)


def rise(seen: Probes, q: float, stretch: int) -> Estimate:
    """The ratio of percentile `q` in a stretch to that before, with an interval.

    Bystanders of one disturbance are correlated, so whole cycles (from one disturbance to the next) are resampled
    (cluster bootstrap; Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8). The spread of
    the ratio's logarithm then gives a t interval whose degrees of freedom are the number of cycles with a bystander in
    the stretch, minus one: with few cycles the spread itself is uncertain.
    """
    inside, before = seen.stretch == stretch, seen.stretch == BEFORE
    needed, n = math.ceil(round(BEYOND * 100 / min(q, 100 - q), 9)), int(min(inside.sum(), before.sum()))
    if n < needed:
        where = STRETCHES[stretch] if inside.sum() <= before.sum() else STRETCHES[BEFORE]
        return Estimate(None, n=n, why=f"needs {needed} {where}, has {n}")
    met = {name: len(np.unique(seen.cycle[part])) for name, part in ((STRETCHES[stretch], inside), ("before", before))}
    where = min(met, key=met.__getitem__)
    cycles = met[where]
    if cycles < FEWEST_CYCLES:
        return Estimate(None, n=n, why=f"needs {FEWEST_CYCLES} disturbances with bystanders {where}, has {cycles}")
    low, high = (float(np.percentile(seen.values[part], q)) for part in (before, inside))
    if low <= 0 or high <= 0:
        return Estimate(None, n=n, why="a latency of 0 has no ratio")
    spread = _spread(seen, q, inside, before)
    half = t_quantile(0.5 + CONFIDENCE / 2, cycles - 1) * spread
    ratio = math.log(high / low)
    return Estimate(math.exp(ratio), math.exp(ratio - half), math.exp(ratio + half), n)


def _spread(seen: Probes, q: float, inside: np.ndarray, before: np.ndarray) -> float:
    """Standard deviation of the logarithm of the ratio over resamples of the cycles."""
    rng = np.random.default_rng(0)  # the same rows give the same interval
    _, number = np.unique(seen.cycle, return_inverse=True)
    cycles = int(number.max()) + 1
    groups = []
    for part in (inside, before):
        order = np.argsort(seen.values[part], kind="stable")
        groups.append((seen.values[part][order], number[part][order]))
    logs = []
    for _ in range(RESAMPLES):
        times = rng.multinomial(cycles, np.full(cycles, 1 / cycles))
        high, low = (_weighted(values, times[of], q) for values, of in groups)
        if high and low:
            logs.append(math.log(high / low))
    return float(np.std(logs, ddof=1)) if len(logs) > 1 else math.inf


def _weighted(values: np.ndarray, weights: np.ndarray, q: float) -> float | None:
    """Percentile `q` of ascending values with weights; None if all weights are 0."""
    upto = np.cumsum(weights)
    if not upto[-1]:
        return None
    return float(values[min(int(np.searchsorted(upto, q / 100 * upto[-1])), len(values) - 1)])


def _failures(classes: Classes, rows: pd.DataFrame, starts: np.ndarray, length_s: float) -> list[int]:
    """Bystanders' failures by the stretch in which they were sent."""
    failed = rows[_of(rows, classes.bystanders) & (rows["status"] == "failed").to_numpy()]
    sent = failed["sent_at"].to_numpy(float)
    stretch = placed(sent, sent, 0.0, starts, length_s).stretch
    return [int(np.sum(stretch == number)) for number in range(len(STRETCHES))]


def _covered(starts: np.ndarray, length_s: float, window: Window) -> float:
    """Share of the window that disturbances cover."""
    begins = np.clip(starts, window.start, window.end)
    ends = np.clip(starts + length_s, window.start, window.end)
    free_from = np.maximum.accumulate(np.concatenate([[window.start], ends]))[:-1]
    return (
        float(np.sum(np.maximum(0.0, ends - np.maximum(begins, free_from))) / window.seconds) if window.seconds else 0.0
    )


def sentence(result: Interference, key: str) -> str:
    """The effect on the 95th percentile, in words."""
    seen = result.latencies[key]
    figure, who = seen.rise["p95"], f"{seen.title} p95 of {' and '.join(result.bystanders)}"
    when = f"while {' or '.join(result.disturbers)} prefilled ({text.quantity(result.share_of_time)} of the time)"
    low, high = figure.ends
    if figure.value is None or low is None or high is None:
        return f"How {who} changed {when} is not known: {figure.why or 'it has no interval'}."
    times = f"{text.number(figure.value)} times ({text.number(low)} to {text.number(high)})"
    ends = f"{text.quantity(seen.before.percentiles['p95'])} to {text.quantity(seen.during.percentiles['p95'])}"
    if low > 1:
        return f"{who} rose to {times} that of before {when}: from {ends}."
    if high < 1:
        return f"{who} fell to {times} that of before {when}: from {ends}."
    return f"{who} did not surely change {when}: {times} that of before."
