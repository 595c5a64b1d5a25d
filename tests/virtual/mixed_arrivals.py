"""A mix of single questions in virtual time: the open loop's arrivals, each drawn for a class as the load has it,
against the simulator's engine model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import pandas as pd

from tokenswarm.base.config_text import parse_set
from tokenswarm.base.presence import present
from tokenswarm.client.answer import Answer
from tokenswarm.contract.manifest import WarmupRecord
from tokenswarm.contract.phases import Timeline
from tokenswarm.contract.tables import REQUEST_COLUMNS, names
from tokenswarm.generator.mix_draw import ClassDraw
from tokenswarm.generator.request_body import constant_body, request_body
from tokenswarm.generator.rows import Origin, request_row
from tokenswarm.generator.schedule import measured_times
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.scenario.model import Scenario
from tokenswarm.sim.config import Config
from tokenswarm.virtual.run import VirtualRun
from tokenswarm.virtual.simulated_engine import VirtualEngine, simulated
from tokenswarm.virtual.virtual_time import Clock
from tokenswarm.workloads import create
from tokenswarm.workloads.corpus import Corpus, load_corpus

CORPUS = load_corpus()


class MixedArrivals:
    """One run of a mix whose sessions are one question each."""

    def __init__(
        self, scenario: Scenario, config: Config, seed: int, corpus: Corpus = CORPUS, salt: str = "virtual"
    ) -> None:
        self._seed, self._load = seed, scenario.load
        self._classes = scenario.classes()
        self._workloads = {name: create(each, corpus, seed, salt) for name, each in self._classes.items()}
        self._bodies = {name: constant_body(config.model, each.output) for name, each in self._classes.items()}
        self._draw = ClassDraw(present(scenario.mix), seed, 0, dict.fromkeys(self._classes, 1.0))
        self._engine, self._clock = VirtualEngine(config), Clock()
        self.rows: list[dict[str, object]] = []

    def play(self) -> pd.DataFrame:
        """Its requests, as the analysis reads them."""
        for number, due in enumerate(measured_times(self._load, self._seed, None)):
            if due >= self._load.duration_s:
                break
            self._clock.at(due, partial(self._send, number, due))
        while (event_s := self._clock.next_s()) is not None or self._engine.live:
            ended = self._engine.compute(math.inf if event_s is None else event_s)
            for exchange in ended:
                self._clock.at(present(exchange.job.times)[-1], partial(self._engine.end, exchange))
            if not ended and event_s is not None:
                self._clock.step()
        table = pd.DataFrame(self.rows, columns=names(REQUEST_COLUMNS)).sort_values("sent_at")
        return table.astype(dict.fromkeys(("ttft_ms", "last_token_ms", "icl_max_ms", "sent_at"), float))

    def _send(self, number: int, due: float) -> None:
        name = self._draw.by_number("measure", number)
        prompt = next(iter(self._workloads[name].session("measure", number)))
        origin = Origin("virtual", 0, "measure", name, f"virtual-{number}", due)

        def done(answer: Answer) -> None:
            self.rows.append(request_row(origin, prompt, answer))

        body = request_body(self._bodies[name], prompt, self._classes[name].output.max_tokens)
        assert not isinstance(self._engine.send(body, self._clock.now, done), Answer), "refused"


def interference_rows(settings: str, flags: Sequence[str], seed: int) -> tuple[Scenario, pd.DataFrame]:
    """The scenario interference with these settings, and its requests on a simulator with these flags."""
    scenario = load_scenario("interference", parse_set(settings))
    return scenario, MixedArrivals(scenario, simulated(*flags), seed).play()


def mixed_run(scenario: Scenario, config: Config, corpus: Corpus, *, seed: int, salt: str) -> VirtualRun:
    """The same as a run that is all measured, for `VirtualLoad`."""
    arrivals, timeline = MixedArrivals(scenario, config, seed, corpus, salt), Timeline(0.0)
    arrivals.play()
    timeline.set_window(0.0, scenario.load.duration_s, scenario.load.drain_s)
    timeline.end_measuring(scenario.load.duration_s, scenario.load.drain_s)
    return VirtualRun(arrivals.rows, timeline, WarmupRecord())
