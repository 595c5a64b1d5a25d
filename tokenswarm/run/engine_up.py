"""Provides the engine of a run: the one at HOST, one already running here, or a new one, which can be left running."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.presence import present
from tokenswarm.contract.manifest import EXTERNAL
from tokenswarm.engines import Engine, adopt, is_told_apart, load_description, running, start_engine
from tokenswarm.run.progress import working
from tokenswarm.run.run_plan import EngineToStart, RunPlan

ENGINE_LOG = "engine.log"


def bring_up(plan: RunPlan, folder: Path, console: Console) -> Engine:
    """The engine to load, ready. If it is started here, its log goes into `folder`. Raises UserError."""
    if plan.engine is None:
        return _adopted(plan)
    there = running.find_matching(
        plan.engine.spec,
        plan.engine.model,
        plan.engine.wanted,
        plan.api_key,
        in_containers=plan.engine.runtime == "docker",
    )
    if there is not None:
        console.print(f"taking over {there.title} at {there.base_url}, which is already running", highlight=False)
        return there
    return _started(plan.engine, folder, console)


def _adopted(plan: RunPlan) -> Engine:
    engine = adopt(present(plan.host), plan.api_key, form=plan.scenario.endpoint.form())
    if plan.engine_name not in (EXTERNAL, engine.name):
        _take_as(plan, engine)
    return engine


def _take_as(plan: RunPlan, engine: Engine) -> None:
    """Treat the engine at HOST as the requested one if its description is `like` the recognized engine. Raises
    UserError (USAGE) otherwise."""
    wanted = load_description(plan.engine_name)
    if wanted.like != engine.name:
        raise UserError(
            Exit.USAGE,
            f"{plan.host} is {engine.title}, not {plan.engine_name}; use ENGINE={EXTERNAL} or ENGINE={engine.name}",
        )
    if not is_told_apart(engine, wanted):
        signs = " and ".join(
            f"{sign.endpoint} tells{f' {sign.path}' if sign.path else ''}{f' {sign.equals}' if sign.equals else ''}"
            for sign in wanted.told_apart
        )
        raise UserError(
            Exit.USAGE,
            f"{plan.host} is {engine.title} with other settings than {wanted.name}, whose {signs}; "
            f"use ENGINE={engine.name}, or start it as {wanted.name}: make up ENGINE={wanted.name}",
        )
    engine.description = wanted


def _started(engine: EngineToStart, folder: Path, console: Console) -> Engine:
    title = engine.spec.title
    with working(console, f"starting {title}") as status:
        return start_engine(
            engine.request(folder / ENGINE_LOG),
            engine.runtime,
            lambda seconds, line: status(f"starting {title} ... {seconds:.0f} s", line),
        )


def leave_running(engine: Engine, console: Console) -> None:
    """Let an engine started here outlive this command, and say so."""
    if not engine.keep():
        return
    console.print(
        f"{engine.title} is left running at {engine.base_url}; the next load takes it over. Stop it with: "
        f"make down ENGINE={engine.name}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
