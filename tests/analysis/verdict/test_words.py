"""Sentences that say no more than is known."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenswarm.analysis.cache.explanation import limiting_factor
from tokenswarm.analysis.figures.statistics import percentiles
from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.render.markdown import markdown
from tokenswarm.analysis.render.tiles import cards
from tokenswarm.analysis.summary import summarise
from tokenswarm.analysis.verdict.gates import cases

from tests.analysis.cache.test_yardstick import allowed
from tests.analysis.make_run import START, manifest, row, write_run
from tokenswarm.contract.metric import Place
from tokenswarm.contract.metrics import METRICS
from tokenswarm.contract.phases import Timeline
from tokenswarm.contract.tables import REQUEST_COLUMNS, names
from tokenswarm.live.aggregate import Delta
from tokenswarm.live.live_stats import LiveStats


def test_a_tile_that_is_not_certain_is_not_green(tmp_path: Path) -> None:
    rows = [row(request_id=f"r{i}", sent_at=START + i, ttft_ms=100.0 + i) for i in range(60)]
    told = manifest(scenario={"name": "rag", "values": {"slo": {"ttft_p95_ms": 158}}})
    found = summarise(read_run(write_run(tmp_path, rows, told)))
    assert (found.slo[0].state, found.slo[0].certain) == ("met", False)
    [tile] = [card for card in cards(found) if card["title"] == "TTFT p95"]
    assert (tile["state"], tile["words"]) == ("undetermined", "met, not certain")


def test_summary_md_and_junit_call_what_is_not_certain_so_and_give_it_no_green_mark(tmp_path: Path) -> None:
    rows = [row(request_id=f"r{i}", sent_at=START + i, ttft_ms=100.0 + i) for i in range(60)]
    told = manifest(scenario={"name": "rag", "values": {"slo": {"ttft_p95_ms": 158}}})
    found = summarise(read_run(write_run(tmp_path, rows, told)))
    [line] = [line for line in markdown(found).splitlines() if line.startswith("| TTFT p95 |")]
    assert "❔ met, not certain" in line and "✅" not in line
    [case] = [case for case in cases(found) if case.name == "slo.ttft_p95_ms"]
    assert case.state == "passed" and "met, not certain" in case.message
    assert found.outcome.sentence == "The one gate is met, not certain."


@pytest.mark.parametrize("place", [Place.TABLE, Place.TERMINAL, Place.MARKDOWN, Place.TAB, Place.TILE])
def test_wherever_prompt_and_output_tokens_stand_what_was_computed_of_them_does_too(place: Place) -> None:
    shown = [rate.name for rate in METRICS.rates_at(place)]
    assert "total_tok_s" not in shown or shown.index("computed_tok_s") == shown.index("total_tok_s") + 1


def test_notes_of_a_simulated_run_are_told(tmp_path: Path) -> None:
    found = summarise(read_run(write_run(tmp_path, [row()], manifest(notes=["The cache was not emptied."]))))
    assert found.simulated and "The cache was not emptied." in found.notes


def test_a_longer_run_would_find_more_hits_too() -> None:
    _, reason = limiting_factor(allowed(got=0.9, ideal=0.9, at_most=0.9))
    assert "or a longer run in which they are repeated" in reason


@pytest.mark.parametrize(("requests", "known"), [(99, False), (100, True)])
def test_a_p99_needs_as_many_requests_live_as_on_the_page(requests: int, known: bool, tmp_path: Path) -> None:
    timeline = Timeline(START)
    timeline.set_window(START, 600.0, 0.0)
    rows = [row(request_id=f"r{i}", sent_at=START + i, phase="measure", ttft_ms=float(i)) for i in range(requests)]
    live, part = LiveStats(timeline, bounded=lambda _: False, open_loop=False), Delta()
    for each in rows:
        part.add(dict.fromkeys(names(REQUEST_COLUMNS)) | each, {}, timeline)
    live.merge(part)
    assert (live.snapshot()["since_start"]["total"]["ttft_p99_ms"] is not None) is known
    page = percentiles(read_run(write_run(tmp_path, rows)).requests["ttft_ms"].to_numpy(), (99,))[99]
    assert (page.value is not None) is known
