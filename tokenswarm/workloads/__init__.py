"""The workloads, which generate sessions of prompts. `create` makes the one that a scenario names."""

from __future__ import annotations

from tokenswarm.scenario.model import Scenario
from tokenswarm.scenario.workload_kinds import WorkloadSettings
from tokenswarm.workloads.base import Message, Prompt, Session, Workload
from tokenswarm.workloads.corpus import Corpus

__all__ = ["Message", "Prompt", "Session", "Workload", "WorkloadSettings", "create"]


def create(scenario: Scenario, corpus: Corpus, seed: int, salt: str) -> Workload:
    """The scenario's workload. `salt` is the text itself ("" = none), not the word "run".

    Raises UserError (CORPUS) if the corpus is too short for the scenario's lengths.
    """
    workload: Workload = scenario.workload_kind(scenario, corpus, seed, salt)
    return workload
