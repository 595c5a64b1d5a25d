"""The requests that a scenario's open loop would send, without an engine: to see what a workload is. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import count, islice
from random import Random

from tokenswarm.base.assumptions import TOKEN_S
from tokenswarm.scenario.arrivals import ARRIVALS
from tokenswarm.scenario.model import Scenario
from tokenswarm.traces.request import TraceRequest
from tokenswarm.workloads import create
from tokenswarm.workloads.base import Prompt
from tokenswarm.workloads.corpus import Corpus


def sample_requests(scenario: Scenario, corpus: Corpus, requests: int, seed: int = 1) -> Iterator[TraceRequest]:
    """So many requests, in the order of their arrival (one a second, where the scenario has no rate); a session's next
    one comes at the first arrival after its answer and its pause, as in a run."""
    workload = create(scenario, corpus, seed, "sample")
    load, rng = scenario.load, Random(f"sample/{seed}")
    gaps = ARRIVALS.get(load.arrivals)(Random(f"arrivals/{seed}"), load.burstiness_cv)
    waiting: list[tuple[float, int, Iterator[Prompt], Prompt]] = []
    numbers, at_s = count(), 0.0
    for gap in islice(gaps, requests):
        at_s += gap / (load.rate or 1.0)
        if waiting and waiting[0][0] <= at_s:
            _, number, session, prompt = heapq.heappop(waiting)
        else:
            number = next(numbers)
            session = iter(workload.session("measure", number))
            prompt = next(session)
        answer = prompt.max_tokens or scenario.output.max_tokens
        yield TraceRequest(
            time_s=at_s, messages=prompt.messages, output_tokens=answer, session=prompt.conversation, turn=prompt.turn
        )
        following = next(session, None)
        if following is not None:
            pause_s = answer * TOKEN_S + scenario.user.think_time_s.sample(rng)
            heapq.heappush(waiting, (at_s + pause_s, number, session, following))
