"""Chats beside long prefills in virtual time: chunked prefill shows in their gaps, and equal settings do not differ."""

from __future__ import annotations

from functools import cache

import pandas as pd
import pytest
from tokenswarm.analysis.compare.comparison import BETTER, WORSE, compare
from tokenswarm.analysis.figures.interference import interference_of
from tokenswarm.analysis.figures.window import Window

from tests.virtual.mixed_arrivals import interference_rows
from tokenswarm.contract.manifest import LoadRecord, Manifest, ScenarioRecord
from tokenswarm.contract.summary.figure import Figure
from tokenswarm.contract.summary.header_records import Header
from tokenswarm.contract.summary.interference_records import Interference
from tokenswarm.contract.summary.summary_record import Summary
from tokenswarm.scenario.model import Scenario

pytestmark = pytest.mark.slow  # whole runs, if in virtual time

SETTINGS = "load.duration_s=90"


def judged(scenario: Scenario, rows: pd.DataFrame) -> Interference:
    manifest = Manifest(
        load=LoadRecord(mode="open", rate=scenario.load.rate), scenario=ScenarioRecord(values=scenario.values())
    )
    found = interference_of(manifest, rows, rows, Window(0.0, scenario.load.duration_s, "manifest"))
    assert found is not None
    return found


@cache
def measured(*flags: str, seed: int = 1, settings: str = SETTINGS) -> Interference:
    return judged(*interference_rows(settings, flags, seed))


def gap_rise(*flags: str, seed: int = 1) -> Figure:
    figure = measured(*flags, seed=seed).latencies["icl_max_ms"].rise["p95"]
    assert figure.value is not None, figure.why
    return figure


def test_a_long_prefill_holds_up_answers_surely_less_where_it_is_cut_into_chunks() -> None:
    on = gap_rise("--max-batched-tokens", "2048")
    off = gap_rise("--max-batched-tokens", "8192", "--no-chunked-prefill")
    assert on.ends[0] > 1, "chunks disturb too"
    assert on.ends[1] < off.ends[0], "the intervals are apart"


def test_the_smaller_the_prefill_budget_the_shorter_the_longest_gap() -> None:
    small, middle, large = (gap_rise("--max-batched-tokens", budget) for budget in ("512", "2048", "8192"))
    assert small.ends[1] < middle.ends[0] and middle.ends[1] < large.ends[0]


ON, OFF = ("--max-batched-tokens", "2048"), ("--max-batched-tokens", "8192", "--no-chunked-prefill")


def compared(a: list[Summary], b: list[Summary]) -> str:
    """What a comparison says of the bystanders' longest gap in B."""
    (state,) = [result.state for result in compare(a, b) if result.metric.key == "bystander_gap_rise"]
    return state


def runs(flags: tuple[str, ...], *seeds: int) -> list[Summary]:
    return [Summary(run=Header(seed=seed), interference=measured(*flags, seed=seed)) for seed in seeds]


def test_a_comparison_in_pairs_calls_prefill_without_chunks_worse() -> None:
    assert compared(runs(ON, 1, 2, 3), runs(OFF, 1, 2, 3)) == WORSE


def test_equal_settings_with_other_arrivals_are_not_called_different() -> None:
    assert compared(runs(ON, 1, 2, 3), runs(ON, 4, 5, 6)) not in (BETTER, WORSE)


def test_nothing_rises_beside_a_neighbour_whose_prompts_are_short() -> None:
    scenario, rows = interference_rows(f"{SETTINGS} batch.document_tokens=60", ("--max-batched-tokens", "2048"), 1)
    found = judged(scenario, rows)
    for key in ("ttft_ms", "icl_max_ms"):
        figure = found.latencies[key].rise["p50"]
        assert figure.value is None or figure.ends[0] < 1.1, f"{key} rose {figure}"
    assert found.share_of_time.value < 0.05


def test_long_prefills_take_their_share_of_the_time_and_chats_are_alike_before_and_after() -> None:
    found = measured("--max-batched-tokens", "2048")
    assert found.bystanders == ["MultiTurnChatter"] and found.disturbers == ["BatchClassifier"]
    expected = found.disturbances * found.length_ms.value / 1e3 / 90
    assert 0.8 * expected < found.share_of_time.value <= expected
    after = found.latencies["ttft_ms"].rise_after["p50"]
    assert 0.9 < after.value < 1.1
    assert "rose to" in found.sentences[0] and "of the time" in found.sentences[0]
