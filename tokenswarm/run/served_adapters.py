"""The adapters of a scenario on the engine that serves it: how requests name them, and whether they are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.run.run_plan import RunPlan

_SHOWN = 5


def with_adapters(plan: RunPlan, form: str | None, served: Sequence[str]) -> RunPlan:
    """The plan with the form in which this engine wants an adapter named. `form`: its description's; `served`: the
    models that the endpoint lists.

    Raises UserError (MODEL) where adapters are listed under their names and some are missing: requests for them would
    fail, or be answered without any.
    """
    lora = plan.scenario.lora
    if lora.adapters is None:
        return plan
    lora = lora.model_copy(update={"model": lora.model or form or "{name}"})
    missing = [name for name in lora.names() if lora.asked_model(1, "") == lora.names()[0] and name not in served]
    if missing and served:
        shown = ", ".join(missing[:_SHOWN]) + (", ..." if len(missing) > _SHOWN else "")
        raise UserError(
            Exit.MODEL,
            f"the endpoint does not list the adapters {shown}; it serves "
            f"{', '.join(served[:_SHOWN])}. Give lora.path, so that the engine loads them, or "
            "lora.name as they are called there",
        )
    return replace(plan, scenario=plan.scenario.model_copy(update={"lora": lora}))
