"""Mixes: how they are written, what is of the mix and what of its scenarios, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenswarm.base.errors import UserError
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.scenario.model import Scenario
from tokenswarm.scenario.user_classes import user_classes_in

LINE = "rag:6 chat:3 batch:1"


def written(folder: Path, text: str) -> str:
    path = folder / "ours.toml"
    path.write_text(text)
    return str(path)


def test_a_line_of_names_and_weights_is_a_mix_with_the_load_of_its_first_scenario() -> None:
    mix = load_scenario(LINE)
    assert mix.mix.of == "users"
    assert mix.mix.shares == {"RagReader": 0.6, "MultiTurnChatter": 0.3, "BatchClassifier": 0.1}
    assert mix.name == "mix-rag6-chat3-batch1"
    assert mix.load == load_scenario("rag").load
    assert {name: each.name for name, each in mix.classes().items()} == {
        "RagReader": "rag",
        "MultiTurnChatter": "chat",
        "BatchClassifier": "batch",
    }
    assert [path.name for path in mix.locustfile_paths] == ["rag.py", "chat.py", "batch.py"]


def test_each_class_keeps_its_own_prompts_output_timeouts_and_objectives() -> None:
    classes = load_scenario(LINE).classes()
    for user_class, name in (("RagReader", "rag"), ("MultiTurnChatter", "chat"), ("BatchClassifier", "batch")):
        alone = load_scenario(name)
        assert classes[user_class] == alone
    assert load_scenario(LINE).slo == {}, "the objectives of its scenarios are not about all requests"


def test_a_rate_makes_the_weights_shares_of_session_starts() -> None:
    assert load_scenario(LINE, {"load.rate": "4"}).mix.of == "sessions"
    assert load_scenario(LINE, {"load.rate": "4", "mix.of": "requests"}).mix.of == "requests"


def test_what_run_json_holds_of_a_mix_is_read_back() -> None:
    mix = load_scenario(LINE, {"mix.of": "requests"})
    back = Scenario.from_values(mix.values())
    assert back.mix.shares == mix.mix.shares and back.mix.of == "requests"
    assert all("values" not in part for part in mix.values()["mix"]["parts"]), "each class has its scenario once"


def test_values_of_one_scenario_are_given_under_its_name_and_others_are_the_mixs() -> None:
    mix = load_scenario(
        LINE,
        {
            "rag.documents": "8",
            "chat.output.max_tokens": "50",
            "chat.slo.ttft_p95_ms": "250",
            "load.users": "20",
            "slo.error_rate": "0.2",
            "mix.rag": "1",
        },
    )
    classes = mix.classes()
    assert classes["RagReader"].workload_settings.documents == 8
    assert classes["MultiTurnChatter"].output.max_tokens == 50
    assert classes["MultiTurnChatter"].slo["ttft_p95_ms"] == 250
    assert mix.load.users == 20 and mix.slo == {"error_rate": 0.2}
    assert mix.mix.shares["RagReader"] == 0.2


def test_a_file_with_a_table_mix_has_its_own_load_engine_objectives_and_tables_of_its_scenarios(tmp_path: Path) -> None:
    mix = load_scenario(
        written(
            tmp_path,
            """
