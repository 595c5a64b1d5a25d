"""A scenario's LoRA adapters on the engine: how requests name them, and whether they are available."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.run.run_plan import RunPlan

_SHOWN = 5


def with_adapters(plan: RunPlan, form: str | None, served: Sequence[str]) -> RunPlan:
    """The plan with the engine's form of adapter names. `form`: from its description; `served`: the models that the
    endpoint lists. Raises UserError (MODEL) if adapters are listed by name and some are missing: their requests would
    fail or be answered without the adapter.
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
