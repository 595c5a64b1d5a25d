"""What the GPUs of a run cost."""

from __future__ import annotations

from tokenswarm.contract.manifest import CostRecord
from tokenswarm.engines import Engine
from tokenswarm.run.run_plan import RunPlan


def price(plan: RunPlan, engine: Engine, gpus: list[str]) -> CostRecord | None:
    """The price, and how many GPUs it is paid for: those named in GPUS (`all`: those that are watched), else what a
    container was given (`gpus`, by name), else as many as the engine says it uses. None where no price is known."""
    if plan.gpu_hour_usd is None:
        return None
    used = int(engine.effective.get("tensor_parallel") or 1) * int(engine.effective.get("data_parallel") or 1)
    named = len(gpus) if plan.gpus_named is None else plan.gpus_named
    in_container = len(gpus) if engine.runtime == "docker" else 0
    return CostRecord(plan.gpu_hour_usd, named or in_container or used)
