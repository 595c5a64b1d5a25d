"""The claims that ship with tokenswarm are complete, resolvable, and name what contradicts them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenswarm.analysis.compare.comparison import compared
from tokenswarm.analysis.compare.one_shot_figures import CASES, TITLES

from tokenswarm.base import lookup
from tokenswarm.base.config_text import parse_set
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.claim_checks.checks import CHECKS
from tokenswarm.claim_checks.claim import SOURCES_TOML, Claim, load_claim, load_claims, load_sources
from tokenswarm.claim_checks.machine import Machine, missing
from tokenswarm.claim_checks.plan_of_claim import estimate_s, how, record_of
from tokenswarm.claim_checks.play import FLAGS, honoured
from tokenswarm.engines import Placement, command, load_description
from tokenswarm.scenario.loading import load_scenario

ALL = load_claims()
FIGURES = {each.key for each in compared()}


def by(*kinds: str) -> list[Claim]:
    return [claim for claim in ALL if claim.run.by in kinds and not claim.needs.lacks]


def test_every_claim_of_the_list_is_there() -> None:
    names = {claim.name for claim in ALL}
    assert len(ALL) >= 45
    assert {
        "cached-7k-sglang",
        "cached-7k-vllm",
        "cached-gap",
        "fresh-equal",
        "one-shot",
        "throughput-8b",
        "prefix-6x",
        "ttft-5-8",
        "ttft-23",
        "concurrency-100",
        "gap-70b",
        "scratch",
        "gpu-30",
        "base-url",
        "think-tags",
        "flags-published",
        "rule",
        "json-guarantee",
        "json-3x",
        "deepseek-3x",
        "dp-varies",
        "shm-32g",
        "chunked-prefill",
        "start-90s",
        "memory-095",
        "max-num-seqs",
        "spec-2x",
        "fragmentation",
        "memory-pressure",
        "gpustack-qwen3-14b-sglang",
        "gpustack-qwen35-9b",
        "runinfra-equal",
        "aimultiple-29",
    } <= names


@pytest.mark.parametrize("claim", ALL, ids=lambda claim: claim.name)
def test_a_claim_says_who_what_and_how_it_is_read(claim: Claim) -> None:
    assert claim.sentence.endswith(".") and claim.expect.of
    assert claim.kind == "behaviour" or claim.expect.reading, "how did their words become a region?"
    assert how(claim) and estimate_s(claim) > 0
    for statement in claim.published:
        region = claim.expect
        inside = (region.at_least or 0) <= (statement.ratio or 0) <= (region.at_most or 1e9)
        assert statement.ratio is None or inside, "their own figure lies in the region that stands for it"


@pytest.mark.parametrize("claim", by("pairs", "sweep", "spread"), ids=lambda claim: claim.name)
def test_runs_resolve_to_scenarios_and_command_lines(claim: Claim) -> None:
    assert claim.expect.figure in FIGURES
    for side in (claim.run.a, claim.run.b):
        assert side is not None and side.engine in claim.needs.engines
        for point in claim.run.points or [""]:
            values = parse_set(f"{claim.run.set} {point}") | parse_set(side.set)
            scenario = load_scenario(claim.run.scenario, values, __file__ if claim.needs.data else None)
            assert command(load_description(side.engine), scenario.engine, Placement("m", 1), device="cuda")


@pytest.mark.parametrize("claim", by("oneshot"), ids=lambda claim: claim.name)
def test_one_shots_name_their_cases(claim: Claim) -> None:
    assert claim.expect.figure in TITLES and {claim.expect.case_a, claim.expect.case_b} <= set(CASES)
    between = claim.expect.case_a == claim.expect.case_b
    assert len(claim.needs.engines) == (2 if between else 1)


@pytest.mark.parametrize("claim", by("check"), ids=lambda claim: claim.name)
def test_checks_are_registered(claim: Claim) -> None:
    assert claim.run.check in {*CHECKS, FLAGS}
    assert claim.run.check != FLAGS or set(claim.run.commands) == set(claim.needs.engines)


def test_claims_that_contradict_each_other_say_so_on_both_sides() -> None:
    against = {claim.name: set(claim.contradicts) for claim in ALL if claim.contradicts}
    assert all(name in against[other] for name, others in against.items() for other in others)
    assert against["gpustack-qwen35-9b"] == {"throughput-8b", "gpustack-qwen3-14b-sglang"}
    assert against["runinfra-equal"] == {"throughput-8b", "aimultiple-29"}
    figures = {claim.name: (claim.expect.figure, claim.run.check) for claim in ALL}
    assert all(
        figures[name] == figures[other] or {name, other} == {"gpustack-qwen35-9b", "throughput-8b"}
        for name, others in against.items()
        for other in others
    )


def test_sources_have_a_title_and_nearly_all_a_url() -> None:
    sources = load_sources()
    assert {statement.source for claim in ALL for statement in claim.published} == set(sources)
    assert all(source.title and source.date for source in sources.values())
    assert [name for name, source in sources.items() if not source.url] == ["gpustack-qwen35-9b"]


CLAIM = """
title = "t"
kind = "speed"
sentence = "S."
[[published]]
source = "runpod"
[needs]
engines = ["vllm"]
[run]
by = "pairs"
[run.a]
engine = "vllm"
[run.b]
engine = "vllm"
[expect]
figure = "output_tok_s"
at_least = 1.1
"""


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("at_least = 1.1", "", "needs at_least or at_most"),
        ("at_least = 1.1", "at_least = 1.1\nat_most = 1.0", "at_least should be below at_most"),
        ("runpod", "nobody", "unknown source 'nobody'"),
        ('by = "pairs"', 'by = "luck"', "run.by"),
        ('by = "pairs"', 'by = "sweep"', "two points or more"),
        ('[run.b]\nengine = "vllm"', "", "needs both sides"),
        ('title = "t"', 'title = "t"\nauthor = "me"', "author"),
        ('title = "t"', "title = ", "cannot be read as a claim"),
    ],
)
def test_a_claim_that_is_none_is_one_sentence(before: str, after: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(CLAIM.replace(before, after))
    with pytest.raises(UserError) as refused:
        load_claim(path)
    assert refused.value.code is Exit.USAGE and sentence in str(refused.value)


def test_a_claim_of_ones_own_has_sources_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "claims"
    folder.mkdir()
    (folder / SOURCES_TOML).write_text('[us]\ntitle = "Our wiki"\n')
    (folder / "mine.toml").write_text(CLAIM.replace("runpod", "us"))
    monkeypatch.chdir(tmp_path)
    assert [claim.name for claim in load_claims(["mine"])] == ["mine"]
    with pytest.raises(UserError, match="unknown claim 'ours'"):
        load_claims(["ours"])


def test_a_claim_is_looked_up_as_a_scenario_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a path, in the working folder, in the user's, in the package; and a near name is guessed."""
    configured = tmp_path / "configured"
    monkeypatch.setattr(lookup, "configuration_folder", lambda: configured)
    monkeypatch.chdir(tmp_path)
    for folder, title in ((configured / "claims", "user's"), (tmp_path / "elsewhere", "by path")):
        folder.mkdir(parents=True)
        for name in ("base-url", "mine"):
            (folder / f"{name}.toml").write_text(CLAIM.replace('title = "t"', f'title = "{title}"'))
    assert [claim.title for claim in load_claims(["elsewhere/mine.toml", "base-url", "mine.toml", "mine"])] == [
        "user's",
        "by path",
        "user's",
    ]
    assert load_claims(["ttft-5-8"])[0].name == "ttft-5-8", "what comes with tokenswarm"
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims/mine.toml").write_text(CLAIM.replace('title = "t"', 'title = "here"'))
    assert load_claims(["mine"])[0].title == "here"
    with pytest.raises(UserError, match=r"unknown claim .mien., did you mean .mine.+looked in ./claims, ") as refused:
        load_claims(["mien"])
    assert refused.value.code is Exit.USAGE
    with pytest.raises(UserError, match=r"there is no claim file elsewhere/none.toml in "):
        load_claims(["elsewhere/none.toml"])


