"""Which tasks of run folders were solved, and the sentence about it."""

from __future__ import annotations

import json
from pathlib import Path

from tokenswarm.analysis.decision_answer import chosen_settings
from tokenswarm.analysis.solved_tasks import answers_of, solved

from tests.analysis.make_run import manifest, row, write_run
from tokenswarm.contract.tune_record import AnswersRecord, Ratio, Tune
from tokenswarm.workloads.reasoning import answers as answers_check

REAL = json.loads((Path(__file__).parents[1] / "workloads" / "no_utf8.json").read_text("utf-8"))
"""Answers of vLLM and SGLang with random weights, which a grammar held to a schema."""


def folder(path: Path, right: int, failed: int = 0) -> Path:
    rows = [row(conversation=f"s{number}", turn=1, valid_output=number < right, status="ok") for number in range(100)]
    rows += [
        row(conversation=f"f{number}", turn=1, valid_output=None, status="failed", error="timeout")
        for number in range(failed)
    ]
    rows.append(row(conversation="left", turn=1, valid_output=None, status="cancelled"))
    rows.append(row(conversation="unchecked", turn=1, valid_output=None))
    return write_run(path, rows, manifest("reasoning"))


def test_a_failed_request_is_no_right_answer_and_what_was_not_checked_is_no_task(tmp_path: Path) -> None:
    tasks = solved([folder(tmp_path / "a", 80, failed=3)])
    assert len(tasks) == 103 and sum(tasks.values()) == 80
    assert {name for _, name, _ in tasks if name.startswith("f")} == {"f0", "f1", "f2"}


def test_surely_worse_answers_are_said_and_their_settings_are_not_taken(tmp_path: Path) -> None:
    sides = {"before": [folder(tmp_path / "a", 90)], "after": [folder(tmp_path / "b", 60)]}
    answers = answers_of(sides, "kv_cache_dtype=fp8")
    assert answers.state == "worse" and "surely worse: 60% of 100 tasks are solved, 90% without it" in answers.sentence
    assert answers.ci95[1] < 0 and len(answers.runs) == 2
    tune = Tune(winner="a", default="default", ratio=Ratio(1.5, [1.4, 1.6]), answers=answers)
    assert chosen_settings(tune)[0] == "default"
    tune.answers = AnswersRecord("as_good")
    assert chosen_settings(tune)[0] == "a"


def test_a_model_that_solves_nothing_has_nothing_to_lose(tmp_path: Path) -> None:
    sides = {side: [folder(tmp_path / side, 2)] for side in ("before", "after")}
    assert "cannot be determined: the model solves 2% of the tasks" in answers_of(sides, "dtype=fp8").sentence


def test_the_texts_of_real_engines_with_random_weights_say_that_nothing_can_be_told(tmp_path: Path) -> None:
    """Their grammar makes every structured answer valid, and their text solves no task of reasoning."""
    texts = [each["answer"] for each in REAL]
    right = [answers_check(str(number))(texts[number % len(texts)]) for number in range(100)]
    sides, told = {}, manifest("reasoning")["scenario"]
    for side in ("before", "after"):
        asked = {"reasoning": right, "structured": [True] * 100}
        sides[side] = [
            write_run(
                tmp_path / side / scenario,
                [
                    row(conversation=f"s{n}", turn=1, valid_output=valid, status="ok")
                    for n, valid in enumerate(answered)
                ],
                manifest("reasoning", scenario=told | {"name": scenario}),
            )
            for scenario, answered in asked.items()
        ]
    answers = answers_of(sides, "kv_cache_dtype=fp8")
    assert answers.state == "cannot_tell" and answers.tasks == 200
    assert answers.sentence == (
        "Whether the answers stay as good under kv_cache_dtype=fp8 cannot be determined: the model solves 0% of the "
        "tasks of reasoning with its own format, so there is nothing to lose: are its weights random?"
    )
