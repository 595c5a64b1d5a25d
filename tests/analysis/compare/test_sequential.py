"""Looking after each pair: the levels of the looks, and what a series says on its way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenswarm.analysis.compare.ab_test import Reading, Rules, difference
from tokenswarm.analysis.compare.comparison_report import compare_runs, document
from tokenswarm.analysis.compare.pairs_so_far import progress
from tokenswarm.analysis.compare.sequential import ONLY_LOOK, Look, looks
from tokenswarm.analysis.render.compare_page import markdown, render_comparison

from tests.analysis.compare.test_comparison import figure, run

LABELS = ("vLLM", "SGLang")


def sides(tmp_path: Path, factors: list[float]) -> tuple[list[Path], list[Path]]:
    work = [100, 180, 70, 130, 95, 160][: len(factors)]
    a = [run(tmp_path, f"v-{seed}", level, seed=seed) for seed, level in enumerate(work)]
    return a, [
        run(tmp_path, f"s-{seed}", level * factor, engine="SGLang", seed=seed)
        for seed, (level, factor) in enumerate(zip(work, factors, strict=True))
    ]


def so_far(tmp_path: Path, factors: list[float], rules: Rules):
    a, b = sides(tmp_path, factors)
    groups = compare_runs(a=a, b=b, labels=LABELS).groups
    return progress(groups.a, groups.b, LABELS, rules)


# ---- the levels


def test_early_looks_are_stricter_and_all_of_them_stricter_than_a_single_test() -> None:
    levels = [Look(done, 10).level for done in looks(10)]
    assert levels == sorted(levels) and levels[0] < 0.001 and 0.025 < levels[-1] < 0.05
    assert sum(levels) > 0.05, "looks at the same data overlap: a share each (Bonferroni) would give power away"


@pytest.mark.parametrize("look", [ONLY_LOOK, Look(2, 2)])
def test_a_test_that_is_made_once_has_all_of_the_5_percent(look: Look) -> None:
    assert look.level == pytest.approx(0.05) and look.p(0.03) == 0.03


def test_the_p_value_and_the_level_of_a_look_agree() -> None:
    look = Look(4, 8)
    assert look.p(0.99 * look.level) < 0.05 < look.p(1.01 * look.level)
    assert look.p(0.001) < look.p(0.01) < look.p(0.2) <= 1.0


def test_the_interval_at_a_look_is_wider_than_that_of_a_single_test() -> None:
    a, b = ([Reading(value) for value in values] for values in ((100, 104, 97), (120, 121, 118)))
    once = difference(a, b, ratio=True, paired=True)
    early = difference(a, b, ratio=True, paired=True, look=Look(3, 10))
    assert early.low < once.low < once.change == early.change < once.high < early.high
    assert once.p < early.p


def test_looks_at_runs_that_are_no_pairs_are_corrected_by_their_number() -> None:
    a, b = ([Reading(value) for value in values] for values in ((100, 104, 97), (120, 121, 118)))
    once, early = (difference(a, b, ratio=True, look=look) for look in (ONLY_LOOK, Look(3, 5)))
    assert early.p == pytest.approx(4 * once.p)
    assert early.low < once.low


def test_nothing_is_stopped_before_the_third_pair() -> None:
    assert [Look(done, 5).may_stop for done in (1, 2, 3, 4)] == [False, False, True, True]
    assert Look(2, 2).may_stop and not ONLY_LOOK.may_stop


def test_wilcoxon_stands_beside_the_paired_t_and_needs_six_pairs() -> None:
    rng = np.random.default_rng(1)
    for count, least in ((5, 0.0625), (6, 0.03125)):
        a = [Reading(float(value)) for value in rng.uniform(90, 110, count)]
        b = [
            Reading(1.5 * reading.value * factor)
            for reading, factor in zip(a, rng.uniform(0.99, 1.01, count), strict=True)
        ]
        assert difference(a, b, ratio=True, paired=True).wilcoxon_p == pytest.approx(least)


# ---- what a series says


def test_a_clear_difference_settles_a_series_early_and_says_so(tmp_path: Path) -> None:
    state = so_far(tmp_path, [0.800, 0.803, 0.798], Rules(planned_pairs=5))
    assert state.settled
    assert state.sentence.startswith("settled: SGLang is better: SGLang's TTFT p95 is 0.8")


def test_a_difference_that_the_first_look_cannot_tell_from_chance_goes_on_with_the_pairs_it_takes(
    tmp_path: Path,
) -> None:
    factors = [0.97, 0.90, 0.85]
    state = so_far(tmp_path, factors, Rules(planned_pairs=10))
    assert not state.settled
    assert state.sentence.startswith("not settled: Undecided between vLLM and SGLang")
    assert "more pairs would tell" in state.sentence


def test_a_single_pair_says_nothing(tmp_path: Path) -> None:
    assert so_far(tmp_path, [0.5], Rules(planned_pairs=5)).settled is False


def test_a_run_without_its_partner_stands_aside(tmp_path: Path) -> None:
    a, b = sides(tmp_path, [0.80, 0.803, 0.798, 0.801])
    found = compare_runs(a=a, b=b[1:], labels=LABELS)
    assert figure(found, "ttft_p95_ms").difference.paired
    assert any("v-0" in note and "no partner" in note for note in found.notes)


# ---- what may be set


def test_a_margin_that_is_set_decides_and_is_named(tmp_path: Path) -> None:
    a, b = sides(tmp_path, [1.06, 1.062, 1.059, 1.061])
    usual, wide = (compare_runs(a=a, b=b, labels=LABELS, rules=Rules(margin=margin)) for margin in (0.05, 0.10))
    assert (figure(usual, "ttft_p95_ms").state, figure(wide, "ttft_p95_ms").state) == ("worse", "equal")
    assert "equal within 10%" in wide.verdict.sentence
    assert "not within 10% of it" in render_comparison(wide)


def test_a_run_spread_that_is_known_lets_single_runs_be_told_apart(tmp_path: Path) -> None:
    a, b = run(tmp_path, "v", 100), run(tmp_path, "s", 300, engine="SGLang")
    found = compare_runs([a, b], rules=Rules(run_spread=0.05))
    assert (figure(found, "ttft_p95_ms").state, found.verdict.winner, found.verdict.repeated) == ("worse", "a", True)
    wide = compare_runs([a, b], rules=Rules(run_spread=0.9))
    assert (figure(wide, "ttft_p95_ms").state, wide.verdict.winner) == ("undecided", None)


def test_the_page_and_the_file_tell_the_looks_and_both_tests(tmp_path: Path) -> None:
    a, b = sides(tmp_path, [0.80, 0.82, 0.79])
    found = compare_runs(a=a, b=b, labels=LABELS, rules=Rules(planned_pairs=5))
    assert "3 of at most 5 pairs were made" in markdown(found)
    assert "Wilcoxon p 0.25" in markdown(found) and "Wilcoxon p 0.25" in render_comparison(found)
    written = document(found)
    assert written["rules"]["planned_pairs"] == 5
    assert written["figures"][0]["wilcoxon_p"] == pytest.approx(0.25)
