"""Live figures of a run, in the process that directs it: for the measured phase so far and for the last 10 s."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tokenswarm.contract.limits import observations_needed
from tokenswarm.contract.metric import WINDOW_SUMS
from tokenswarm.contract.metrics import METRICS
from tokenswarm.contract.phases import Timeline
from tokenswarm.contract.tables import STATUSES
from tokenswarm.live.aggregate import Delta, LatencySketch, LiveAggregate
from tokenswarm.live.health import GeneratorHealth, generator_health
from tokenswarm.live.withheld_latencies import error_bound_ms, untimed

RECENT_S = 10.0
_TOGETHER_S = 0.5
_WARMUP_ANSWERS = 20_000


class LiveStats:
    """Adds up the reports of load-generating processes, in constant memory."""

    def __init__(self, timeline: Timeline, bounded: Callable[[str], bool], open_loop: bool) -> None:
        """`bounded(user_class)`: whether the SLOs of that class define a good request. Figures over several classes
        count good requests only if all of them do."""
        self.counts = dict.fromkeys(STATUSES, 0)
        """Requests of every phase so far, by status."""
        self.warmup: deque[tuple[float, float, int | None, int | None, float]] = deque(maxlen=_WARMUP_ANSWERS)
        """See `Delta.warmup`."""
        self.tallies: dict[tuple[str, str], LiveAggregate] = {}
        """By (phase, user class), since the beginning."""
        self.health: dict[str, dict[str, Any]] = {}
        """The latest row of host_metrics.csv of each worker."""
        self.bounded = bounded
        self._timeline, self._open_loop = timeline, open_loop
        self._began = time.monotonic()
        self._recent: deque[tuple[float, Delta]] = deque()

    def merge(self, part: Delta) -> None:
        """Add the report of one process since its previous one."""
        now = time.monotonic()
        for key, tally in part.tallies.items():
            self.tallies.setdefault(key, LiveAggregate()).merge(tally)
            for status in STATUSES:
                self.counts[status] += tally.counts[status]
        self.warmup.extend(part.warmup)
        if part.health is not None:
            self.health[part.health["source"]] = part.health
        if part.tallies:
            self._keep_recent(now, part)
        self._forget(now)

    def _keep_recent(self, now: float, part: Delta) -> None:
        """Keep a report for the figures of the last RECENT_S. Reports of several workers at about the same time are
        merged."""
        if not self._recent or now - self._recent[-1][0] >= _TOGETHER_S:
            self._recent.append((now, part))
            return
        latest = self._recent[-1][1].tallies
        for key, tally in part.tallies.items():
            latest.setdefault(key, LiveAggregate()).merge(tally)

    def _forget(self, now: float) -> None:
        while self._recent and self._recent[0][0] < now - RECENT_S:
            self._recent.popleft()

    def error_kinds(self) -> dict[str, int]:
        """Failures of every phase so far, by kind."""
        return dict(sum((tally.errors for tally in self.tallies.values()), Counter()))

    def figures(self) -> dict[str, object]:
        """The values of the progress display, as plain JSON. `requests` and `errors` count since the start,
        `measured_*` and the percentile since the measured phase began; the rate is that of the last `last_s` seconds.
        `ttft_why`: why there is no percentile despite enough requests."""
        measured = _merged(tally for (phase, _), tally in self.tallies.items() if phase == "measure")
        seconds, recent = self._lately()
        tokens = sum(tally.counts["completion_tokens"] for tally in recent.values())
        ttft = measured.latencies.get("ttft_ms", LatencySketch())
        why = untimed(measured, self._read_lag_ms()).get("ttft_ms") if ttft.count >= observations_needed(95) else None
        return {
            "requests": sum(self.counts.values()),
            "errors": self.counts["failed"],
            "measured_requests": measured.requests,
            "measured_errors": measured.counts["failed"],
            "ttft_p95_ms": None if why or ttft.count < observations_needed(95) else ttft.quantiles([0.95])[0],
            "ttft_why": why,
            "output_tok_s": tokens / seconds,
            "last_s": RECENT_S,
        }

    def snapshot(self) -> dict[str, object]:
        """Everything that is shown live, as plain JSON. `since_start` covers the measured phase by the definitions of
        docs/metrics.md, but without unfinished answers; `last` covers answers that ended in the last RECENT_S, in any
        phase. Each holds `seconds`, `total`, and `classes` by name; see `_block` for the figures.
        """
        line, now = self._timeline, time.time()
        seconds = max(0.0, min(now, line.measure_end) - line.measure_start)
        lately_s, recent = self._lately()
        return {
            "at": now,
            "phase": line.phase_at(now),
            "since_start": self._stretch(self.tallies, seconds, lately=False),
            "last": self._stretch(recent, lately_s, lately=True),
            "generator": self.generator(),
        }

    def _lately(self) -> tuple[float, dict[tuple[str, str], LiveAggregate]]:
        now = time.monotonic()
        self._forget(now)
        tallies: dict[tuple[str, str], LiveAggregate] = {}
        for _, part in self._recent:
            for key, tally in part.tallies.items():
                tallies.setdefault(key, LiveAggregate()).merge(tally)
        return max(1.0, min(RECENT_S, now - self._began)), tallies

    def _read_lag_ms(self) -> float | None:
        """The longest time that received bytes waited to be read, of all workers."""
        known = [row["read_lag_p99_ms"] for row in self.health.values() if row["read_lag_p99_ms"] is not None]
        return max(known, default=None)

    def _of_late(self, name: str) -> LatencySketch:
        """One latency of the answers that ended recently."""
        whole = LatencySketch()
        for _, part in self._recent:
            for tally in part.tallies.values():
                if name in tally.latencies:
                    whole.merge(tally.latencies[name])
        return whole

    def measured(self, *user_classes: str) -> LiveAggregate:
        """The requests of these user classes that were sent in the measured phase."""
        return _merged(
            tally for (phase, name), tally in self.tallies.items() if phase == "measure" and name in user_classes
        )

    def of_window(self, *user_classes: str) -> dict[str, float]:
        """What arrived for these classes inside the measured window, whatever phase it was requested in."""
        tallies = [tally for (_, name), tally in self.tallies.items() if name in user_classes]
        return {count: sum(tally.counts[count] for tally in tallies) for count in WINDOW_SUMS}

    def _stretch(
        self, tallies: Mapping[tuple[str, str], LiveAggregate], seconds: float, lately: bool
    ) -> dict[str, object]:
        names = sorted({name for _, name in tallies})

        def of(chosen: Iterable[str]) -> LiveAggregate:
            if not lately:
                return self.measured(*chosen)
            return _merged(tally for (_, name), tally in tallies.items() if name in set(chosen))

        late = untimed(of(names), self._read_lag_ms())  # for all classes together, like the report

        def block(chosen: Iterable[str]) -> dict[str, object]:
            tally, bounded = of(chosen), all(map(self.bounded, chosen))
            window = (
                {
                    "window_output": tally.counts["completion_tokens"],
                    "window_prompt": tally.counts["prompt_tokens"],
                    "window_done": tally.counts["ok"],
                    "window_good": tally.counts["good"],
                }
                if lately
                else self.of_window(*chosen)
            )
            return self._block(tally, tally.sums(seconds, bounded, **window), late)

        return {"seconds": seconds, "total": block(names), "classes": {name: block([name]) for name in names}}

    def _block(self, tally: LiveAggregate, sums: Mapping[str, float], late: Mapping[str, str]) -> dict[str, object]:
        """The figures of one stretch: counts, error kinds, and each live metric (latencies in percentiles). `late`:
        latencies whose timing is too uncertain, with the reason by key. They are withheld and listed in `untimed`."""
        figures: dict[str, object] = {status: tally.counts[status] for status in STATUSES}
        figures |= {"requests": tally.requests, "errors": dict(sorted(tally.errors.items()))}
        for latency in METRICS.latencies():
            if latency.live:
                seen, known = tally.latencies.get(latency.key, LatencySketch()), latency.key not in late
                values = seen.quantiles(q / 100 for q in latency.percentiles)
                figures |= {
                    latency.percentile_key(q): value if known and seen.count >= observations_needed(q) else None
                    for q, value in zip(latency.percentiles, values, strict=True)
                }
        figures["untimed"] = dict(late)
        return figures | {rate.name: rate.of_sums(sums) for rate in METRICS.rates() if rate.live and rate.of_sums}

    def generator(self) -> dict[str, Any]:
        """The state of the load generator: its busiest worker, and a light with reasons."""
        self._forget(time.monotonic())
        ttft = self._of_late("ttft_ms")
        latency = ttft if ttft.bins else self._of_late("e2e_ms")
        rows = list(self.health.values())
        facts = {
            name: max((row[name] for row in rows if row[name] is not None), default=None)
            for name in ("cpu_share", "loop_lag_ms", "read_lag_p99_ms", "lateness_max_ms")
        }
        facts["error_bound_ms"] = error_bound_ms(
            _merged(tally for _, part in self._recent for tally in part.tallies.values()), facts["read_lag_p99_ms"]
        )
        judged: GeneratorHealth = generator_health(
            cpu_share=facts["cpu_share"],
            error_bound_ms=facts["error_bound_ms"],
            lateness_ms=facts["lateness_max_ms"] if self._open_loop else None,
            median_latency_ms=latency.quantiles([0.5])[0],
        )
        return {**facts, "light": judged.colour, "reasons": list(judged.reasons), "workers": len(rows)}


def _merged(tallies: Iterable[LiveAggregate]) -> LiveAggregate:
    whole = LiveAggregate()
    for tally in tallies:
        whole.merge(tally)
    return whole
