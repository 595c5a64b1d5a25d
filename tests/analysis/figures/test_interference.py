"""Which requests meet a disturbance, how much their latencies rise, and why that may not be known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenswarm.analysis.figures.interference import (
    AFTER,
    BEFORE,
    BEYOND,
    DURING,
    FEWEST_CYCLES,
    Probes,
    interference_of,
    placed,
    rise,
)
from tokenswarm.analysis.figures.window import find_window
from tokenswarm.analysis.read.run_folder import Run, read_run
from tokenswarm.analysis.render.dashboard import render
from tokenswarm.analysis.summary import summarise
from tokenswarm.analysis.verdict.spoilt import withhold

from tests.analysis import make_run
from tokenswarm.contract.metrics import METRICS

MIX = {
    "of": "sessions",
    "disturbs": ["Reader"],
    "parts": [
        {"user_class": "Chatter", "scenario": "chat", "weight": 40},
        {"user_class": "Reader", "scenario": "rag", "weight": 1},
    ],
}


def test_stretches_follow_from_when_requests_were_sent() -> None:
    starts = np.array([10.0, 20.0])
    begins = np.array([5.0, 9.8, 10.4, 11.5, 12.5, 19.0, 20.5, 21.5])
    seen = placed(begins, begins, 0.3, starts, 1.0)
    assert list(seen.stretch) == [BEFORE, DURING, DURING, AFTER, BEFORE, BEFORE, DURING, AFTER]
    assert list(seen.cycle) == [-1, 0, 0, 0, 0, 0, 1, 1]
    assert np.isnan(seen.since_s[0]) and seen.since_s[2] == pytest.approx(0.4)


def test_without_any_disturbance_all_is_before() -> None:
    seen = placed(np.ones(3), np.arange(3.0), 0.1, np.empty(0), 1.0)
    assert set(seen.stretch) == {BEFORE} and np.isnan(seen.since_s).all()


def probes(cycles: int, during: float, each: int = 20) -> Probes:
    rng = np.random.default_rng(3)
    cycle = np.repeat(np.arange(cycles), 2 * each)
    stretch = np.tile(np.repeat([BEFORE, DURING], each), cycles)
    values = rng.lognormal(4, 0.3, len(cycle)) * np.where(stretch == DURING, during, 1.0)
    return Probes(values, np.zeros(len(cycle)), stretch, cycle)


def test_a_threefold_rise_is_within_its_interval_and_none_is_not_called_one() -> None:
    three, one = (rise(probes(30, factor), 95, DURING) for factor in (3.0, 1.0))
    assert 1.5 < three.low < 3.0 < three.high < 5.0
    assert one.low < 1.0 < one.high


@pytest.mark.parametrize(
    ("cycles", "each", "words"),
    [
        (FEWEST_CYCLES - 1, 20, f"needs {FEWEST_CYCLES} disturbances with bystanders during"),
        (30, 1, "needs 100 during"),
    ],
)
def test_too_few_disturbances_or_bystanders_have_no_rise(cycles: int, each: int, words: str) -> None:
    figure = rise(probes(cycles, 3.0, each), 95, DURING)
    assert figure.value is None and figure.why.startswith(words)
    assert BEYOND * 20 == 100


def test_disturbances_that_follow_each_other_leave_no_bystander_before_and_it_is_said() -> None:
    seen = probes(30, 3.0)
    seen.stretch[(seen.cycle > 6) & (seen.stretch == BEFORE)] = AFTER
    assert rise(seen, 50, DURING).why == f"needs {FEWEST_CYCLES} disturbances with bystanders before, has 7"


def folder(path: Path, mode: str = "open", mix: dict | None = MIX, firsts: float | None = 500.0) -> Run:
    """30 disturbances, 2 s apart; bystanders wait ten times as long during one. The first one began in the warm-up."""
    rng = np.random.default_rng(1)
    rows = [
        make_run.row(
            user_class="Reader",
            turn=1,
            sent_at=make_run.START + at,
            ttft_ms=firsts,
            last_token_ms=600.0,
            e2e_ms=600.0,
            phase="warmup" if at < 0 else "measure",
            status="ok" if firsts is not None else "failed",
        )
        for at in np.arange(-0.1, 60, 2.0)
    ]
    for at in np.sort(rng.uniform(0, 60, 2000)):
        busy = (at + 0.1) % 2.0 < 0.5
        ttft = float(rng.lognormal(3, 0.2)) * (10 if busy else 1)
        rows.append(
            make_run.row(
                user_class="Chatter",
                turn=1,
                sent_at=make_run.START + at,
                ttft_ms=ttft,
                last_token_ms=ttft + 300,
                e2e_ms=ttft + 300,
                icl_max_ms=8.0,
                icl_p50_ms=7.0,
                icl_p99_ms=8.0,
                status="failed" if busy and at > 59 else "ok",
            )
        )
    facts = make_run.manifest("rag")
    facts["load"] |= {"mode": mode, "rate": 35.0}
    if mix is not None:
        facts["scenario"]["values"]["mix"] = mix
    make_run.write_run(path, rows, facts)
    return read_run(path)


def found_in(run: Run):
    return interference_of(run.manifest, run.requests, run.measured, find_window(run))


def test_a_run_says_how_much_bystanders_wait_and_for_which_share_of_the_time(tmp_path: Path) -> None:
    found = found_in(folder(tmp_path / "run"))
    assert found.disturbances == 30 and found.length_ms.value == 500
    assert found.share_of_time.value == pytest.approx(0.25, abs=0.01)
    ttft, gap = found.latencies["ttft_ms"], found.latencies["icl_max_ms"]
    assert ttft.rise["p95"].ends[0] > 5 and ttft.rise["p95"].value == pytest.approx(10, rel=0.3)
    assert gap.rise["p95"].value == 1
    assert ttft.during.failed > 0 and ttft.after.failed == 0
    assert found.sentences[0].startswith("TTFT p95 of Chatter rose to ")
    assert found.sentences[1].startswith("Longest gap p95 of Chatter did not surely change")


def test_a_closed_loop_and_a_run_without_first_tokens_say_why_nothing_is_known(tmp_path: Path) -> None:
    assert "set a rate" in found_in(folder(tmp_path / "closed", mode="closed")).why
    assert "first token" in found_in(folder(tmp_path / "failed", firsts=None)).why


def test_a_run_in_which_nobody_is_said_to_disturb_has_none(tmp_path: Path) -> None:
    assert found_in(folder(tmp_path / "none", mix=None)) is None
    assert found_in(folder(tmp_path / "mix", mix=MIX | {"disturbs": []})) is None


def test_what_is_withheld_of_the_run_is_withheld_of_its_bystanders(tmp_path: Path) -> None:
    summary = summarise(folder(tmp_path / "run"))
    withhold(summary, ["ttft"], "its timing may be off")
    found = summary.interference
    assert found.latencies["ttft_ms"].rise["p95"].value is None and "is not known: its timing" in found.sentences[0]
    assert found.latencies["icl_max_ms"].rise["p95"].value is not None


def test_the_page_shows_the_stretches_and_comparisons_have_the_rise(tmp_path: Path) -> None:
    run = folder(tmp_path / "run")
    summary = summarise(run)
    page = render(run, summary)
    assert (
        '<h2 id="interference">Interference</h2>' in page
        and 'data-nav="Bystanders"' in page
        and "interference-ttft-ms" in page
    )
    assert "during / before" in page and "rose to" in page
    rises = {rate.name: rate.figure_of(summary) for rate in METRICS.rates() if rate.name.startswith("bystander")}
    assert rises["bystander_ttft_rise"].value > 5 and rises["bystander_gap_rise"].value == 1
