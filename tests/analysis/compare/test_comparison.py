"""Two groups of runs: how runs are assigned to sides, what differs, and the verdict."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tokenswarm.analysis.compare import rule_of_thumb
from tokenswarm.analysis.compare.ab_test import Reading, difference, holm
from tokenswarm.analysis.compare.comparison_report import compare_runs, document
from tokenswarm.analysis.compare_files import COMPARISON_HTML, COMPARISON_JSON, COMPARISON_MD, write_comparison
from tokenswarm.analysis.library.entries import read_entry
from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.render.compare_page import markdown, render_comparison

from tests.analysis.make_run import calm_host, manifest, row, write_run
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.presence import present
from tokenswarm.client.answer import Answer
from tokenswarm.contract.tables import PROMPT_COLUMNS, names
from tokenswarm.generator.fingerprints import Fingerprints

START = manifest()["phases"][1]["start"]


def run(
    folder: Path,
    name: str,
    ttft_ms: float,
    *,
    engine: str = "vLLM",
    engine_facts: dict | None = None,
    count: int = 240,
    **facts,
) -> Path:
    """A valid run whose TTFT is `ttft_ms` with some spread; `facts` replace entries of run.json."""
    told = (
        manifest()
        | {
            "run_id": name,
            "simulated": False,
            "engine": manifest()["engine"] | {"name": engine.lower(), "title": engine} | (engine_facts or {}),
        }
        | facts
    )
    ttfts = [ttft_ms * (0.8 + (i * 7 % 40) / 100) for i in range(count)]
    rows = [
        row(
            run_id=name,
            request_id=f"{name}-{i}",
            sent_at=START + i / 4,
            ttft_ms=ttft,
            ttfo_ms=ttft,
            e2e_ms=1090.0,
            shared_prefix_chars=600,
            prompt_chars=1000,
        )
        for i, ttft in enumerate(ttfts)
    ]
    host = calm_host()
    return write_run(folder / name, rows, told, host=host)


def series(folder: Path, name: str, values: list[float], **facts) -> list[Path]:
    return [run(folder, f"{name}-{number}", value, **facts) for number, value in enumerate(values)]


def figure(found, key: str):
    return next(result for result in found.results if result.metric.key == key)


# ---- the test itself


def test_a_clear_difference_is_found_with_its_ratio() -> None:
    found = difference([Reading(v) for v in (100, 102, 98)], [Reading(v) for v in (150, 153, 147)], ratio=True)
    assert found.significant
    assert found.low < 1.5 < found.high
    assert found.change == pytest.approx(1.5)


def test_runs_that_spread_as_far_as_they_differ_show_no_difference() -> None:
    found = difference([Reading(v) for v in (80, 100, 125)], [Reading(v) for v in (90, 112, 140)], ratio=True)
    assert not found.significant
    assert found.low < 1 < found.high


def test_a_single_run_counts_by_its_own_interval_and_says_so() -> None:
    near = difference([Reading(100, 90, 111)], [Reading(105, 95, 116)], ratio=True)
    known = difference([Reading(100, 98, 102)], [Reading(150, 147, 153)], ratio=True, run_spread=0.3)
    assert not known.significant
    assert difference([Reading(100, 98, None)], [Reading(150, 147, 153)], ratio=True) is None
    far = difference([Reading(100, 98, 102)], [Reading(150, 147, 153)], ratio=True)
    assert (near.significant, far.significant, far.repeated) == (False, True, False)
    assert difference([Reading(100)], [Reading(105)], ratio=True) is None


def test_a_single_run_against_repeats_spreads_at_least_as_they_do() -> None:
    found = difference([Reading(100, 99.9, 100.1)], [Reading(v) for v in (90, 105, 120)], ratio=True)
    assert not found.significant


def test_no_error_in_any_run_is_not_certainty() -> None:
    found = difference([Reading(0.0, 0.0, 0.02)] * 3, [Reading(0.0, 0.0, 0.02)] * 3, ratio=False)
    assert not found.significant
    assert found.low < 0 < found.high


def test_holm_is_stricter_than_each_test_alone() -> None:
    assert holm([0.04, 0.03, 0.2]) == [False, False, False]
    assert holm([0.001, 0.04, 0.02]) == [True, True, True]
    assert holm([0.001, 0.04, 0.03]) == [True, False, False]
    assert holm([]) == []


# ---- groups


def test_runs_of_two_engines_tell_themselves_apart(tmp_path) -> None:
    runs = series(tmp_path, "v", [100, 102, 98]) + series(tmp_path, "s", [60, 61, 59], engine="SGLang")
    found = compare_runs(runs)
    assert (found.groups.label_a, found.groups.label_b, found.groups.by) == ("vLLM", "SGLang", "engine")
    assert figure(found, "ttft_p95_ms").state == "better"
    assert figure(found, "e2e_p95_ms").state == "equal"
    assert found.verdict.winner == "b"
    assert found.verdict.sentence.startswith("SGLang is better: SGLang's TTFT p95 is 0.600 times vLLM's (")
    assert "Equal within 5%: E2E p95" in found.verdict.sentence


def test_equal_engines_have_no_winner(tmp_path) -> None:
    runs = series(tmp_path, "v", [100, 104, 97]) + series(tmp_path, "s", [101, 98, 103], engine="SGLang")
    found = compare_runs(runs)
    assert found.verdict.winner is None
    assert found.verdict.sentence.startswith("Undecided between vLLM and SGLang: SGLang's TTFT p95 is 1")
    assert "more runs of each side would tell" in found.verdict.sentence


def test_sides_that_lie_within_the_margin_are_equal(tmp_path) -> None:
    runs = series(tmp_path, "v", [100, 100.4, 99.8]) + series(tmp_path, "s", [100.1, 100.2, 99.9], engine="SGLang")
    found = compare_runs(runs)
    assert (found.verdict.winner, figure(found, "ttft_p95_ms").state) == (None, "equal")
    assert found.verdict.sentence.startswith("vLLM and SGLang are equal within 5%")


def test_runs_of_the_same_seeds_are_tested_in_pairs(tmp_path) -> None:
    """Each pair has other work, which moves both sides far more than they differ."""
    work = [100, 180, 70, 130]
    runs = [run(tmp_path, f"v-{seed}", level, seed=seed) for seed, level in enumerate(work)]
    runs += [
        run(tmp_path, f"s-{seed}", level * factor, engine="SGLang", seed=seed)
        for seed, (level, factor) in reversed(list(enumerate(zip(work, (0.80, 0.82, 0.79, 0.81), strict=True))))
    ]
    found = compare_runs(runs)
    ttft = figure(found, "ttft_p95_ms")
    assert (ttft.difference.paired, ttft.state, found.verdict.winner) == (True, "better", "b")
    assert ttft.difference.change == pytest.approx(0.805, rel=0.01)
    assert document(found)["figures"][0]["paired"] is True


def test_two_single_runs_have_no_winner_however_far_apart_they_lie(tmp_path) -> None:
    found = compare_runs([run(tmp_path, "v", 100), run(tmp_path, "s", 300, engine="SGLang")])
    assert found.verdict.winner is None
    assert figure(found, "ttft_p95_ms").state == "undecided"
    assert "the spread between repeats is unknown: repeat both" in found.verdict.sentence


def test_figures_outside_the_headline_are_corrected_for_their_number(tmp_path) -> None:
    found = compare_runs(series(tmp_path, "v", [100, 102, 98]) + series(tmp_path, "s", [60, 61, 59], engine="SGLang"))
    further = [result for result in found.results if not result.metric.headline and result.difference]
    different = [result for result in further if result.state in ("better", "worse")]
    assert different
    assert all(
        result.difference.p < 0.05 / len([each for each in further if each.difference.p > result.difference.p] or [1])
        for result in different
    )


def test_a_figure_that_only_the_correction_leaves_undecided_is_named_with_the_reason(tmp_path) -> None:
    def runs(name: str, values: list[float], **facts) -> list[Path]:
        return series(tmp_path, name, values, **facts)

    found = compare_runs(runs("v", [100, 104, 96]) + runs("s", [92, 89, 86], engine="SGLang"))
    corrected = [result for result in found.results if result.corrected]
    assert corrected and all(result.state == "undecided" and result.difference.p < 0.05 for result in corrected)
    (note,) = [note for note in found.notes if "Holm" in note]
    assert all(result.metric.title in note for result in corrected)
    alike = compare_runs(runs("x", [100, 104, 96]) + runs("y", [101, 99, 97], engine="SGLang"))
    assert not any("Holm" in note for note in alike.notes)


def test_two_flag_sets_of_one_engine_are_told_apart_by_their_settings(tmp_path) -> None:
    def scenario(value: str) -> dict:
        return manifest()["scenario"] | {"overrides": {"engine.prefill_budget": value}}

    runs = series(tmp_path, "a", [100, 101, 99], scenario=scenario("4096")) + series(
        tmp_path, "b", [80, 81, 79], scenario=scenario("16384")
    )
    found = compare_runs(runs)
    assert (found.groups.by, len(found.groups.a), len(found.groups.b)) == ("settings", 3, 3)
    assert "engine.prefill_budget=16384" in markdown(found).replace("\\_", "_")


def test_the_setting_under_test_is_what_you_varied_and_what_both_sides_were_given_is_said(tmp_path) -> None:
    def side(budget: int) -> dict:
        overrides = {"engine.prefill_budget": str(budget), "rag.documents": "8", "prompts.seed": "3"}
        effective = {"prefill_budget": budget, "context_length": budget}
        return {
            "scenario": manifest()["scenario"] | {"overrides": overrides},
            "engine_facts": {"effective": effective},
        }

    runs = series(tmp_path, "a", [100, 101, 99], **side(4096)) + series(tmp_path, "b", [80, 81, 79], **side(16384))
    found = compare_runs(runs)
    assert {one.name: one.excused for one in found.setup} == {
        "prefill_budget": "what you varied",
        "context_length": None,
    }
    page = render_comparison(found)
    assert page.count("neither varied nor the engine's own") == 1 and "what you varied" in page
    assert 'Both sides: <span class="mono">rag.documents=8</span>' in page
    assert "- both: rag.documents=8" in markdown(found).replace("\\", "")
    assert document(found)["shared_settings"] == "rag.documents=8"


def test_a_run_that_is_not_valid_is_left_out_and_named(tmp_path) -> None:
    bad = run(tmp_path, "bad", 500, status="running")
    runs = [*series(tmp_path, "v", [100, 102, 98]), bad, *series(tmp_path, "s", [60, 61, 59], engine="SGLang")]
    found = compare_runs(runs)
    assert len(found.groups.a) == 3
    assert [(one.run_id, one.why.startswith("ENDED EARLY: ")) for one in found.groups.left_out] == [("bad", True)]


@pytest.mark.parametrize(
    ("names", "code", "words"),
    [
        (("v", "v2"), Exit.USAGE, "these runs do not fall into two sides"),
        (("v", "s", "x"), Exit.USAGE, "3 kinds by their engine"),
        (("v", "simulated"), Exit.USAGE, "simulator"),
    ],
)
def test_runs_that_do_not_make_two_sides_are_refused_in_a_sentence(tmp_path, names, code, words) -> None:
    runs = {
        "v": lambda: run(tmp_path, "v", 100),
        "v2": lambda: run(tmp_path, "v2", 100),
        "s": lambda: run(tmp_path, "s", 90, engine="SGLang"),
        "x": lambda: run(tmp_path, "x", 90, engine="Other"),
        "simulated": lambda: run(tmp_path, "sim", 90, engine="Simulator", simulated=True),
    }
    with pytest.raises(UserError, match=words) as raised:
        compare_runs([runs[name]() for name in names])
    assert raised.value.code is code


def test_nothing_valid_on_a_side_is_said(tmp_path) -> None:
    good, bad = run(tmp_path, "good", 100), run(tmp_path, "bad", 100, status="running")
    with pytest.raises(UserError, match="no run of side B is left") as raised:
        compare_runs(a=[good], b=[bad])
    assert raised.value.code is Exit.ENDED_EARLY


def test_a_reason_that_all_runs_share_is_told_once(tmp_path) -> None:
    bad = [run(tmp_path, f"bad{number}", 100, status="running") for number in range(3)]
    with pytest.raises(UserError) as raised:
        compare_runs(a=[run(tmp_path, "good", 100)], b=bad)
    said = str(raised.value)
    assert ": bad0, bad1 and bad2 are ENDED EARLY; the first: " in said and said.count("ENDED EARLY") == 1, said


def test_cold_prompts_on_one_side_are_named(tmp_path) -> None:
    cold, steady = (manifest()["load"] | {"prompts": state} for state in ("cold", "steady"))
    found = compare_runs(
        [
            *series(tmp_path, "v", [100, 101, 99], load=cold),
            *series(tmp_path, "s", [90, 91, 89], engine="SGLang", load=steady),
        ]
    )
    assert any(
        "load is not the same" in each and "prompts cold" in each and "prompts steady" in each for each in found.unfair
    )


def test_other_loads_and_prompts_are_named(tmp_path) -> None:
    other = manifest()["load"] | {"users": 200}
    found = compare_runs(
        [
            *series(tmp_path, "v", [100, 101, 99]),
            *series(tmp_path, "s", [90, 91, 89], engine="SGLang", load=other, salt="zz"),
        ]
    )
    assert any("load is not the same" in sentence and "users 200" in sentence for sentence in found.unfair)
    assert any("another salt" in sentence for sentence in found.unfair)


def test_intervals_of_shares_stay_between_none_and_all(tmp_path) -> None:
    runs = [*series(tmp_path, "v", [100, 101]), *series(tmp_path, "s", [90, 91], engine="SGLang")]
    told = document(compare_runs(runs))
    ends = [
        end
        for figure in told["figures"]
        if figure["unit"] == "share" and "a" in figure
        for side in "ab"
        for end in figure[side]["ci95"]
    ]
    assert len(ends) >= 4 and min(ends) >= 0.0 and max(ends) <= 1.0


def test_goodput_by_other_limits_is_named(tmp_path) -> None:
    def scenario(limit_ms: int) -> dict:
        return manifest()["scenario"] | {"values": {"slo": {"ttft_p95_ms": limit_ms}}}

    found = compare_runs(
        [
            *series(tmp_path, "v", [100, 101, 99], scenario=scenario(90)),
            *series(tmp_path, "s", [100, 101, 99], engine="SGLang", scenario=scenario(400)),
        ]
    )
    told = [sentence for sentence in found.unfair if "goodput" in sentence]
    assert len(told) == 1 and "ttft_ms <= 90" in told[0] and "ttft_ms <= 400" in told[0]


def test_settings_that_differ_without_excuse_are_told_from_the_engines_own(tmp_path) -> None:
    def engine(name: str, **effective) -> dict:
        return manifest()["engine"] | {"name": name.lower(), "title": name, "effective": effective}

    found = _two_engines(tmp_path, engine)
    assert {one.name: one.excused for one in found.setup if one.name != "version"} == {
        "context_length": None,
        "block_size": "the engine's own",
    }


def _two_engines(tmp_path, engine):
    def one(name: str, title: str, **effective) -> Path:
        told = manifest() | {"run_id": name, "simulated": False, "engine": engine(title, **effective)}
        rows = [row(request_id=f"{name}-{i}", sent_at=START + i / 4, ttft_ms=100 + i % 9) for i in range(240)]
        host = calm_host()
        return write_run(tmp_path / name, rows, told, host=host)

    return compare_runs(
        [
            one("v", "vLLM", context_length=8192, block_size=16, prefix_cache=True),
            one("s", "SGLang", context_length=4096, block_size=1, prefix_cache=True),
        ]
    )


# ---- the rule of thumb


@pytest.mark.parametrize(
    ("traits", "engine"),
    [
        (rule_of_thumb.Traits(0.30, 10, "llama"), "SGLang"),
        (rule_of_thumb.Traits(0.29, 10, "llama"), None),
        (rule_of_thumb.Traits(0.1, 10, "deepseek-ai/DeepSeek-R1"), "SGLang"),
        (rule_of_thumb.Traits(0.1, 100, "llama"), "vLLM"),
        (rule_of_thumb.Traits(0.1, 10, "llama", mixed_hardware=True), "vLLM"),
        (rule_of_thumb.Traits(0.1, 10, "llama", frequent_model_changes=True), "vLLM"),
        (rule_of_thumb.Traits(0.5, 200, "llama"), None),
        (rule_of_thumb.Traits(None, None, "llama"), None),
    ],
)
def test_the_rule_of_thumb_names_an_engine_by_the_traits_of_the_workload(traits, engine) -> None:
    assert rule_of_thumb.advise(traits).engine == engine


def test_traits_come_from_the_rows(tmp_path) -> None:
    measured = read_run(run(tmp_path, "v", 100)).measured
    found = rule_of_thumb.traits([rule_of_thumb.totals(measured, 60.0)], "llama")
    assert found.shared_prefix_share == pytest.approx(0.6)
    assert found.concurrency == pytest.approx(240 * 1.09 / 60)


def test_measurement_and_rule_that_disagree_are_said_to(tmp_path) -> None:
    runs = [*series(tmp_path, "v", [60, 61, 59]), *series(tmp_path, "s", [100, 102, 98], engine="SGLang")]
    found = compare_runs(runs)
    assert found.advice.engine == "SGLang"
    assert found.agreement.startswith("The measurement disagrees: vLLM was better")


# ---- the files


def test_the_three_files_say_the_same_and_hold_no_markup_of_others(tmp_path) -> None:
    hostile = "<script>alert(1)</script>|`x`"
    runs = [
        *series(tmp_path, "v", [100, 101, 99], model=hostile),
        *series(tmp_path, "s", [60, 61, 59], engine="SGLang", model=hostile),
    ]
    found = compare_runs(runs)
    told = write_comparison(found, tmp_path / "out")
    assert json.loads(json.dumps(told)) == json.loads((tmp_path / "out" / COMPARISON_JSON).read_text())
    page, text = (tmp_path / "out" / COMPARISON_HTML).read_text(), (tmp_path / "out" / COMPARISON_MD).read_text()
    assert told["verdict"]["winner_label"] == "SGLang"
    assert "SGLang is better: SGLang" in page
    assert "SGLang is better: SGLang" in text
    assert "<script>alert" not in page + text
    assert page == render_comparison(found)


def test_given_sides_keep_their_labels(tmp_path) -> None:
    found = compare_runs(a=[run(tmp_path, "v", 100)], b=[run(tmp_path, "v2", 90)], labels=("before", "after"))
    assert (found.groups.label_a, found.groups.label_b, found.verdict.repeated) == ("before", "after", False)


def test_what_the_runs_noted_about_their_engines_stands_on_every_form_of_the_comparison(tmp_path: Path) -> None:
    sentence = "vLLM runs on a CPU here: its speed says nothing about a <GPU>"
    folders = [
        *series(tmp_path, "a", [100.0, 101.0], notes=[sentence]),
        *series(tmp_path, "b", [100.0, 101.0], engine="SGLang", notes=[sentence]),
    ]
    found = compare_runs(folders)
    assert found.notes == [sentence]
    assert "nothing about a &lt;GPU&gt;" in render_comparison(found)
    assert "runs on a CPU here" in markdown(found)


def test_pairs_with_seeds_of_their_own_are_fair_and_a_seed_that_one_side_lacks_is_named(tmp_path) -> None:
    def side(name: str, seeds: list[int], engine: str) -> list[Path]:
        return [
            run(tmp_path, f"{name}{seed}", 100 + seed, engine=engine, seed=seed, salt=f"salt-{seed}") for seed in seeds
        ]

    fair = compare_runs([*side("v", [1, 2, 3], "vLLM"), *side("s", [1, 2, 3], "SGLang")])
    assert not any("seed" in sentence or "salt" in sentence for sentence in fair.unfair)
    lacking = compare_runs([*side("w", [1, 2, 3], "vLLM"), *side("t", [1, 2, 4], "SGLang")])
    assert "only vLLM has 3, only SGLang has 4" in " ".join(lacking.unfair)


@pytest.mark.parametrize(
    ("turns", "words"),
    [
        ("corpus", "concerns 10% of the prompt tokens, about; 30% are texts that stand for answers"),
        ("engine", "drift apart: these answers are 30%"),
    ],
)
def test_the_page_says_whose_words_stand_in_chat_histories_and_how_much_that_is(tmp_path, turns, words) -> None:
    """An answer of two turns ago stood in the prompt of the last turn: whoever wrote it, the cache may have it."""
    values = manifest()["scenario"] | {"values": {"chat": {"assistant_turns": turns}}}
    runs = [
        *series(tmp_path, "v", [100, 101], scenario=values),
        *series(tmp_path, "s", [90, 91], engine="SGLang", scenario=values),
    ]
    rows = Fingerprints(b"key")
    told = [
        rows.row(
            0,
            number,
            [
                {"role": "user", "content": "x" * 50},
                {"role": "assistant", "content": "y" * 20},
                {"role": "user", "content": "z" * 10},
                {"role": "assistant", "content": "w" * 10},
                {"role": "user", "content": "v" * 10},
            ],
            Answer(status="failed"),
        )
        for number in (1, 2)
    ]
    for folder in runs:
        (folder / "prompts.csv").write_text(",".join(names(PROMPT_COLUMNS)) + "\n" + "".join(told))
    found = [note for note in compare_runs(runs).notes if "histories" in note]
    assert len(found) == 1 and words in found[0]


@pytest.mark.parametrize(("factors_b", "unlike"), [((3.995, 3.986), False), ((3.995, 4.1), True), ((4.2, 4.2), True)])
def test_tokens_are_held_against_each_other_seed_by_seed(
    tmp_path: Path, factors_b: tuple[float, float], unlike: bool
) -> None:
    a, b = (
        [
            run(tmp_path, f"{side}-{seed}", 100, engine=engine, seed=seed, preflight={"chars_per_token": factor})
            for seed, factor in enumerate(factors)
        ]
        for side, engine, factors in (("a", "vLLM", (3.995, 3.986)), ("b", "SGLang", factors_b))
    )
    sentences = [sentence for sentence in compare_runs(a=a, b=b).unfair if "tokens are not the same" in sentence]
    assert bool(sentences) == unlike


def test_the_page_links_to_the_pages_of_its_runs_where_there_are_any(tmp_path) -> None:
    runs = [*series(tmp_path, "v", [100, 101, 99]), *series(tmp_path, "s", [60, 61, 59], engine="SGLang")]
    (runs[0] / "dashboard.html").write_text("a run")
    write_comparison(compare_runs(runs), tmp_path / "a comparison")
    listed = present(read_entry(tmp_path / "a comparison", "comparison-20270101-000000"))
    assert (listed.engine, listed.scenario) == ("vLLM, SGLang", "rag") and listed.sentence and listed.load_words
    page = (tmp_path / "a comparison" / COMPARISON_HTML).read_text()
    assert re.findall(r'href="([^"]*dashboard\.html)"', page) == [f"../{runs[0].name}/dashboard.html"]
