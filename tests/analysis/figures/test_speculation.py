"""Acceptance from an engine's counters over the window, from gauges where it has no others, or why there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenswarm.analysis.figures.speculation import ratio, speculation_of
from tokenswarm.analysis.figures.window import find_window
from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.render.dashboard import render
from tokenswarm.analysis.summary import summarise

from tests.analysis import make_run
from tokenswarm.contract.metrics import METRICS
from tokenswarm.contract.summary.engine_records import Speculation


def folder(path: Path, engine: list[dict[str, object]], **output: object):
    facts = make_run.manifest("rag")
    facts["scenario"]["values"] |= {"engine": {"speculation": {"method": "ngram", "tokens": 2}}, "output": output}
    rows = [make_run.row(sent_at=make_run.START + at) for at in range(60)]
    return read_run(make_run.write_run(path, rows, facts, engine))


def readings(**per_second: float) -> list[dict[str, object]]:
    """Counters that grew before the window too, and are read each second of it."""
    return [
        {"at": make_run.START + at, **{name: 1000 + each * at for name, each in per_second.items()}}
        for at in range(-5, 70)
    ]


def found_in(run) -> Speculation | None:
    return speculation_of(run.manifest, run.engine_metrics, find_window(run))


def test_counters_give_length_rate_and_places_over_the_window(tmp_path: Path) -> None:
    run = folder(
        tmp_path / "run",
        readings(spec_drafts=10, spec_draft_tokens=20, spec_accepted_tokens=9, spec_accepted_1=6, spec_accepted_2=3),
    )
    found = found_in(run)
    assert found.source == "counters" and found.drafts == 600
    assert found.length.value == pytest.approx(1.9) and found.rate.value == pytest.approx(0.45)
    assert [each.value for each in found.by_position] == pytest.approx([0.6, 0.3])
    summary = summarise(run)
    shown = {rate.name: rate.figure_of(summary) for rate in METRICS.rates() if rate.name.startswith("acceptance")}
    assert shown["acceptance_length"].value == pytest.approx(1.9)
    page = render(run, summary)
    assert "Speculative decoding</h2>" in page and "Drafts with token 2 accepted" in page


def test_a_place_that_an_engine_counts_only_once_it_accepts_has_its_share_of_all_drafts(tmp_path: Path) -> None:
    rows = readings(spec_drafts=10, spec_draft_tokens=20, spec_accepted_tokens=9)
    for row in rows:
        row["spec_accepted_1"] = (
            None if row["at"] < make_run.START + 30 else (row["at"] - make_run.START - 30) * 12 + 12
        )
    found = found_in(folder(tmp_path / "run", rows))
    assert [each.value for each in found.by_position] == [pytest.approx(0.6, abs=0.03)]


def test_gauges_stand_in_where_there_are_no_counters_and_it_is_said(tmp_path: Path) -> None:
    gauges = [
        {"at": make_run.START + at, "spec_accept_length": 0.0 if at < 5 else 2.0, "spec_accept_rate": 0.5}
        for at in range(60)
    ]
    found = found_in(folder(tmp_path / "run", gauges))
    assert found.source == "gauges" and found.drafts is None and found.by_position == []
    assert found.length.value == 2.0 and found.length.ci95 is None


def test_an_engine_that_was_asked_to_draft_and_says_nothing_has_a_reason(tmp_path: Path) -> None:
    found = found_in(folder(tmp_path / "run", readings(running=1)))
    assert found.length.value is None and "do not report drafts" in found.length.why


def test_nothing_drafted_in_the_window_is_no_acceptance_of_zero(tmp_path: Path) -> None:
    found = found_in(folder(tmp_path / "run", readings(spec_drafts=0, spec_draft_tokens=0, spec_accepted_tokens=0)))
    assert found.rate.value is None and found.length.value is None and "no token was drafted" in found.rate.why


def test_a_run_without_speculation_has_none(tmp_path: Path) -> None:
    facts = make_run.manifest("rag")
    run = read_run(make_run.write_run(tmp_path / "run", [make_run.row()], facts, readings(running=1)))
    assert found_in(run) is None


def test_made_prompts_and_answers_that_go_on_are_named(tmp_path: Path) -> None:
    notes = " ".join(found_in(folder(tmp_path / "run", readings(spec_drafts=1), ignore_eos=True)).notes)
    assert "prompts are made up" in notes and "ignore_eos" in notes and "simulator" in notes


def test_the_interval_of_a_ratio_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    held = 0
    for _ in range(400):
        drafts = rng.poisson(50, 60)
        chance = np.repeat(rng.beta(60, 40, 12), 5)  # five seconds at a time share their text's difficulty
        figure = ratio(rng.binomial(drafts, chance), drafts)
        held += figure.low <= 0.6 <= figure.high
    assert 0.90 <= held / 400 <= 0.985
