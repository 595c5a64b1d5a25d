"""Shared by all exports: each request's figures and their statistics, by tokenswarm's definitions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from tokenswarm.analysis.figures.quantities import is_ok, latency_of
from tokenswarm.analysis.figures.window import Window, find_window
from tokenswarm.analysis.read.run_folder import Run

from tokenswarm.contract.metric import Latency
from tokenswarm.contract.metrics import METRICS
from tokenswarm.contract.summary.summary_record import Summary

DEFINITIONS = {
    "tpot": "per request (last token - first token) / (output tokens - 1); answers of one token have none",
    "itl": "per request the median gap between events with text, which may carry several tokens: not a gap of tokens",
    "e2e": "until the last token of a stream; until the end of the body otherwise",
    "throughput": "tokens and answers that arrived inside the measure window / its seconds, whenever their request was "
    "sent; tools that divide all tokens of a benchmark by its duration show less where it winds down",
    "goodput": "answers that ended inside the window and met every latency objective of the scenario / seconds",
    "percentiles": "linear interpolation between order statistics; of the requests sent in the measure phase",
}
"""Definitions of figures whose name may mean something else in another tool."""


@dataclass(frozen=True)
class ExportableRun:
    """A run ready for export. `ok`: the successful requests of the measure phase, in the order sent."""

    run: Run
    summary: Summary
    ok: pd.DataFrame
    window: Window | None

    @property
    def seconds(self) -> float | None:
        return None if self.window is None or self.window.seconds <= 0 else self.window.seconds

    def values(self, name: str) -> np.ndarray:
        """One latency of each success in ms, by the metric's name (`tpot`); NaN = not measured, or withheld."""
        metric = METRICS[name]
        assert isinstance(metric, Latency), "only latencies have a value for each request"
        return np.full(len(self.ok), np.nan) if self.is_withheld(name) else latency_of(metric, self.ok)

    def is_withheld(self, name: str) -> bool:
        """Whether the run's own report withholds this latency, although requests have it, because its timing is
        uncertain.
        """
        figures = self.summary.latency.get(f"{name}_ms")
        return figures is not None and all(figure.value is None for figure in figures.values())

    def column(self, name: str) -> np.ndarray:
        """One column of requests.csv for each success; NaN = not measured."""
        return self.ok[name].to_numpy(dtype=float)

    def rate(self, name: str) -> float | None:
        """A rate of summary.json."""
        figure = self.summary.rates.get(name)
        return None if figure is None else figure.value

    @property
    def caveats(self) -> list[str]:
        """What a reader of the figures must know, the verdict first."""
        summary = self.summary
        simulated = ["SIMULATED: no real engine was measured."] if summary.simulated else []
        return [
            f"{summary.verdict}: {summary.outcome.sentence}",
            *simulated,
            *(reason.sentence for reason in summary.reasons),
            *summary.notes,
        ]


def measured(run: Run, summary: Summary) -> ExportableRun:
    """A run ready for export."""
    rows = run.measured
    return ExportableRun(run, summary, rows[is_ok(rows)], find_window(run))


def known(values: np.ndarray) -> np.ndarray:
    """The measured values."""
    return values[~np.isnan(values)]
