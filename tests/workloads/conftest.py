"""Fixtures of the workload tests: the default corpus, and scenarios with overrides."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tokenswarm import workloads
from tokenswarm.scenario.model import load_scenario, parse_set
from tokenswarm.workloads import Workload
from tokenswarm.workloads.corpus import Corpus, load_corpus

SALT = "a1b2c3"


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    return load_corpus()


@pytest.fixture
def make(corpus: Corpus) -> Callable[..., Workload]:
    """`make("rag", "rag.documents=4", seed=2, salt="")` gives that scenario's workload on the default corpus."""

    def make(name: str, overrides: str = "", seed: int = 1, salt: str = SALT) -> Workload:
        return workloads.create(load_scenario(name, parse_set(overrides)), corpus, seed, salt)

    return make
