"""From records to the answer: decision.json, its page and its Markdown."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import msgspec
import pytest
from tokenswarm.analysis.decision_answer import gpus_of, is_settled, judge, paired_goodput, per_gpu
from tokenswarm.analysis.decision_files import write_decision_files
from tokenswarm.analysis.render.decision_page import decision_sentences

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.contract.capacity_record import CapacityFigure
from tokenswarm.contract.decision_record import DONE, SKIPPED, Decision, PairsRecord, SideRecord, read_decision
from tokenswarm.contract.json_schemas import decision_schema
from tokenswarm.contract.manifest import CostRecord, EngineRecord, Manifest
from tokenswarm.contract.summary.figure import Figure
from tokenswarm.contract.summary.summary_record import Summary
from tokenswarm.contract.tune_record import Ratio
from tokenswarm.series.decision_stages import planned_stages


def side(name: str, capacity: float | None, low: float, high: float) -> SideRecord:
    figure = CapacityFigure("users", capacity, [low, high], low, high, reason="precision")
    return SideRecord(
        name,
        f"{name} simulator",
        candidate="a=<1>",
        settings={"a": 1},
        flags={"a": 1, "b": True},
        capacity=figure,
        per_gpu=per_gpu(figure, 1),
        tuned=Ratio(1.2, [1.1, 1.3]),
        usd_per_million_output_tokens=Ratio(0.5, [0.4, 0.6]),
    )


def decision(*sides: SideRecord, goodput: Ratio | None = None, p: float | None = None) -> Decision:
    stages = planned_stages(sides)
    for stage in stages:
        stage.state = DONE
    made = Decision(
        scenario="chat",
        simulated=True,
        sides=list(sides),
        stages=stages,
        load=40.0,
        slo={"ttft_p95_ms": 500.0},
        reason="all stages were made",
        pairs=PairsRecord(
            ["pairs/x"],
            ["pairs/y"],
            5,
            5,
            goodput or Ratio(why="not made"),
            p,
            rule_of_thumb="The rule of thumb says SGLang because x.",
            rule_of_thumb_engine="SGLang-like simulator",
        ),
    )
    judge(made)
    return made


def test_the_engine_that_surely_carries_more_is_taken_with_its_settings_and_price() -> None:
    made = decision(side("vLLM-like", 58.0, 55.0, 61.0), side("SGLang-like", 45.0, 43.0, 47.0))
    assert (made.state, made.engine, made.settings) == ("decided", "vLLM-like", {"a": 1})
    assert made.ratio.value == pytest.approx(58 / 45) and made.ratio.of == "capacity"
    assert made.ratio.runner_up == "SGLang-like simulator" and made.usd_per_million_output_tokens.value == 0.5
    assert made.capacity is not None and made.capacity.estimate == 58.0
    head = decision_sentences(made)[0]
    assert "Take vLLM-like simulator with a=<1>" in head and "1.29 times" in head
    again = msgspec.json.decode(msgspec.json.encode(made), type=Decision)
    assert decision_sentences(again) == decision_sentences(made), "read again, nothing is told twice"
    assert "The measurement disagrees" in made.rule_of_thumb


def test_the_second_engine_can_win_by_goodput_and_the_ratio_is_the_right_way_round() -> None:
    made = decision(side("A", 50.0, 40.0, 62.0), side("B", 52.0, 42.0, 64.0), goodput=Ratio(1.3, [1.2, 1.4]), p=0.001)
    assert (made.engine, made.ratio.of, made.ratio.value) == ("B", "goodput", pytest.approx(1.3))
    assert made.ratio.runner_up == "A simulator"
    assert {each.of: each.value for each in made.ratios}["capacity"] == pytest.approx(52 / 50)


def test_undecided_and_equal_name_nobody() -> None:
    made = decision(side("A", 50.0, 40.0, 62.0), side("B", 52.0, 42.0, 64.0), goodput=Ratio(1.1, [0.9, 1.3]), p=0.2)
    assert (made.state, made.engine, made.settings, made.capacity) == ("undecided", None, {}, None)
    assert decision_sentences(made)[0].startswith("Undecided between")
    made = decision(side("A", 50.0, 40.0, 62.0), side("B", 52.0, 42.0, 64.0), goodput=Ratio(1.0, [0.98, 1.02]), p=0.9)
    assert made.state == "equal" and "equal within 5%" in decision_sentences(made)[0]


def test_one_engine_alone_is_no_choice_but_an_answer() -> None:
    failed = SideRecord("B", "B", failure="out of memory")
    made = decision(side("A", 50.0, 40.0, 62.0), failed)
    for stage in made.stages[2:]:
        stage.state = SKIPPED
    judge(made)
    assert (made.state, made.engine) == ("one_engine", "A")
    assert any("out of memory" in sentence for sentence in decision_sentences(made))


def test_what_is_not_over_is_not_judged() -> None:
    made = decision(side("A", 50.0, 40.0, 62.0), side("B", 52.0, 42.0, 64.0))
    made.stages[-1].state, made.reason = "pending", ""
    judge(made)
    assert made.state == "going" and made.engine is None


def test_a_wide_bracket_has_no_middle_and_gpus_divide() -> None:
    narrow = per_gpu(CapacityFigure("users", None, [40.0, 44.0], reason="precision"), 2)
    assert narrow.value == pytest.approx(20.976, abs=0.01)
    wide = per_gpu(CapacityFigure("users", None, [2.0, 75.0], reason="budget"), 1)
    assert wide.value is None and wide.why == "between 2 and 75 users (the budget was spent)"
    limited = CapacityFigure("requests_s", None, [40.0, None], reason="limited")
    assert per_gpu(limited, 2).why == "at least 20 requests/s (the load generator was the limit)"
    assert gpus_of(Manifest(engine=EngineRecord(effective={"tensor_parallel": 2, "data_parallel": 3}))) == 6
    assert gpus_of(Manifest(cost=CostRecord(2.0, 4))) == 4 and gpus_of(Manifest()) == 1


def summary(seed: int, goodput: float | None, verdict: str = "VALID") -> Summary:
    made = Summary(verdict=verdict)
    made.run.seed, made.goodput.goodput_rps = seed, Figure(goodput)
    return made


def test_pairs_are_by_seed_and_what_is_invalid_has_no_partner() -> None:
    a = [summary(seed, 4.0 + 0.01 * seed) for seed in range(5)]
    b = [summary(seed, 8.0 + 0.03 * seed, "INVALID" if seed == 2 else "VALID") for seed in (3, 2, 1, 0)]
    ratio, p, pairs = paired_goodput(a, b, (1, 2), 5)
    assert pairs == 3 and ratio.value == pytest.approx(1.0, abs=0.01) and p is not None
    assert paired_goodput(a[:1], b, (1, 1), 5)[0].value is None
    assert not is_settled(Ratio(2.0, [1.5, 2.5]), 0.001, 2, 10), "two pairs know too little of their own spread"
    assert is_settled(Ratio(2.0, [1.5, 2.5]), 0.001, 3, 10) and is_settled(Ratio(1.0, [0.99, 1.01]), 0.9, 5, 10)


def test_pairs_that_never_differ_say_nothing_of_chance() -> None:
    a, b = ([summary(seed, 4.0) for seed in range(6)] for _ in range(2))
    ratio, p, _ = paired_goodput(a, b, (1, 1), 10)
    assert (ratio.value, ratio.ci95, p) == (1.0, None, None) and not is_settled(ratio, p, 6, 10)
    made = decision(side("A", 50.0, 40.0, 62.0), side("B", 52.0, 42.0, 64.0), goodput=ratio)
    assert made.state == "undecided"
    assert paired_goodput(a[:2], b[:2], (1, 1), 10)[0].value is None, "two pairs know too little of their own spread"


def test_files_keep_to_the_schema_are_read_again_and_escape_names(tmp_path: Path) -> None:
    made = decision(side("vLLM-like", 58.0, 55.0, 61.0), side("SGLang-like", 45.0, 43.0, 47.0))
    made.sides[0].runs = ["race-1-vLLM-like/run"]
    write_decision_files(made, tmp_path)
    jsonschema.validate(json.loads((tmp_path / "decision.json").read_text()), decision_schema())
    assert read_decision(tmp_path) == made and made.sentence.startswith("Take vLLM-like")
    page, text = (tmp_path / "decision.html").read_text(), (tmp_path / "decision.md").read_text()
    assert "a=&lt;1&gt;" in page and "a=<1>" not in page and "SIMULATED" in page and "SIMULATED" in text
    assert "TTFT p95 ≤ 500 ms" in page and "b = true" in page and "race-1-vLLM-like" not in page.split("<main>")[0]
    (tmp_path / "decision.json").write_text('{"format": 99}')
    with pytest.raises(UserError, match="format 99") as refused:
        read_decision(tmp_path)
    assert refused.value.code is Exit.RUN_FOLDER
