"""Fixtures of the workload tests: the default corpus, and scenarios with overrides."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random

import pytest

from tokenswarm import workloads
from tokenswarm.base.config_text import parse_set
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.workloads import Workload
from tokenswarm.workloads.corpus import Corpus, load_corpus

SALT = "a1b2c3"


@cache
def data_for(name: str) -> str | None:
    """The file that the prompts of that scenario come from; None for a scenario without one."""
    if name not in ("dataset", "replay"):
        return None
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    rng = Random(1)
    path = folder / "prompts.jsonl"
    if name == "replay":
        system = {"role": "system", "content": "Answer in few words. " * 20}
        path.write_text(
            "".join(
                json.dumps(
                    {"timestamp": 100 * number, "messages": [system, {"role": "user", "content": f"{rng.random()}?"}]}
                )
                + "\n"
                for number in range(400)
            ),
            "utf-8",
        )
        return str(path)
    path.write_text(
        "".join(
            json.dumps({"system": "Answer in few words. " * 20, "prompt": f"{rng.random()} and what?"}) + "\n"
            for _ in range(20_000)
        ),
        "utf-8",
    )
    return str(path)


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    return load_corpus()


@pytest.fixture
def make(corpus: Corpus) -> Callable[..., Workload]:
    """`make("rag", "rag.documents=4", seed=2, salt="")` gives that scenario's workload on the default corpus."""

    def make(name: str, overrides: str = "", seed: int = 1, salt: str = SALT) -> Workload:
        return workloads.create(load_scenario(name, parse_set(overrides), data_for(name)), corpus, seed, salt)

    return make
