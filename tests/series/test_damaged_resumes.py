"""A damaged record of a series is resumed or refused in one sentence."""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from rich.console import Console

from tests.analysis.make_run import manifest, row, write_run
from tests.browser.gallery import RECORDS
from tests.examples import examples
from tests.mutations import changed, mutate_json
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.commands.capacity_series import CapacityAsked, capacity_of
from tokenswarm.commands.decide import _going_on
from tokenswarm.commands.decide_stages import Stages
from tokenswarm.commands.tune import RaceAsked, race_settings, space_of_engine
from tokenswarm.contract.decision_record import DONE, PENDING, Decision, read_decision
from tokenswarm.contract.tables import SERIES_JSON
from tokenswarm.run.monitor import RunOutcome
from tokenswarm.run.options import LoadOptions
from tokenswarm.run.run_plan import resolve
from tokenswarm.series.decision_stages import decide
from tokenswarm.series.pairs import SeriesTools
from tokenswarm.series.space import DEFAULT
from tokenswarm.series.tune_state import Round, TuneState

ODD: dict[str, Any] = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}
BASE = LoadOptions(engine="sim", scenario="chat", overrides={"slo.ttft_p95_ms": "500"})
QUIET = Console(file=io.StringIO())


def _cut_short(options: LoadOptions, *_: object) -> RunOutcome:
    """A run that Ctrl-C ends: how a series goes on is told by what it asks for first."""
    folder = Path(tempfile.mkdtemp(dir=options.results if options.results.is_dir() else None))
    write_run(folder / "run", [row()], manifest("chat", 10))
    (folder / "run").rename(options.results / f"{folder.name}-run")
    folder.rmdir()
    return RunOutcome(options.results / f"{folder.name}-run", "interrupted")


TOOLS = SeriesTools(run=_cut_short, now=lambda: 0.0, checks=False)
CAPACITY = json.dumps(
    {
        "format": 1,
        "capacity": {"unit": "users"},
        "slo": {"ttft_ms": 500.0, "tpot_ms": 50.0},
        "runs": [{"load": 8.0, "run": "run-8", "seed": 1, "measured_s": 10.0, "measured": 3, "requests": 4}],
        "tiers": [{"name": "strict", "slo": {"ttft_ms": 110.0}, "target": 0.99, "capacity": {"unit": "users"}}],
        "engine": "sim",
        "scenario": "chat",
        "start": 8.0,
        "salt": "abc",
    }
).encode()


def _resumed_capacity(folder: Path) -> None:
    write_run(folder / "run-8", [row()], manifest("chat", 10))
    capacity_of(replace(BASE, results=folder), CapacityAsked(folder, resume=True, series=TOOLS), QUIET)


def test_an_endpoint_that_was_not_named_is_called_what_it_was_found_to_be(tmp_path: Path) -> None:
    options = LoadOptions(engine="external", host="http://127.0.0.1:1", scenario="chat", results=tmp_path)
    search = capacity_of(options, CapacityAsked(tmp_path / "search", series=TOOLS), QUIET)
    assert (search.engine, search.engine_called) == ("external", "Simulator (vLLM-like)")
    again = capacity_of(options, CapacityAsked(tmp_path / "search", resume=True, series=TOOLS), QUIET)
    assert again.engine_called == "Simulator (vLLM-like)"


SPACE = space_of_engine(resolve(BASE), None)
STATE = msgspec.json.encode(
    TuneState(
        candidates=[each.name for each in SPACE.candidates],
        rounds=[
            Round(seed, {"load.warmup_s": "5"}, dict.fromkeys([each.name for each in SPACE.candidates], 2.0), {})
            for seed in range(2)
        ],
        fresh={"default": [], "winner": []},
        total_s=10.0,
    )
)


def _resumed_race(folder: Path) -> None:
    race_settings(replace(BASE, results=folder), SPACE, RaceAsked(resume=True, series=TOOLS), QUIET, folder)


def _resumed_decision(folder: Path) -> None:
    options = Namespace(space=None, rounds=8)
    bases = [replace(BASE, engine=name, results=folder) for name in ("sim-vllm", "sim-sglang")]
    decision = _going_on(folder, [(base, resolve(base)) for base in bases])
    stages = Stages(options, bases, decision, folder, QUIET)
    stages._series = TOOLS
    decide(decision, stages.tools(), QUIET)


def _begun() -> bytes:
    """A decision whose first race is over."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(RECORDS / "decision.json", folder)
        decision: Decision = read_decision(Path(folder))
    for stage in decision.stages[1:]:
        stage.state = PENDING
    decision.stages[0].state, decision.sides[0].candidate = DONE, DEFAULT
    decision.pairs.a = decision.pairs.b = []
    decision.pairs.gone_through = 0
    return msgspec.json.encode(decision)


RESUMES = {
    "capacity.json": (CAPACITY, _resumed_capacity),
    SERIES_JSON: (STATE, _resumed_race),
    "decision.json": (_begun(), _resumed_decision),
}


@pytest.mark.parametrize("name", RESUMES)
def test_what_is_whole_goes_on(tmp_path: Path, name: str) -> None:
    content, resume = RESUMES[name]
    (tmp_path / name).write_bytes(content)
    resume(tmp_path)


@pytest.mark.parametrize("name", RESUMES)
def test_what_is_damaged_goes_on_or_is_refused_in_a_sentence(name: str) -> None:
    content, resume = RESUMES[name]
    tries = {"capacity.json": 30, SERIES_JSON: 60, "decision.json": 15}  # a decision takes a second of CPU

    @settings(max_examples=examples(tries[name]), **ODD)
    @given(changed(content, mutate_json))
    def tried(damaged: bytes | None) -> None:
        with tempfile.TemporaryDirectory() as under:
            if damaged is not None:
                (Path(under) / name).write_bytes(damaged)
            try:
                resume(Path(under))
            except UserError as error:
                assert "\n" not in str(error) and error.code in (Exit.RUN_FOLDER, Exit.USAGE, Exit.DATA)

    tried()