title = "Ours"
[mix]
of = "requests"
rag = 60
reasoning = 40
[load]
users = 12
[engine]
max_num_seqs = 128
[slo]
error_rate = 0.02
[rag]
documents = 5
[rag.output]
max_tokens = 32
""",
        )
    )
    assert (mix.name, mix.title, mix.load.users, mix.load.max_in_flight) == ("ours", "Ours", 12, 512)
    assert mix.engine.canonical() == {"max_num_seqs": 128}, "its own [engine] alone"
    assert mix.slo == {"error_rate": 0.02}
    rag = mix.classes()["RagReader"]
    assert (rag.workload_settings.documents, rag.output.max_tokens, rag.output.temperature) == (5, 32, 0.0)


AGREED = {"engine.max_num_seqs": "64", "engine.prefill_budget": "8192"}


def test_raw_reasoning_of_one_scenario_leaves_the_engine_of_the_mix_without_a_parser(tmp_path: Path) -> None:
    line = load_scenario("rag:6 reasoning:1", {**AGREED, "reasoning.format": "raw"})
    assert line.engine.reasoning_parser == "none" and line.engine.max_num_seqs == 64
    own = "[mix]\nrag = 1\nreasoning = 1\n[engine]\nreasoning_parser = 'qwen3'\n[reasoning.reasoning]\nformat = 'raw'\n"
    assert load_scenario(written(tmp_path, own)).engine.reasoning_parser == "none", "also where the mix has its own"


def test_raw_reasoning_beside_a_parser_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"reasoning wants reasoning as it is written .*, and the mix a parser"):
        load_scenario(
            "rag:6 reasoning:1", {**AGREED, "reasoning.format": "raw", "engine.reasoning_parser": "deepseek_r1"}
        )
    other = tmp_path / "thinker.toml"
    other.write_text(Path("scenarios/reasoning.toml").read_text().replace('name = "reasoning"', 'name = "thinker"'))
    with pytest.raises(UserError, match="one engine serves all, so leave one of them"):
        load_scenario(f"{other}:1 reasoning:1", {"reasoning.format": "raw"})


def test_two_scenarios_with_users_of_one_class_have_each_a_class_of_its_own(tmp_path: Path) -> None:
    own = written(tmp_path, Path("scenarios/chat.toml").read_text().replace('name = "chat"', 'name = "chat-short"'))
    mix = load_scenario(f"chat:1 {own}:1")
    assert mix.mix.shares == {"MultiTurnChatter_chat": 0.5, "MultiTurnChatter_chat_short": 0.5}
    assert {part.base for part in mix.mix.parts} == {"MultiTurnChatter"}


def test_scenarios_that_want_different_engines_are_refused_with_the_keys_in_which_they_differ() -> None:
    with pytest.raises(UserError) as refused:
        load_scenario("rag:6 reasoning:1")
    sentence = str(refused.value)
    assert "engine.max_num_seqs: rag 256, reasoning 64" in sentence
    assert "engine.reasoning_parser: rag leaves it to the engine, reasoning deepseek_r1" in sentence
    assert "context_length" not in sentence, "in that they agree"
    settled = load_scenario(
        "rag:6 reasoning:1",
        {"engine.max_num_seqs": "64", "engine.prefill_budget": "8192", "engine.reasoning_parser": "none"},
    )
    assert settled.engine.max_num_seqs == 64 and settled.engine.context_length == 8192


@pytest.mark.parametrize(
    ("name", "overrides", "says"),
    [
        ("rag:6 chat", {}, "a mix is written NAME:WEIGHT"),
        ("rag:six chat:1", {}, "a mix is written NAME:WEIGHT"),
        ("rag:1 rag:2", {}, "rag is there twice"),
        ("rag:0 chat:1", {}, "the weight of rag is 0.0"),
        ("rag:nan chat:1", {}, "the weight of rag is nan"),
        ("rag:1 nope:1", {}, "unknown scenario 'nope'"),
        ("rag:1 chat:1", {"output.max_tokens": "4"}, "write rag.output.max_tokens"),
        ("rag:1 chat:1", {"rag.load.users": "4"}, "write load.users"),
        ("rag:1 chat:1", {"mix.of": "tokens"}, "should be one of 'users', 'sessions' or 'requests'"),
        ("rag:1 chat:1", {"mix.of": "sessions"}, "without a rate"),
        ("rag:1 chat:1", {"mix.of": "users", "load.rate": "3"}, "with a rate"),
        ("chat:1 chat-7k:1", {}, "different prompts.state (chat steady, chat-7k cold)"),
    ],
)
def test_what_is_no_mix_is_refused_in_a_sentence(name: str, overrides: dict[str, str], says: str) -> None:
    with pytest.raises(UserError) as refused:
        load_scenario(name, overrides)
    assert says in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[mix]\nrag = 1\n[output]\nmax_tokens = 3\n", "[output] is of each scenario of a mix: write [rag.output]"),
        ("[mix]\nrag = 1\n[rag.load]\nusers = 3\n", "[rag.load] is the mix's own: write [load]"),
        ("[mix]\n", "[mix] names no scenario"),
        ("mix = 3\n", "mix should be a table"),
        ("[mix]\nrag = 1\n[lod]\nusers = 3\n", "unknown key 'lod'"),
    ],
)
def test_a_file_of_a_mix_that_says_too_much_or_too_little_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UserError) as refused:
        load_scenario(written(tmp_path, text))
    assert says in str(refused.value)


def test_a_scenario_that_is_over_once_each_session_was_sent_is_no_part_of_a_mix(tmp_path: Path) -> None:
    data = tmp_path / "prompts.jsonl"
    data.write_text('{"prompt": "What is 2+2?"}\n')
    agreed = {"engine.context_length": "8192"}
    with pytest.raises(UserError, match="sends each session once"):
        load_scenario("dataset:1 rag:1", {"dataset.order": "once", **agreed}, str(data))
    shuffled = load_scenario("dataset:1 rag:1", {"dataset.order": "shuffle", **agreed}, str(data))
    assert shuffled.classes()["DatasetUser"].workload_settings.file == str(data)
    with pytest.raises(UserError, match="takes a file of prompts"):
        load_scenario(LINE, {}, str(data))


def test_user_classes_are_seen_without_running_the_file(tmp_path: Path) -> None:
    path = tmp_path / "users.py"
    path.write_text("""
from locust import TaskSet, task
from tokenswarm.users import LLMUser
raise SystemExit("it was run")

class Base(LLMUser):
    abstract = True
    @task
    def ask(self): ...

class Often(Base):
    weight = 3

class Seldom(LLMUser):
    @task(2)
    def ask(self): ...

class Steps(TaskSet):
    @task
    def one(self): ...

class Helper:
    pass
""")
    assert [tuple(each) for each in user_classes_in(path)] == [("Often", 3.0), ("Seldom", 1.0)]
    path.write_text("x = 1\n")
    with pytest.raises(UserError, match="no user class was seen"):
        user_classes_in(path)


def test_a_mix_names_whose_prefills_the_others_are_measured_around() -> None:
    mix = load_scenario(LINE, {"mix.disturbs": "rag"}).mix
    assert mix.disturbs == ("RagReader",) and load_scenario(LINE).mix.disturbs == ()
    assert load_scenario("interference").mix.disturbs == ("BatchClassifier",)
    for wrong, words in (
        ("reasoning", "scenarios of the mix: rag, chat, batch"),
        ('["rag", "chat", "batch"]', "no class is left to be disturbed"),
    ):
        with pytest.raises(UserError, match=words):
            load_scenario(LINE, {"mix.disturbs": wrong})


def test_two_scenarios_of_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ours.toml").write_text((Path(__file__).parents[2] / "scenarios" / "rag.toml").read_text("utf-8"))
    with pytest.raises(UserError, match="two scenarios of the mix have the name rag"):
        load_scenario("rag:1 ours.toml:2")
