"""Speculative decoding: how many drafted tokens the model accepted, from the engine's counters over the window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from tokenswarm.analysis.figures.jackknife import jackknife
from tokenswarm.analysis.figures.statistics import RATE_BLOCKS, Estimate
from tokenswarm.analysis.figures.window import Window

from tokenswarm.contract.manifest import Manifest
from tokenswarm.contract.metric import Sums
from tokenswarm.contract.summary.engine_records import Speculation
from tokenswarm.contract.tables import SPEC_POSITIONS

_COUNTERS = ("spec_drafts", "spec_draft_tokens", "spec_accepted_tokens")
POSITIONS = tuple(f"spec_accepted_{place}" for place in range(1, SPEC_POSITIONS + 1))
_GAUGES = {"spec_accept_length": "tokens", "spec_accept_rate": "share"}
_OWN_TEXT = ("dataset", "replay")
"""Workloads whose prompts are the user's own."""


def speculation_of(manifest: Manifest, engine_metrics: pd.DataFrame, window: Window | None) -> Speculation | None:
    """What the engine reports about its drafts in the window; None if it was not asked to draft and reports nothing.

    The acceptance length is 1 + accepted / drafts, because a step also yields the model's own token. The rate is
    accepted / drafted (vLLM's definitions). SGLang has only gauges of its latest steps: their mean over the readings is
    used, and marked.
    """
    setting = manifest.engine.effective.get("speculation") or manifest.scenario.table("engine").get("speculation")
    table = (
        engine_metrics.iloc[:0]
        if window is None
        else engine_metrics[engine_metrics["at"].between(window.start, window.end)].sort_values("at")
    )
    notes = acceptance_notes(manifest)
    steps = {name: growth(table[name].to_numpy(float)) for name in _COUNTERS}
    beside = table["spec_drafts"].to_numpy(float)
    steps |= {name: growth(_from_zero(table[name].to_numpy(float), beside)) for name in POSITIONS}
    drafts, drafted, accepted = (steps[name] for name in _COUNTERS)
    if drafts is not None and drafted is not None and accepted is not None:
        by_position = [
            ratio(each, drafts).figure("share")
            for name in POSITIONS
            if (each := steps[name]) is not None and each.sum() > 0
        ]
        mean = ratio(accepted, drafts)
        length = Estimate(
            None if mean.value is None else 1 + mean.value,
            None if mean.low is None else 1 + mean.low,
            None if mean.high is None else 1 + mean.high,
            mean.n,
            mean.why,
        )
        return Speculation(
            "counters",
            int(drafts.sum()),
            length.figure("tokens"),
            ratio(accepted, drafted).figure("share"),
            by_position,
            notes,
        )
    gauges = {name: table[name].to_numpy(float) for name in _GAUGES}
    if any((values > 0).any() for values in gauges.values()):
        means = [_mean_of_gauge(values).figure(_GAUGES[name]) for name, values in gauges.items()]
        return Speculation("gauges", None, means[0], means[1], [], notes)
    if setting in (None, "none"):
        return None
    why = "the engine's metrics do not report drafts"
    return Speculation(
        "", None, Estimate(None, why=why).figure("tokens"), Estimate(None, why=why).figure("share"), [], notes
    )


def _from_zero(values: np.ndarray, beside: np.ndarray) -> np.ndarray:
    """A counter that an engine shows only once it counts: 0 in earlier readings that had `beside`."""
    known = ~np.isnan(values)
    if not known.any():
        return values
    earlier = np.arange(len(values)) < int(np.argmax(known))
    return np.where(earlier & ~np.isnan(beside), 0.0, values)


def growth(values: np.ndarray) -> np.ndarray | None:
    """Growth of a counter from reading to reading; None for fewer than two. A restart counts from zero."""
    known = values[~np.isnan(values)]
    if len(known) < 2:
        return None
    steps = np.diff(known)
    return np.where(steps < 0, known[1:], steps)


def ratio(above: np.ndarray, below: np.ndarray) -> Estimate:
    """The ratio of two sums of growths, with a jackknife interval over blocks of time (Quenouille, Biometrika 43, 1956;
    Miller, Biometrika 61, 1974).

    Blocks, because requests that are close in time share their text's difficulty.
    """
    total = float(below.sum())
    if total <= 0 or len(above) != len(below):
        return Estimate(None, why="no token was drafted in the measure window")
    if len(below) < RATE_BLOCKS:
        return Estimate(float(above.sum()) / total, n=int(total))
    blocks = {
        name: np.array([float(block.sum()) for block in np.array_split(steps, RATE_BLOCKS)])
        for name, steps in (("above", above), ("below", below))
    }
    return jackknife(_share, blocks, int(total))


def _share(sums: Sums) -> float | None:
    return sums["above"] / sums["below"] if sums["below"] > 0 else None


def _mean_of_gauge(values: np.ndarray) -> Estimate:
    """The mean of readings while the engine drafted (0 before). No interval: the gauges' averaging windows overlap by
    an unknown amount.
    """
    seen = values[values > 0]
    return Estimate(float(seen.mean()) if len(seen) else None, n=len(seen), why="the engine has no such gauge")


def acceptance_notes(manifest: Manifest) -> list[str]:
    """Why the acceptance in this run may differ from that of the user's traffic."""
    output, engine = manifest.scenario.table("output"), manifest.scenario.table("engine")
    parts: Sequence[object] = manifest.scenario.table("mix").get("parts") or []
    notes = []
    if manifest.engine.effective.get("load_format") == "dummy" or engine.get("load_format") == "dummy":
        notes.append("The weights are random: acceptance means nothing.")
    if output.get("ignore_eos"):
        notes.append(
            "output.ignore_eos makes answers continue past their end, where models repeat themselves: acceptance "
            "there is not that of normal answers."
        )
    if manifest.scenario.workload not in _OWN_TEXT or parts:
        notes.append(
            "The prompts are made up: how much is accepted depends on the text, so measure it with your own "
            "(SCENARIO=dataset or replay)."
        )
    if manifest.simulated:
        notes.append("The simulator accepts tokens with a configured probability: acceptance is what was asked for.")
    return notes
