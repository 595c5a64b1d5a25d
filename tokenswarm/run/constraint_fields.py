"""Copies an engine's constraint fields from its description into the scenario, so that users in all processes send them
and run.json shows them."""

from __future__ import annotations

from tokenswarm.base.foreign import table
from tokenswarm.engines.spec.engine_spec import EngineSpec
from tokenswarm.scenario.model import Scenario


def with_fields(scenario: Scenario, spec: EngineSpec | None) -> Scenario:
    """The scenario (and each of a mix) with the engine's fields, unless it has its own."""
    if spec is None or not spec.constraints or scenario.endpoint.constraints:
        return scenario
    endpoint = scenario.endpoint.model_copy(update={"constraints": dict(spec.constraints)})
    if scenario.mix is None:
        return scenario.model_copy(update={"endpoint": endpoint})
    parts = tuple(
        part.model_copy(
            update={
                "values": {
                    **part.values,
                    "endpoint": {**table(part.values.get("endpoint")), "constraints": dict(spec.constraints)},
                }
            }
        )
        for part in scenario.mix.parts
    )
    return scenario.model_copy(update={"endpoint": endpoint, "mix": scenario.mix.model_copy(update={"parts": parts})})
