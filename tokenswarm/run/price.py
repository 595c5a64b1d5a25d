"""The price of a run's GPUs."""

from __future__ import annotations

from tokenswarm.contract.manifest import CostRecord
from tokenswarm.engines import Engine
from tokenswarm.run.run_plan import RunPlan


def price(plan: RunPlan, engine: Engine, gpus: list[str]) -> CostRecord | None:
    """The price and the number of GPUs: those named in GPUS (`all`: the monitored ones), otherwise those given to the
    container (`gpus`, by name), otherwise as many as the engine reports. None without a price."""
    if plan.gpu_hour_usd is None:
        return None
    used = int(engine.effective.get("tensor_parallel") or 1) * int(engine.effective.get("data_parallel") or 1)
    named = len(gpus) if plan.gpus_named is None else plan.gpus_named
    in_container = len(gpus) if engine.runtime == "docker" else 0
    return CostRecord(plan.gpu_hour_usd, named or in_container or used)
