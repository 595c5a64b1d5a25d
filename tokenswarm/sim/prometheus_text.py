"""The simulator's /metrics: Prometheus text under the names of the engine that it imitates. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence

from tokenswarm.sim.styles import Style

_TTFT_BOUNDS = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
_ITL_BOUNDS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0)
_E2E_BOUNDS = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0)


class HistogramMetric:
    """Counts of observations in seconds by bucket (`bounds`: upper ends), with their sum."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum_s = 0.0

    def observe(self, value_s: float) -> None:
        """Adds one observation."""
        self.counts[bisect_left(self.bounds, value_s)] += 1
        self.sum_s += value_s

    def lines(self, name: str, labels: str) -> list[str]:
        """Prometheus lines: cumulative buckets, sum, count."""
        out, total = [], 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            total += count
            out.append(f'{name}_bucket{{{labels},le="{bound}"}} {total}')
        return [*out, f"{name}_sum{{{labels}}} {self.sum_s!r}", f"{name}_count{{{labels}}} {total}"]


class Latencies:
    """The engine's own view of its latencies, in model time."""

    def __init__(self) -> None:
        self.ttft = HistogramMetric(_TTFT_BOUNDS)
        self.itl = HistogramMetric(_ITL_BOUNDS)
        self.e2e = HistogramMetric(_E2E_BOUNDS)
        self.queue = HistogramMetric(_TTFT_BOUNDS)


_OF_SPECULATION = frozenset({"drafts", "draft_tokens", "accepted_tokens", "accept_length", "accept_rate"})
"""Only an engine that speculates has these."""


def _label_text(labels: Mapping[str, str], model: str) -> str:
    escaped = model.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return ",".join(f'{key}="{value.replace("{model}", escaped)}"' for key, value in labels.items())


def render(
    style: Style,
    model: str,
    values: Mapping[str, float],
    latencies: Latencies,
    config: Mapping[str, str],
    accepted_at: Sequence[int] = (),
) -> str:
    """The whole page. values: by our names (see Style.metrics); config: labels of the style's info metric, if any;
    accepted_at: drafts whose first, second, ... token was accepted."""
    labels = _label_text(style.labels, model)
    histograms = {name: getattr(latencies, name) for name in ("ttft", "itl", "e2e", "queue")}
    lines = ["# SIMULATED: these figures come from tokenswarm's engine simulator"]
    for ours, (theirs, kind) in style.metrics.items():
        if kind in ("counter", "gauge") and ours in _OF_SPECULATION and ours not in values:
            continue
        if ours == "accepted_at" and not accepted_at:
            continue
        family = theirs  # the text format of Prometheus (not OpenMetrics) keeps _total in the family name
        lines += [f"# HELP {family} simulated {ours}", f"# TYPE {family} {kind}"]
        if kind == "histogram":
            lines += histograms[ours].lines(theirs, labels)
        elif ours == "accepted_at":
            lines += [f'{theirs}{{{labels},position="{place}"}} {float(n)!r}' for place, n in enumerate(accepted_at)]
        elif ours == "cache_config":
            lines.append(f"{theirs}{{{_label_text({**config, 'engine': '0'}, model)}}} 1.0")
        else:
            lines.append(f"{theirs}{{{labels}}} {float(values[ours])!r}")
    return "\n".join(lines) + "\n"
