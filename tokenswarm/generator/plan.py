"""What a load-generating process is to do: read from the run folder that the command line prepared,
or made up on the spot when a locustfile runs under plain Locust."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tokenswarm.base.environment import KEY_VARIABLE, RUN_VARIABLE
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.masking import usable_key
from tokenswarm.contract.manifest import CorpusRecord, Manifest, read_manifest
from tokenswarm.scenario.model import Scenario
from tokenswarm.workloads.corpus import DEFAULT_NAME, Corpus, load_corpus


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a worker needs to know. `workers` is how many load-generating processes share the run."""

    folder: Path
    run_id: str
    base_url: str
    model: str
    scenario: Scenario
    corpus: Corpus
    seed: int
    salt: str
    workers: int
    controlled: bool
    """True if the phases are ours to time; False if somebody else ends the run (plain Locust)."""

    @property
    def api_key(self) -> str | None:
        return api_key()


def api_key() -> str | None:
    """The endpoint's API key from the environment, or None. Raises UserError (AUTH) for one that cannot be sent."""
    return usable_key(os.environ.get(KEY_VARIABLE))


def plan_from(manifest: Manifest, folder: Path, controlled: bool) -> Plan:
    """The plan that a manifest (run.json) describes. Raises UserError (CORPUS) if this machine has another corpus."""
    name = manifest.corpus.name
    corpus = load_corpus(None if name == DEFAULT_NAME else name)
    if CorpusRecord(**corpus.identity()) != manifest.corpus:
        raise UserError(Exit.CORPUS, f"the corpus {name} on this machine is not the one that the run was planned with: "
                                     "copy it to the same path, and use the same Python version for the default one")
    return Plan(
        folder=folder,
        run_id=manifest.run_id,
        base_url=manifest.engine.base_url,
        model=manifest.model,
        scenario=Scenario.from_values(manifest.scenario.values),
        corpus=corpus,
        seed=manifest.seed,
        salt=manifest.salt,
        workers=manifest.load.workers,
        controlled=controlled,
    )


def prepared_plan() -> Plan | None:
    """The plan of the run folder in TOKENSWARM_RUN, or None under plain Locust."""
    folder = os.environ.get(RUN_VARIABLE)
    if not folder:
        return None
    path = Path(folder)
    return plan_from(read_manifest(path), path, controlled=True)
