"""A capacity from run folders to its files, and two of them against each other."""

from __future__ import annotations

import json
import os
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from tokenswarm.analysis.capacity.capacity_comparison import differences, ratio_of
from tokenswarm.analysis.capacity.frontier import add_frontier, dominates, knee
from tokenswarm.analysis.capacity.judge import CapacityJudge, new_tier
from tokenswarm.analysis.capacity_files import compare_capacities, ratio_sentence, remake_capacity, write_capacity_files
from tokenswarm.analysis.library.entries import read_entry
from tokenswarm.analysis.render.capacity_page import capacity_markdown, render_capacity
from tokenswarm.analysis.render.capacity_words import answer_sentence, capacity_sentence, progress_lines
from tokenswarm.analysis.run_report import report

from tests.analysis.make_run import START, manifest, row, write_run
from tests.examples import examples
from tests.mutations import changed, mutate_json
from tokenswarm.base.errors import UserError
from tokenswarm.base.presence import present
from tokenswarm.contract.capacity_record import (
    COST,
    E2E,
    ENERGY,
    OUTPUT,
    USER_SPEED,
    Capacity,
    CapacityFigure,
    CapacityLevel,
    CapacityRun,
    read_capacity,
    write_capacity,
)
from tokenswarm.contract.json_schemas import capacity_schema
from tokenswarm.contract.summary.engine_records import Energy
from tokenswarm.contract.summary.figure import Figure
from tokenswarm.contract.summary.summary_file import read_summary, write_summary

LIMIT_MS, SECONDS = 400.0, 60.0
RUNS = ("run-8", "run-16", "run-32")
SAMPLE = json.dumps(
    {
        "format": 1,
        "capacity": {"unit": "users", "estimate": 20.0, "ci95": [16.0, 24.0], "sure_pass": 16.0, "sure_fail": 32.0},
        "slo": {"ttft_ms": LIMIT_MS},
        "levels": [
            {"load": load, "state": state, "attainment": 0.99, "ci95": [0.9, 1.0], "requests": 600, "run": [run]}
            for load, state, run in zip((8.0, 16.0, 32.0), ("pass", "pass", "fail"), RUNS, strict=True)
        ],
        "runs": [
            {"load": load, "run": run, "seed": 1, "measured_s": SECONDS, "requests": 700, "wall_s": 80.0}
            for load, run in zip((8.0, 16.0, 32.0), RUNS, strict=True)
        ],
        "tiers": [{"name": "strict", "slo": {"ttft_ms": 110.0}, "target": 0.99, "capacity": {"unit": "users"}}],
        "engine": "sim",
        "scenario": "rag",
        "start": 8.0,
        "gpus": 2,
        "gpu_hour_usd": 2.0,
        "at_least": 12.0,
    }
)


