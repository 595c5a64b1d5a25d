"""Before a run: how many tokens the engine makes of prompts whose length matters (see Workload.probes)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.masking import masked
from tokenswarm.client.answer import Answer
from tokenswarm.generator.new_run import fresh_salt
from tokenswarm.run.first_request import LoadToCheck, send_alone
from tokenswarm.run.run_plan import RunPlan
from tokenswarm.workloads import create
from tokenswarm.workloads.base import Prompt

_WORDS_CHARS = 200


def with_measured_prompts(plan: RunPlan, load: LoadToCheck,
                          ask: Callable[[LoadToCheck, Prompt], Answer] = send_alone) -> RunPlan:
    """The plan with what the engine's own counts say about the workload's prompts. Raises UserError (ENDPOINT) where
    it does not take them, or counts them otherwise than they must be."""
    scenario = plan.scenario
    workload = create(scenario, plan.corpus, scenario.prompts.seed, fresh_salt())
    probes = workload.probes()
    if not probes:
        return plan
    counts = []
    for prompt in probes:
        answer = ask(load, prompt)
        if not answer.ok:
            words = " ".join(masked(answer.error_detail, load.api_key).split())[:_WORDS_CHARS]
            raise UserError(Exit.ENDPOINT, f"{load.base_url} does not take {workload.probed}: {words or answer.error}")
        counts.append(answer.usage.prompt_tokens)
    try:
        settings, note = workload.measured(counts)
    except ValueError as error:
        raise UserError(Exit.ENDPOINT, f"{load.base_url} {error}") from None
    table = scenario.workload_settings.model_copy(update=settings)
    return replace(plan, scenario=scenario.model_copy(update={workload.name: table}),
                   prompt_notes=(*plan.prompt_notes, *([note] if note else [])))
