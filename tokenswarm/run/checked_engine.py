"""An engine that is up and has passed the check before the load: everything that runs against it share."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tokenswarm.base.signals import Interrupts
from tokenswarm.contract.manifest import EXTERNAL, CostRecord, PreflightRecord
from tokenswarm.engines import Engine, GpuSampler
from tokenswarm.engines.spec.engine_spec import EngineSpec
from tokenswarm.run.constraint_fields import with_fields
from tokenswarm.run.engine_up import bring_up
from tokenswarm.run.first_request import LoadToCheck
from tokenswarm.run.preflight import preflight
from tokenswarm.run.price import price
from tokenswarm.run.prompt_lengths import with_measured_prompts
from tokenswarm.run.run_plan import RunPlan
from tokenswarm.run.served_adapters import with_adapters
from tokenswarm.scenario.model import Scenario
from tokenswarm.workloads import create

_SAID_AFTER_S = 5.0


@dataclass(frozen=True, slots=True)
class CheckedEngine:
    """The engine of a plan, and what was learned about it before any load."""

    plan: RunPlan
    engine: Engine
    preflight: PreflightRecord
    notes: tuple[str, ...]
    """Sentences about the engine for each run.json."""
    gpus: GpuSampler | None
    """This machine's GPUs, if the engine runs on this machine."""

    @property
    def model(self) -> str:
        """The model name used in requests."""
        return self.preflight.model or ""

    @property
    def gpu_names(self) -> list[str]:
        """Names of the monitored GPUs."""
        return self.gpus.names if self.gpus else []

    @property
    def cost(self) -> CostRecord | None:
        """The price of its GPUs, if known."""
        return price(self.plan, self.engine, self.gpu_names)

    def announce(self, console: Console) -> None:
        """Print which engine it is, and any incompatibility with the official SDK."""
        engine = self.engine
        console.print(
            Text.assemble((engine.title, "bold"), f" {engine.version or ''}  model {self.model}  {engine.base_url}")
        )
        if self.preflight.sdk_compatible is False:  # None: not checked
            console.print(sdk_sentence(self.preflight), highlight=False, markup=False)


def sdk_sentence(checked: PreflightRecord) -> str:
    """Why an application with the official SDK could not switch to this endpoint by changing only its base_url."""
    return f"openai SDK: base_url alone is not enough: {'; '.join(checked.sdk_notes)}"


@dataclass(frozen=True, slots=True)
class EngineTools:
    """Functions that start and check an engine; tests inject their own."""

    bring_up: Callable[[RunPlan, Path, Console], Engine] = bring_up
    preflight: Callable[[LoadToCheck], PreflightRecord] = preflight
    release: Callable[[Engine], None] = lambda engine: engine.stop()
    """What happens to the engine when its run is over."""


@contextlib.contextmanager
def checked_engine(
    plan: RunPlan, folder: Path, console: Console, interrupts: Interrupts, tools: EngineTools | None = None
) -> Iterator[CheckedEngine]:
    """Context manager with the plan's engine, started and checked. An engine started here is released at the end, and
    killed by a second Ctrl-C. Its log goes into `folder`. Raises UserError."""
    tools = tools or EngineTools()
    engine = tools.bring_up(plan, folder, console)
    try:
        interrupts.on_hard_exit.append(engine.kill)
        plan = _with_recognised(plan, engine.description)
        load = LoadToCheck(engine.base_url, engine.model or plan.model or "", plan.scenario, plan.corpus, plan.api_key)
        with _said_when_slow(console, f"waiting for the first answer, up to {load.wait_s:g} s ..."):
            answers = tools.preflight(load)
        if answers.enforced is False and engine.description is not None and engine.description.constraints_need:
            answers.enforced_words = f"{answers.enforced_words} ({engine.description.constraints_need})"
        plan = with_adapters(plan, engine.description.adapter_model if engine.description else None, answers.models)
        load = replace(load, model=answers.model or load.model).after(answers.first_answer_s)
        with _said_when_slow(console, f"counting tokens by the engine, up to {load.wait_s:g} s an answer ..."):
            plan, fit = with_measured_prompts(plan, load)
        if fit is not None:
            answers.chars_per_token, answers.template_tokens = fit.chars_per_token, fit.template_tokens
        notes = [*engine.notes, *answers.notes]
        if plan.cpu_note:
            notes.append(plan.cpu_note)
        gpus = GpuSampler.open(only=plan.visible_gpus, own=engine.process_ids) if engine.runtime != EXTERNAL else None
        yield CheckedEngine(plan, engine, answers, tuple(notes), gpus)
    finally:
        tools.release(engine)


@contextlib.contextmanager
def _said_when_slow(console: Console, sentence: str) -> Iterator[None]:
    """Print a line if the step takes noticeably long."""
    timer = threading.Timer(_SAID_AFTER_S, lambda: console.print(sentence, highlight=False, markup=False))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _with_recognised(plan: RunPlan, spec: EngineSpec | None) -> RunPlan:
    """The plan, with the engine that the endpoint was recognized as."""
    scenario = with_fields(plan.scenario, spec)
    if scenario is plan.scenario:
        return plan
    before, after = (set(_notes(each, plan)) for each in (plan.scenario, scenario))
    return replace(
        plan,
        scenario=scenario,
        prompt_notes=(*(note for note in plan.prompt_notes if note not in before - after), *sorted(after - before)),
    )


def _notes(scenario: Scenario, plan: RunPlan) -> list[str]:
    return [
        note
        for own in scenario.classes().values() or [scenario]
        for note in create(own, plan.corpus, seed=0, salt="").notes()
    ]
