"""What a load-generating process is to do: read from the run folder that the command line prepared,
or made up on the spot when a locustfile runs under plain Locust."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tokenswarm.base.environment import KEY_VARIABLE, RUN_VARIABLE
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.masking import usable_key
from tokenswarm.base.presence import present
from tokenswarm.contract.manifest import CorpusRecord, Manifest, read_manifest
from tokenswarm.contract.objectives import bounds_of
from tokenswarm.scenario.arrivals import TIMES
from tokenswarm.scenario.endpoint_settings import EndpointSettings
from tokenswarm.scenario.model import Scenario
from tokenswarm.scenario.requests import Output, RequestLimits, Retry, UserBehaviour
from tokenswarm.workloads.corpus import DEFAULT_NAME, Corpus, load_corpus

ALL = ""
"""The user classes that have no plan of their own."""


@dataclass(frozen=True, slots=True)
class ClassPlan:
    """What the users of one class do and what is good enough for them: workload, output, limits, retries and SLO of
    one scenario. Its [load] and [engine] count only where it is the plan's leading scenario."""

    scenario: Scenario

    @property
    def output(self) -> Output:
        return self.scenario.output

    @property
    def limits(self) -> RequestLimits:
        return self.scenario.timeouts

    @property
    def retry(self) -> Retry:
        return self.scenario.retry

    @property
    def behaviour(self) -> UserBehaviour:
        return self.scenario.user

    @property
    def slo(self) -> Mapping[str, object]:
        return self.scenario.slo


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a worker needs to know. `workers` is how many load-generating processes share the run."""

    folder: Path
    run_id: str
    base_url: str
    model: str
    scenario: Scenario
    """The leading scenario: its [load] directs the run, and its [engine] gave the engine's settings."""
    corpus: Corpus
    seed: int
    salt: str
    workers: int
    controlled: bool
    """True if tokenswarm times the phases; False if something else ends the run (plain Locust)."""

    classes: Mapping[str, ClassPlan] = field(default_factory=dict)
    """Plans by user class; ALL stands for every class without one, by default with the leading scenario."""

    def __post_init__(self) -> None:
        first = next(iter(self.classes.values()), None) if self.scenario.mix is not None else None
        object.__setattr__(self, "classes", {ALL: first or ClassPlan(self.scenario), **self.classes})

    def name_for(self, user_class: str) -> str:
        """The name under which `classes` has the plan of a user class."""
        return user_class if user_class in self.classes else ALL

    def of(self, user_class: str) -> ClassPlan:
        """The plan of a user class."""
        return self.classes[self.name_for(user_class)]

    def endpoint_of(self, user_class: str) -> EndpointSettings:
        """How requests of a class are put to the endpoint; in a mix, which has one endpoint, all alike."""
        return (self.of(user_class).scenario if self.scenario.mix is None else self.scenario).endpoint

    def salt_of(self, user_class: str) -> str:
        """The salt of a class's prompts. Two classes with one kind of workload and one seed would make the same texts,
        and find each other's in the cache: the second has a salt of its own."""
        name, kind = self.name_for(user_class), self.of(user_class).scenario.workload
        if not self.salt or self.scenario.mix is None:
            return self.salt
        alike = [each for each, own in self.classes.items() if each != ALL and own.scenario.workload == kind]
        return self.salt if name == ALL or alike[0] == name else f"{self.salt}/{name}"

    def bounded(self, user_class: str) -> bool:
        """Whether the SLOs of a user class say what a good request is."""
        return bool(bounds_of(self.of(user_class).slo))

    @property
    def api_key(self) -> str | None:
        return api_key()


def api_key() -> str | None:
    """The endpoint's API key from the environment, or None. Raises UserError (AUTH) for one that cannot be sent."""
    return usable_key(os.environ.get(KEY_VARIABLE))


def plan_from(manifest: Manifest, folder: Path, controlled: bool) -> Plan:
    """The plan that a manifest (run.json) describes. Raises UserError if this machine has another corpus (CORPUS) or
    another file of arrival times (DATA)."""
    name = present(manifest.corpus).name
    corpus = load_corpus(None if name == DEFAULT_NAME else name)
    if CorpusRecord(**corpus.identity()) != manifest.corpus:
        raise UserError(
            Exit.CORPUS,
            f"the corpus {name} on this machine is not the one that the run was planned with: "
            "copy it to the same path, and use the same Python version for the default one",
        )
    scenario = Scenario.from_values(manifest.scenario.values)
    if scenario.load.arrivals == TIMES:
        try:
            scenario.load.times()
        except ValueError as error:
            raise UserError(Exit.DATA, str(error)) from None
    return Plan(
        folder=folder,
        run_id=present(manifest.run_id),
        base_url=present(manifest.engine.base_url),
        model=present(manifest.model),
        scenario=scenario,
        corpus=corpus,
        seed=int(manifest.seed or 0),
        salt=present(manifest.salt),
        workers=present(manifest.load.workers),
        controlled=controlled,
        classes={name: ClassPlan(Scenario.from_values(own.values)) for name, own in manifest.classes.items()},
    )


def prepared_plan() -> Plan | None:
    """The plan of the run folder in TOKENSWARM_RUN, or None under plain Locust."""
    folder = os.environ.get(RUN_VARIABLE)
    if not folder:
        return None
    path = Path(folder)
    return plan_from(read_manifest(path), path, controlled=True)