def run_at(folder: Path, load: float, bad: float, requests: int = 600) -> str:
    """A run whose every 1 / bad-th request is late; its figures are those of the level."""
    every = round(1 / bad) if bad else 0
    rows = [
        row(
            request_id=str(n),
            sent_at=START + n * SECONDS / requests,
            ttft_ms=2 * LIMIT_MS if every and n % every == 0 else 100.0 + load + 0.001 * n,
            last_token_ms=3000.0,
            e2e_ms=3000.0,
        )
        for n in range(requests)
    ]
    facts = manifest("rag", SECONDS, cost={"gpu_hour_usd": 2.0, "gpus": 2})
    facts["scenario"]["values"] = {"slo": {"ttft_p95_ms": LIMIT_MS}}
    name = f"run-{load:g}"
    report(write_run(folder / name, rows, facts), dashboard=False)
    return name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search of three levels, of which the last fails."""
    folder = tmp_path_factory.mktemp("capacity")
    record = Capacity(
        capacity=CapacityFigure("users"),
        slo={"ttft_ms": LIMIT_MS},
        start=8.0,
        engine="sim<b>",
        scenario="rag",
        simulated=True,
        series="capacity-1",
        gpus=2,
        gpu_hour_usd=2.0,
        at_least=12.0,
        tiers=[new_tier("strict", {"ttft_ms": 110.0}, 0.99, "users")],
    )
    judge = CapacityJudge(record, folder)
    for load, bad in ((8.0, 0.0), (16.0, 0.001), (32.0, 0.5)):
        record.runs.append(CapacityRun(load, run_at(folder, load, bad), 1, SECONDS, requests=700, wall_s=80.0))
        judge.add(record.runs[-1])
    write_capacity_files(judge.answer(record, "budget"), folder)
    return folder


def test_levels_have_their_states_and_tiers_their_own_of_the_same_runs(folder: Path) -> None:
    record = read_capacity(folder)
    assert [level.state for level in record.levels] == ["pass", "pass", "fail"]
    assert (record.capacity.sure_pass, record.capacity.sure_fail, record.capacity.reason) == (16, 32, "budget")
    strict = record.tiers[0]
    assert [level.state for level in strict.levels][1:] == ["fail", "fail"] and strict.capacity.sure_fail == 16
    jsonschema.validate(json.loads((folder / "capacity.json").read_text()), capacity_schema())


def test_figures_are_per_gpu_and_dearer_where_less_comes_out(folder: Path) -> None:
    level = read_capacity(folder).levels[0]
    assert level.figures[OUTPUT].value == pytest.approx(600 * 100 / SECONDS / 2, rel=0.06)
    assert level.figures[USER_SPEED].value == pytest.approx(1000 * 99 / (3000 - 108.3), rel=0.01)
    assert level.figures[COST].value == pytest.approx(2.0 * 2 / 3600 / (600 * 100 / SECONDS) * 1e6, rel=0.06)


def test_a_run_that_was_interrupted_is_no_level(folder: Path, tmp_path: Path) -> None:
    """Those under way when it was cut are the slow ones: the others alone would make an overloaded level pass."""
    name = run_at(tmp_path, 64.0, 0.0)
    manifest_of = tmp_path / name / "run.json"
    manifest_of.write_text(manifest_of.read_text().replace('"status": "complete"', '"status": "interrupted"'))
    record = Capacity(slo={"ttft_ms": LIMIT_MS}, runs=[CapacityRun(64.0, name, 1, SECONDS)])
    answered = CapacityJudge(record, tmp_path).answer(record, "interrupted")
    assert answered.levels == [] and answered.capacity.sure_pass is None
    write_capacity_files(answered, tmp_path)
    assert progress_lines(answered, None) == ["64 users: the run was interrupted, so it says nothing"]
    died = CapacityJudge(Capacity(runs=[CapacityRun(64.0, name, 1, SECONDS, died=True)]), tmp_path)
    assert [level.state for level in died.answer(record, "").levels] == ["fail"]


def test_page_and_markdown_tell_the_answer_first_and_escape_names(folder: Path) -> None:
    page, words = (folder / "capacity.html").read_text(), (folder / "capacity.md").read_text()
    answer = answer_sentence(read_capacity(folder))
    assert answer in page and answer in words and "SIMULATED" in page and "SIMULATED" in words
    assert present(read_entry(folder, "capacity-20270101-000000")).sentence == answer, "the list of results has it too"
    assert "sim<b>" not in page and 'href="run-8/dashboard.html"' in page and "strict" in page
    assert words.count("| pass") == 2 and words.count("| fail") == 1


def test_junit_holds_it_against_what_was_asked_for(folder: Path) -> None:
    cases = ElementTree.parse(folder / "junit.xml").getroot().iter("testcase")
    assert [(case.get("name"), [child.tag for child in case]) for case in cases] == [
        ("capacity is at least 12 users", ["system-out"]),
        ("capacity has a bracket", ["system-out"]),
    ]


def test_a_report_makes_the_same_files_anew(folder: Path) -> None:
    before = (folder / "capacity.json").read_text()
    (folder / "capacity.html").unlink()
    remake_capacity(folder)
    assert (folder / "capacity.json").read_text() == before and (folder / "capacity.html").is_file()


def test_progress_shows_the_bracket(folder: Path) -> None:
    level, picture, words = progress_lines(read_capacity(folder), 75.0)
    assert level.startswith("32 users: fail, 50.0%") and "75 s left" in words
    assert picture.count("P") == 2 and picture.count("F") == 1 and "=" in picture


def test_two_searches_are_compared_by_their_ratio(folder: Path, tmp_path: Path) -> None:
    other = read_capacity(folder)
    other.engine, other.series, other.scenario = "better", "capacity-2", "chat"
    other.capacity = CapacityFigure("users", 40, [38, 42], 36, 44, reason="precision", curve=True)
    (tmp_path / "b").mkdir()
    write_capacity(tmp_path / "b", other)
    document, sentence = compare_capacities([folder, tmp_path / "b"], (None, "B"), tmp_path / "out")
    assert document["ratio"]["state"] == "better" and sentence.startswith("B can serve ")
    assert "scenario differs" in document["sentences"][1]
    listed = present(read_entry(tmp_path / "out", "comparison-20270101-000000"))
    assert (listed.kind, listed.engine, listed.scenario) == ("capacities", "sim<b>, better", "rag, chat")
    assert listed.sentence == sentence and listed.page == "capacities.html" and listed.simulated
    page = (tmp_path / "out" / "capacities.html").read_text()
    assert f'{os.path.relpath(folder, tmp_path / "out")}/run-8/dashboard.html"' in page
    assert {each.name for each in (tmp_path / "out").iterdir()} == {
        "capacities.json",
        "capacities.md",
        "capacities.html",
    }


# ---- the ratio, domination, the knee


def capacity(estimate: float, low: float, high: float, curve: bool = True) -> Capacity:
    return Capacity(capacity=CapacityFigure("requests_s", estimate, [low, high], low, high, curve=curve))


def test_the_ratio_of_two_curves_is_narrower_than_that_of_two_brackets() -> None:
    ratio = ratio_of(capacity(10, 9, 11), capacity(12, 11, 13))
    assert ratio.value == pytest.approx(1.2) and 1.0 < ratio.low < 1.2 < ratio.high and ratio.state == "better"
    bracket = ratio_of(capacity(10, 9, 11, curve=False), capacity(12, 11, 13))
    assert (bracket.low, bracket.high) == pytest.approx((1.0, 13 / 9)) and bracket.state == "undecided"


def test_a_capacity_without_an_end_leaves_the_ratio_open() -> None:
    open_end = Capacity(capacity=CapacityFigure("requests_s", None, [20, None], 20))
    ratio = ratio_of(capacity(10, 9, 11), open_end)
    assert (ratio.value, ratio.high, ratio.state) == (None, None, "better") and ratio.low == pytest.approx(20 / 11)
    assert ratio_sentence(("A", "B"), (capacity(10, 9, 11), open_end), ratio).endswith("(95%: at least 1.82 times).")
    nothing = Capacity(capacity=CapacityFigure("requests_s"))
    unknown = ratio_sentence(("A", "B"), (nothing, nothing), ratio_of(nothing, nothing))
    assert "is not known" in unknown and "95%" not in unknown and "?" not in unknown
    assert differences(capacity(1, 1, 1), Capacity(capacity=CapacityFigure("users")))[0].startswith("The kind of load")


def level(load: float, speed: tuple[float, float], output: tuple[float, float], e2e: float = 1.0) -> CapacityLevel:
    def figure(ends: tuple[float, float]) -> Figure:
        return Figure(sum(ends) / 2, "tok/s", 100, list(ends))

    return CapacityLevel(load, "pass", figures={USER_SPEED: figure(speed), OUTPUT: figure(output), E2E: Figure(e2e)})


def test_a_point_is_dominated_only_where_that_is_sure() -> None:
    fast, slow = level(8, (90, 100), (900, 1000)), level(16, (40, 50), (800, 950))
    assert dominates(fast, slow) and not dominates(slow, fast) and not dominates(fast, fast)
    assert not dominates(fast, level(16, (40, 50), (1100, 1200)))
    assert not dominates(fast, level(16, (85, 95), (890, 990)))
    fast.state = "fail"
    assert not dominates(fast, slow), "what fails its limits is no better than what passes"


def test_the_knee_is_inside_of_what_was_measured_or_not_known() -> None:
    levels = [
        level(load, (1, 2), (rate, rate), e2e) for load, rate, e2e in ((8, 100, 1.0), (16, 190, 1.1), (32, 250, 2.4))
    ]
    assert knee(levels) == 16
    assert knee(levels[:2]) is None


def test_what_is_not_known_is_said_in_words() -> None:
    limited = Capacity(capacity=CapacityFigure("users", None, [64, None], 64, None, 128, "It was late.", "limited"))
    words = capacity_sentence(limited)
    assert "at least 64 users" in words and "load generator was the limit at 128" in words and "WORKERS" in words
    limited.capacity.limit_why = "Something else took its CPU: use a quieter machine. More WORKERS would not help."
    assert capacity_sentence(limited).endswith("More WORKERS would not help."), "nothing is advised against the reason"
    assert "not reached" in answer_sentence(Capacity(capacity=CapacityFigure("users", None, [64, None], 64)))
    assert "no lower load" in answer_sentence(Capacity(capacity=CapacityFigure("users", None, [None, 7], None, 8)))


def with_energy(source: Path, target: Path, joules: float) -> Path:
    """A copy of a search in whose runs the GPUs took so many joules for 60,000 output tokens."""
    shutil.copytree(source, target)
    for run in target.glob("run-*"):
        summary = read_summary(run)
        each = joules / 60_000
        summary.energy = Energy(Figure(joules, "J", 1), Figure(each, "J", 10, [0.9 * each, 1.1 * each]))
        write_summary(run, summary)
    return target


def test_energy_of_a_token_stands_beside_its_price_where_the_gpus_were_read(folder: Path, tmp_path: Path) -> None:
    energetic = with_energy(folder, tmp_path / "capacity", 30_000.0)
    record = read_capacity(energetic)
    add_frontier(record, energetic)
    figure = record.levels[0].figures[ENERGY]
    assert figure.value == pytest.approx(0.5) and figure.ci95 == [pytest.approx(0.45), pytest.approx(0.55)]
    assert "J per token" in capacity_markdown(record) and "J per token" in render_capacity(record)
    assert "Energy against load" in render_capacity(record)


def test_without_a_reading_energy_is_absent_with_the_reason_and_never_zero(folder: Path) -> None:
    record = read_capacity(folder)
    assert record.levels[0].figures[ENERGY].value is None and record.levels[0].figures[ENERGY].why
    assert "J per token" not in capacity_markdown(record)
    record.simulated = False
    assert f"energy not known: {record.levels[0].figures[ENERGY].why}" in capacity_markdown(record)


@pytest.mark.slow
@settings(max_examples=examples(60), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(content=changed(SAMPLE.encode(), mutate_json))
def test_a_damaged_record_is_made_anew_and_compared_or_refused_in_a_sentence(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, content: bytes | None
) -> None:
    damaged = tmp_path_factory.mktemp("damaged")
    for name in RUNS:
        (damaged / name).symlink_to(folder / name)
    (damaged / "capacity.json").write_bytes(content or b"")
    for use in (
        lambda: compare_capacities([damaged, folder], [None, None], damaged / "compared"),
        lambda: compare_capacities([folder, damaged], ["a", None], damaged / "compared"),
        lambda: remake_capacity(damaged),
    ):
        try:
            use()
        except UserError as error:
            assert "\n" not in str(error)
        else:
            assert (damaged / "compared" / "capacities.html").exists() or (damaged / "capacity.html").exists()
