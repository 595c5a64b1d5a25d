"""What repeats of one prompt say, and what they do not."""

from __future__ import annotations

import json

import pytest
from tokenswarm.analysis.compare.one_shot_figures import DIFFERENT, EQUAL, UNDECIDED, UNKNOWN, geometric, with_answer
from tokenswarm.analysis.render.one_shot_page import one_shot_markdown, render_one_shot

from tokenswarm.contract.one_shot_record import ContextFile, OneShot, Shot, ShotContrast, ShotEngine
from tokenswarm.contract.series_file import record_json

NOISE = (1.0, 1.02, 0.98, 1.01, 0.99)


def shots(
    engine: str, case: str, e2e_ms: float, ttft_ms: float = 100.0, noise: tuple[float, ...] = NOISE
) -> list[Shot]:
    return [
        Shot(
            engine,
            case,
            repeat,
            status="ok",
            e2e_ms=e2e_ms * factor,
            ttft_ms=ttft_ms * factor,
            prompt_tokens=20,
            cached_tokens=0,
            completion_tokens=150,
        )
        for repeat, factor in enumerate(noise, 1)
    ]


def record(*groups: list[Shot], interleaved: bool = True) -> OneShot:
    made = [shot for group in groups for shot in group]
    labels = list(dict.fromkeys(shot.engine for shot in made))
    return with_answer(
        OneShot(
            prompt="Why?",
            repeats=5,
            max_tokens=150,
            interleaved=interleaved,
            engines=[ShotEngine(label, label, label.upper(), model="m") for label in labels],
            shots=made,
        )
    )


def contrast(of: OneShot, what: str, case: str = "cold") -> ShotContrast:
    [one] = [
        each
        for each in of.contrasts
        if each.what == what and each.case_a == each.case_b == case and each.engine_a != each.engine_b
    ]
    return one


def test_tokens_per_second_are_over_the_whole_duration_as_people_post_it() -> None:
    [row] = record(shots("vllm", "cold", 5000.0)).rows
    assert row.tokens_s.value == pytest.approx(30.0, rel=0.001)
    assert row.duration_s.value == pytest.approx(5.0, rel=0.001)
    low, high = row.tokens_s.ends
    assert low is not None and high is not None and low < 30.0 < high


def test_the_faster_engine_is_named_with_ratio_and_interval() -> None:
    answer = record(shots("vllm", "cold", 5000.0), shots("sglang", "cold", 4000.0))
    tokens_s = contrast(answer, "tokens_s")
    assert tokens_s.state == DIFFERENT and tokens_s.paired and tokens_s.ratio == pytest.approx(1.25)
    assert "sglang is better" in answer.sentence and "1.25 times" in answer.sentence
    assert contrast(answer, "ttft_ms").state == EQUAL


def test_equal_engines_show_no_difference() -> None:
    other = tuple(reversed(NOISE))
    answer = record(shots("vllm", "cold", 5000.0), shots("sglang", "cold", 5000.0, noise=other))
    assert answer.sentence.startswith("No difference")
    assert all(each.state != DIFFERENT for each in answer.contrasts)


def test_a_wide_interval_is_undecided_with_the_repeats_that_would_tell() -> None:
    wild = (0.5, 1.6, 0.9, 1.4, 0.7)
    answer = record(shots("vllm", "cold", 5000.0), shots("sglang", "cold", 4500.0, noise=wild))
    tokens_s = contrast(answer, "tokens_s")
    assert tokens_s.state == UNDECIDED and (tokens_s.repeats_needed or 0) > 5
    assert "No difference shown" in answer.sentence


def test_a_ratio_that_only_its_own_interval_calls_different_is_not_sure_among_all_of_them() -> None:
    wild = (0.95, 0.78, 0.97, 0.82, 0.86)
    answer = record(
        *(shots("vllm", case, 1000.0) for case in ("fresh", "cached_again", "small")),
        shots("vllm", "cached", 1000.0, noise=wild),
    )
    [cached] = [each for each in answer.contrasts if (each.what, each.case_b) == ("duration_s", "cached")]
    assert cached.state == UNDECIDED and cached.ci95 is not None and cached.ci95[1] < 1.0 and (cached.p or 0) > 0.01
    assert "not sure: 1 is outside its interval" in cached.sentence


def test_one_repeat_gives_no_verdict_and_no_interval() -> None:
    answer = record(shots("vllm", "cold", 5000.0, noise=(1.0,)), shots("sglang", "cold", 4000.0, noise=(1.0,)))
    assert contrast(answer, "tokens_s").state == UNKNOWN
    assert answer.sentence.startswith("No verdict") and answer.rows[0].duration_s.ci95 is None


def test_engines_that_were_not_asked_in_turn_make_no_pairs() -> None:
    answer = record(shots("vllm", "cold", 5000.0), shots("sglang", "cold", 4000.0), interleaved=False)
    assert not contrast(answer, "tokens_s").paired
    assert "one after the other" in one_shot_markdown(answer)


def test_cold_and_cached_stand_apart_and_the_cached_one_is_held_against_the_cold_one() -> None:
    answer = record(
        shots("vllm", "fresh", 5253.0),
        shots("vllm", "cached", 4572.0),
        shots("vllm", "cached_again", 4510.0),
        shots("vllm", "small", 4155.0),
    )
    assert [row.case for row in answer.rows] == ["fresh", "cached", "cached_again", "small"]
    ratios = {each.case_b: each.ratio for each in answer.contrasts if each.what == "duration_s"}
    assert ratios["cached"] == pytest.approx(4572 / 5253) and set(ratios) == {"cached", "cached_again", "small"}


def test_failed_requests_are_counted_and_enter_no_figure() -> None:
    failed = Shot("vllm", "cold", 6, status="failed", error="overloaded")
    [row] = record([*shots("vllm", "cold", 5000.0), failed]).rows
    assert (row.asked, row.failed, row.duration_s.n) == (6, 1, 5)


def test_an_answer_of_one_event_has_no_ttft_and_that_is_no_zero() -> None:
    plain = [Shot("vllm", "cold", repeat, status="ok", e2e_ms=100.0 + repeat) for repeat in (1, 2)]
    [row] = record(plain).rows
    assert row.ttft_ms.value is None and row.ttft_ms.why and row.tokens_s.value is None and row.cached_tokens.why


def test_no_value_has_no_mean() -> None:
    assert geometric([], "s").value is None
    assert geometric([2.0], "s").ci95 is None


def test_page_and_markdown_escape_what_was_asked_and_say_simulated() -> None:
    answer = record(shots("sim", "cold", 300.0))
    answer.prompt, answer.context = "<script>|*x*", ContextFile("<i>.txt", 10, "0")
    answer.engines[0].simulated = True
    answer = with_answer(answer)
    for page in (render_one_shot(answer), one_shot_markdown(answer)):
        assert "SIMULATED" in page and "<script>|" not in page and "<i>" not in page
    assert json.loads(record_json(answer))["simulated"] is True


def test_speeds_of_a_cpu_are_told_as_such_before_the_figures_and_other_notes_after_them() -> None:
    answer = record(shots("vllm", "cold", 5000.0))
    assert "ran on a CPU" not in render_one_shot(answer)
    answer.engines[0].on_cpu, answer.engines[0].notes = True, ["VLLM on cpu: fewer sequences."]
    page, words = render_one_shot(answer), one_shot_markdown(answer)
    assert page.index("VLLM ran on a CPU") < page.index("<h2>Figures") < page.index("fewer sequences")
    assert "VLLM ran on a CPU: these speeds say nothing about a GPU." in words
