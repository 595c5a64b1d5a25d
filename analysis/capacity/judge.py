"""One search, seen from its evidence: what each run says about each tier of limits, and what to measure next.

All tiers share the runs: a run for one is evidence for the others. Tiers are searched one after the other, [slo] first;
each has its own error budget.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tokenswarm.analysis.capacity.evidence import evidence_of, figure_of, level_of
from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.search.capacity_search import SearchStep, judge, next_step
from tokenswarm.analysis.search.load_levels import LoadEvidence, SearchSettings

from tokenswarm.contract.capacity_record import Capacity, CapacityRun, CapacityTier
from tokenswarm.contract.objectives import RequestBounds


@dataclass(slots=True)
class _Tier:
    settings: SearchSettings
    bounds: RequestBounds | None
    evidence: list[LoadEvidence] = field(default_factory=list)


class CapacityJudge:
    """Evaluates the runs of a record, which it reads when created. Raises UserError if one cannot be read."""

    def __init__(self, record: Capacity, folder: Path) -> None:
        unit, most = record.capacity.unit, 16 * (1 + len(record.tiers))
        self._folder = folder
        self._tiers = [
            _Tier(SearchSettings(record.start, unit, target, record.precision, most_levels=most), bounds)
            for target, bounds in (
                (record.target, None),
                *((tier.target, RequestBounds(tier.slo)) for tier in record.tiers),
            )
        ]
        for run in record.runs:
            self.add(run)

    def add(self, run: CapacityRun) -> int:
        """Add a run of the folder; returns the number of requests it measured."""
        read = read_run(self._folder / run.run)
        for tier in self._tiers:
            tier.evidence.append(evidence_of(read, run.load, tier.settings.target, run.died, tier.bounds))
        return self._tiers[0].evidence[-1].blocks.requests

    @property
    def evidence(self) -> list[LoadEvidence]:
        """What the runs say about the first tier, in order."""
        return self._tiers[0].evidence

    def next_step(self) -> SearchStep:
        """The next step of the first unfinished tier."""
        steps = [next_step(tier.settings, tier.evidence) for tier in self._tiers]
        return next((step for step in steps if step.load is not None), steps[0])

    def answer(self, record: Capacity, reason: str) -> Capacity:
        """The record with what is known now. `reason`: why the search ended, for the unfinished tiers."""
        records: list[Capacity | CapacityTier] = [record, *record.tiers]
        for tier, into in zip(self._tiers, records, strict=True):
            known, step = judge(tier.settings, tier.evidence), next_step(tier.settings, tier.evidence)
            into.capacity = figure_of(tier.settings, known, reason if step.load is not None else step.why)
            into.levels = [level_of(level, record.runs) for level in known.levels]
        return record


def new_tier(name: str, limits: dict[str, float], target: float, unit: str) -> CapacityTier:
    """An empty record of a tier."""
    tier = CapacityTier(name=name, slo=limits, target=target)
    tier.capacity.unit = unit
    return tier