H100 = "NVIDIA H100 80GB HBM3"
HERE = {"vllm": None, "sglang": None, "trtllm": None}


def named(name: str) -> Claim:
    return next(claim for claim in ALL if claim.name == name)


@pytest.mark.parametrize(
    ("name", "machine", "lacks"),
    [
        ("throughput-8b", Machine(engines=HERE), ["1 x H100; here: no GPU"]),
        ("throughput-8b", Machine((H100,), HERE), []),
        (
            "throughput-8b",
            Machine(("NVIDIA A100",), HERE),
            ["1 x H100; here: 1 x NVIDIA A100 (ANY_GPU=1 takes another kind)"],
        ),
        ("throughput-8b", Machine(("NVIDIA A100",), HERE, any_gpu=True), []),
        ("throughput-8b", Machine(engines=HERE, anyway=True), []),
        ("cached-gap", Machine((H100,), HERE), [f"2 x H100; here: 1 x {H100}"]),
        ("throughput-8b", Machine((H100,), {"vllm": None}), ["sglang was not asked for (ENGINES)"]),
        ("throughput-8b", Machine((H100,), {"vllm": None}, {"sglang": "http://gpu:1"}), []),
        ("base-url", Machine(engines={"vllm": None, "sglang": "SGLang: make it"}), []),
        ("base-url", Machine(engines={"vllm": "no", "sglang": "neither"}), ["no", "neither"]),
        ("aimultiple-29", Machine((H100,), HERE), ["a file of prompts (DATA=ShareGPT.json)"]),
        ("aimultiple-29", Machine((H100,), HERE, data=True), []),
        ("shm-32g", Machine((H100,) * 8, HERE), [named("shm-32g").needs.lacks]),
    ],
)
def test_what_a_machine_lacks_is_named(name: str, machine: Machine, lacks: list[str]) -> None:
    assert missing(named(name), machine) == lacks


def test_a_record_has_the_command_for_who_has_the_hardware() -> None:
    record = record_of(named("throughput-8b"), Machine(engines=HERE))
    assert record.command == "make claims ONLY=throughput-8b" and record.region == [1.16, 1.42]
    assert [source.ratio for source in record.sources] == [1.29] * 3 and "H100" in record.needs


def test_what_nothing_measures_yet_has_no_command() -> None:
    record = record_of(named("shm-32g"), Machine((H100,) * 8, HERE))
    assert record.command == "" and record.missing == [named("shm-32g").needs.lacks]
    assert [claim.name for claim in ALL if claim.needs.lacks] == ["fragmentation", "json-compile-80x", "shm-32g"]


def test_settings_that_a_stand_in_ignores_are_left_out() -> None:
    values = {"engine.tensor_parallel": "2", "engine.max_num_seqs": "8", "load.users": "3"}
    assert honoured(values, load_description("sim"), None) == {"engine.max_num_seqs": "8", "load.users": "3"}
