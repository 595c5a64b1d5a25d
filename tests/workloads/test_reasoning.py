"""Reasoning: the known answers are right (programs are run, puzzles solved), and the check accepts them only."""

from __future__ import annotations

import re
from collections import Counter
from itertools import permutations
from random import Random
from statistics import fmean

import pytest

from tokenswarm.base.errors import UserError
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.workloads.reasoning import answers, final_answer
from tokenswarm.workloads.tasks import PROGRAMS, arithmetic_task, bug_task, logic_task

NAMES = {"f": "f", "xs": "xs", "x": "x", "best": "best"}
SPECIFICATION = {
    "return the largest of a non-empty list of numbers": max,
    "return the mean of a non-empty list of numbers": fmean,
    "return how many numbers of a list are even": lambda xs: sum(x % 2 == 0 for x in xs),
    "return a sorted copy of a list of numbers (insertion sort)": sorted,
    "return the sum of the positive numbers of a list": lambda xs: sum(x for x in xs if x > 0),
}
SAMPLES = [[3], [-4, -2], [5, -1, 7, 2], [2, 4, 9, 9, 1], [-3, 8, -5, 6], [1, 2, 3]]


def run(lines, xs):
    space: dict = {}
    exec("\n".join(lines).format(**NAMES), space)
    try:
        return space["f"](list(xs))
    except (NameError, ZeroDivisionError, IndexError) as error:
        return type(error)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.purpose)
def test_each_program_does_what_it_says(program):
    assert [run(program.lines, xs) for xs in SAMPLES] == [SPECIFICATION[program.purpose](xs) for xs in SAMPLES]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.purpose)
def test_each_broken_line_really_breaks_it(program):
    right = [SPECIFICATION[program.purpose](xs) for xs in SAMPLES]
    for number, line in program.broken.items():
        broken = [*program.lines[: number - 1], line, *program.lines[number:]]
        assert [run(broken, xs) for xs in SAMPLES] != right, line


@pytest.mark.parametrize("seed", range(40))
def test_the_line_that_a_bug_task_asks_for_is_the_wrong_one(seed):
    task = bug_task(Random(seed), 5)
    rows = dict(re.findall(r"^ *(\d+) \| (.*)$", task.question, re.MULTILINE))
    code = [row for row in rows.values() if not row.startswith("#")]
    lead = len(rows) - len(code)
    program = next(p for p in PROGRAMS if p.purpose in task.question)
    pattern = [re.sub(r"\\{\w+\\}", r"\\w+", re.escape(line)) for line in program.lines]
    wrong = [i for i, (row, p) in enumerate(zip(code, pattern, strict=True), start=1) if not re.fullmatch(p, row)]
    # `return {x}` for `return {best}` fits the pattern, since both are names.
    assert wrong in ([int(task.answer) - lead], [])
    assert rows[task.answer].strip() in {b.strip().format(**_names(code)) for b in program.broken.values()}


def _names(code):
    f, xs = re.match(r"def (\w+)\((\w+)\):", code[0]).groups()
    x = next(m.group(1) for row in code if (m := re.match(r" +for (\w+) in", row)))
    best = re.match(r" +(\w+) =", code[1]).group(1)
    return {"f": f, "xs": xs, "x": x, "best": best}


@pytest.mark.parametrize("seed", range(60))
def test_arithmetic_answers_are_those_of_the_story(seed):
    task = arithmetic_task(Random(seed), 1 + seed % 5)
    first, *steps = task.question.split(". ")
    count = int(re.search(r"\d+", first).group())
    for step in steps:
        amount = int(found.group()) if (found := re.search(r"\d+", step)) else 0
        if "deliveries of 7" in step:
            count += 7 * amount
        elif "sold" in step:
            count -= amount
        elif "doubled" in step:
            count *= 2
        elif "a third" in step:
            count -= count // 3
        assert count >= 0
    assert task.answer == str(count)
    assert len(steps) >= 2 + 2 * (1 + seed % 5)


@pytest.mark.parametrize("seed", range(60))
def test_logic_clues_leave_one_order_only_and_the_answer_is_in_it(seed):
    task = logic_task(Random(seed), 1 + seed % 5)
    people = re.search(r"row: ([^.]*)\.", task.question).group(1).split(", ")
    place = int(re.search(r"stands at place (\d)\?", task.question).group(1)) - 1
    left = [order for order in permutations(people) if _satisfies(order, task.question)]
    assert len(left) == 1
    assert left[0][place] == task.answer


def _satisfies(order, question):
    for a, b in re.findall(r"(\w+) stands somewhere to the left of (\w+)\.", question):
        if order.index(a) >= order.index(b):
            return False
    for a, b in re.findall(r"(\w+) stands directly to the left of (\w+)\.", question):
        if order.index(b) != order.index(a) + 1:
            return False
    return all(order.index(a) != int(n) - 1 for a, n in re.findall(r"(\w+) is not at place (\d)\.", question))


@pytest.mark.parametrize(
    "text",
    [
        "Answer: 42",
        "thinking\n**Answer:** 42.",
        "Answer: $\\boxed{42}$",
        "answer : `42` crates",
        "Answer: 7\nNo, wait.\nAnswer: 42",
        "Answer:\n42",
        "Final answer: line 42",
        "Answer: 42.0",
        "Answer: \\(42\\)",
    ],
)
def test_the_last_answer_is_accepted_however_it_is_dressed(text):
    assert answers("42")(text)


@pytest.mark.parametrize(
    "text", ["", "42", "Answer:", "Answer: 421", "Answer: 42.5", "Answer: -42", "Answer: 42\nAnswer: 7"]
)
def test_another_or_no_answer_is_refused(text):
    assert not answers("42")(text)


def test_separators_and_case_do_not_matter():
    assert final_answer("Answer: 1,234") == "1234"
    assert answers("Greta")("ANSWER: greta.")
    assert not answers("Greta")("Answer: Gretas brother")


def test_a_right_answer_to_each_task_passes_its_check_and_a_wrong_one_does_not(make):
    workload = make("reasoning")
    for number in range(60):
        session = workload.session("measure", number)
        (prompt,) = session
        assert prompt.check(f"<some thought>\n\nAnswer: {session.task.answer}")
        assert not prompt.check(f"Answer: {session.task.answer}0")
        assert prompt.document == session.task.kind


def test_kinds_of_task_come_in_equal_parts(make):
    workload = make("reasoning")
    kinds = Counter(workload.session("measure", number).task.kind for number in range(90))
    assert kinds == {"bug": 30, "arithmetic": 30, "logic": 30}
    only = make("reasoning", 'reasoning.tasks=["logic"]')
    assert {only.session("measure", number).task.kind for number in range(9)} == {"logic"}


def test_sessions_of_one_run_get_different_tasks(make):
    workload = make("reasoning")
    assert len({workload.session("measure", number).task.question for number in range(600)}) > 590


def test_the_scenario_asks_as_r1_is_asked():
    output = load_scenario("reasoning").output
    assert output.max_tokens == 2048 and output.temperature == 0.6


def test_raw_reasoning_asks_the_engine_for_no_parser_and_a_parser_beside_it_is_refused() -> None:
    assert load_scenario("reasoning").engine.reasoning_parser == "deepseek_r1"
    raw = load_scenario("reasoning", {"reasoning.format": "raw"})
    assert raw.engine.reasoning_parser == "none" and raw.workload_settings.raw_reasoning
    with pytest.raises(UserError, match="takes the tags out"):
        load_scenario("reasoning", {"reasoning.format": "raw", "engine.reasoning_parser": "qwen3"})
