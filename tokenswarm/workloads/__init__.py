"""The workloads: what is asked, as sessions of prompts. `create` makes the one that a scenario names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from tokenswarm.scenario.model import Scenario
from tokenswarm.workloads.base import Message, Prompt, Session, Workload
from tokenswarm.workloads.batch import BatchWorkload
from tokenswarm.workloads.chat import ChatWorkload
from tokenswarm.workloads.corpus import Corpus
from tokenswarm.workloads.rag import RagWorkload
from tokenswarm.workloads.reasoning import ReasoningWorkload

__all__ = ["WORKLOADS", "Message", "Prompt", "Session", "Workload", "create"]

WORKLOADS: Mapping[str, Callable[[Scenario, Corpus, int, str], Workload]] = MappingProxyType(
    {"rag": RagWorkload, "chat": ChatWorkload, "batch": BatchWorkload, "reasoning": ReasoningWorkload}
)
"""Workload classes by the name that a scenario's `workload` key holds."""


def create(scenario: Scenario, corpus: Corpus, seed: int, salt: str) -> Workload:
    """The scenario's workload. `salt` is the text itself ("" = none), no longer the word "run".

    Raises UserError (CORPUS) if the corpus is too short for the scenario's lengths.
    """
    return WORKLOADS[scenario.workload](scenario, corpus, seed, salt)
