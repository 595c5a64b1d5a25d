"""Scenario files: those that ship load, and mistakes are refused with one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from tokenswarm.base.config_text import parse_duration, parse_set
from tokenswarm.base.data_files import LOCUSTFILES_DIR
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.scenario.loading import load_scenario, scenario_names
from tokenswarm.scenario.model import Scenario


def refused(name: str, overrides: str = "") -> str:
    with pytest.raises(UserError) as caught:
        load_scenario(name, parse_set(overrides))
    assert caught.value.code == Exit.USAGE
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write(folder: Path, text: str, name: str = "mine.toml") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


SINGLE = [name for name in scenario_names() if load_scenario(name).mix is None]
"""Those that are no mix (test_mix.py has these)."""

MINIMAL = 'locustfile = "rag.py"\nworkload = "rag"\n'


def test_a_key_that_takes_words_or_numbers_names_both() -> None:
    assert "chars_per_token is 99, but should be 'auto', or at most 20" in refused("rag", "prompts.chars_per_token=99")


@pytest.mark.parametrize(
    ("text", "why"),
    [("x = " + "[" * 5000, "nested too deeply"), ("x = " + "9" * 5000, "too many digits"), ("x =", "not valid TOML")],
)
def test_a_file_that_is_no_toml_is_refused_in_a_sentence(text: str, why: str, tmp_path: Path) -> None:
    assert why in refused(write(tmp_path, text))


def test_the_project_comes_with_its_scenarios():
    assert scenario_names() == [
        "agent",
        "batch",
        "chat",
        "chat-7k",
        "dataset",
        "interference",
        "rag",
        "reasoning",
        "replay",
        "structured",
        "synthetic",
    ]


@pytest.mark.parametrize("name", scenario_names())
def test_each_scenario_loads_under_its_own_name_with_its_locustfile_and_gates(name):
    scenario = load_scenario(name)
    assert scenario.name == name
    assert scenario.locustfile_path.is_file() and scenario.locustfile_path.parent == LOCUSTFILES_DIR
    assert scenario.title and scenario.description and scenario.slo
    assert scenario.open_loop == (name == "interference"), "probes must not wait for their answers"
    assert scenario.prompts.salt == "run"


def at_a_rate(name: str) -> str:
    """What else must be set where a scenario is loaded at a rate."""
    return " agent.sub_agent_probability=0" if name == "agent" else ""


@pytest.mark.parametrize("name", SINGLE)
def test_values_survive_json_and_come_back_as_the_same_scenario(name):
    scenario = load_scenario(
        name, parse_set("load.rate=3.5 engine.speculation={method='ngram'} engine.vllm.x=1" + at_a_rate(name))
    )
    assert Scenario.from_values(json.loads(json.dumps(scenario.values()))) == scenario


def test_values_hold_only_the_table_of_the_workload():
    values = load_scenario("rag").values()
    assert "rag" in values and not {"chat", "batch", "reasoning"} & values.keys()


def test_a_scenario_cannot_be_changed():
    with pytest.raises(ValidationError):
        load_scenario("rag").load.users = 3


@pytest.mark.parametrize("name", SINGLE)
def test_the_issue_s_common_keys_can_be_overridden_in_every_scenario(name):
    overrides = (
        "load.users=200 load.spawn_rate=50 load.rate=7.5 load.duration_s=20m user.think_time_s=2 output.max_tokens=9 "
        "timeouts.connect_s=1 timeouts.first_token_s=2s timeouts.gap_s=3 timeouts.total_s=1h slo.ttft_p95_ms=400"
    )
    scenario = load_scenario(name, parse_set(overrides + at_a_rate(name)))
    assert (scenario.load.users, scenario.load.spawn_rate, scenario.load.rate) == (200, 50.0, 7.5)
    assert scenario.load.duration_s == 1200.0 and scenario.open_loop
    assert scenario.user.think_time_s.typical() == 2.0
    assert scenario.output.max_tokens == 9
    timeouts = scenario.timeouts
    assert (timeouts.connect_s, timeouts.first_token_s, timeouts.gap_s, timeouts.total_s) == (1.0, 2.0, 3.0, 3600.0)
    assert scenario.slo["ttft_p95_ms"] == 400.0


def test_overrides_reach_into_distributions_lists_and_free_tables():
    scenario = load_scenario(
        "rag",
        parse_set(
            "rag.document_tokens.mean=500 output.extra.chat_template_kwargs={enable_thinking=false} "
            "engine.sglang.schedule_policy=lpm engine.speculation={method='eagle3',tokens=4}"
        ),
    )
    assert scenario.rag.document_tokens.mean == 500
    assert scenario.output.extra == {"chat_template_kwargs": {"enable_thinking": False}}
    assert scenario.engine.own("sglang") == {"schedule_policy": "lpm"}
    assert scenario.engine.own("vllm") == {}
    assert scenario.engine.canonical()["speculation"] == {"method": "eagle3", "tokens": 4}
    assert load_scenario("batch", parse_set('batch.categories=["good", "bad"]')).batch.categories == ("good", "bad")


def test_none_takes_a_value_back_out():
    scenario = load_scenario("rag", parse_set("slo.ttft_p95_ms=none engine.prefix_cache=none load.rate=none"))
    assert "ttft_p95_ms" not in scenario.slo
    assert "prefix_cache" not in scenario.engine.canonical()
    assert scenario.load.rate is None


def test_an_empty_salt_is_no_salt():
    assert load_scenario("rag", parse_set("prompts.salt=")).prompts.salt == ""


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ("load.user=3", "SET: [load]: unknown key 'user', did you mean 'users'? (known: answer_s, "),
        ("lod.users=3", "SET: unknown key 'lod', did you mean 'load'?"),
        ("load.users=many", "SET: load.users is 'many', but should be a whole number"),
        ("load.users=0", "SET: load.users is 0, but should be at least 1"),
        ("load.users=2.5", "SET: load.users is 2.5, but should be a whole number"),
        ("load.users=true", "SET: load.users is true, but should be a whole number"),
        ("load.users=none", "SET: load.users is none, but should be a whole number"),
        ("load.rate=-1", "SET: load.rate is -1, but should be above 0"),
        ("load.rate=inf", "SET: load.rate is inf, but should be a finite number"),
        ("timeouts.total_s=1e308", "SET: timeouts.total_s is 1e+308, but should be at most 3.1536e+08"),
        ("load.users=99999999999", "SET: load.users is 99999999999, but should be at most 1e+09"),
        ("user.think_time_s=1e308", "but should be at most 1e+09"),
        ("slo.ttft_p95_ms=1e308", "ttft_p95_ms is 1e+308, but should be a number of at least 0 (and at most 1e+15)"),
        (
            "load.arrivals=pareto",
            "SET: load.arrivals is 'pareto', but should be one of 'constant', 'gamma', 'poisson', 'recorded' "
            "or 'times'",
        ),
        ("rag=false", "SET: rag is false, but should be a table"),
        ("load=3", "SET: load is 3, but should be a table"),
        ("load.duration_s=soon", "SET: load.duration_s is 'soon', but should be seconds, or a duration such as 30s"),
        ("user.think_time_s={kind='lognormal'}", "SET: user.think_time_s: kind 'lognormal' needs cv and mean"),
        ("user.think_time_s=-2", "SET: user.think_time_s.value is -2, but should be at least 0"),
        ("rag.document_tokens.mean=x", "SET: rag.document_tokens.mean is 'x', but should be a number"),
        ("output.stream=yes", "SET: output.stream is 'yes', but should be true or false"),
        ("output.extra.stream_options=x", "which tokenswarm sets itself: set endpoint.send_stream_options"),
        ("output.extra.model=x", "SET: output.extra: may not hold 'model', which tokenswarm sets itself"),
        ("output.extra.n=2", "SET: output.extra: may not hold 'n' other than 1"),
        ("output.extra.best_of=4", "SET: output.extra: may not hold 'best_of' other than 1"),
        ("output.extra.max_completion_tokens=5", "SET: output.extra: may not hold 'max_completion_tokens' beside"),
        ("slo.ttft_p95=3", "SET: slo: unknown key 'ttft_p95', did you mean 'ttft_p95_ms'? (known: error_rate, "),
        ("slo.ttft_p0_ms=3", "SET: slo: unknown key 'ttft_p0_ms'"),
        ("slo.error_rate=4", "SET: slo: error_rate is 4, but is a share and should be at most 1"),
        ("slo.ttft_p95_ms=fast", "SET: slo: ttft_p95_ms is 'fast', but should be a number of at least 0"),
        ("engine.contex_length=4", "SET: [engine]: unknown key 'contex_length', did you mean 'context_length'?"),
        ("engine.memory_fraction=1.5", "SET: engine.memory_fraction is 1.5, but should be at most 1"),
        ("engine.speculation.method=luck", "SET: engine.speculation.method is 'luck', but should be one of 'ngram'"),
        ("engine.vlm.x=4", "scenarios/rag.toml: [engine.vlm]: unknown engine 'vlm', did you mean 'vllm'?"),
        ("chat.turns=3", "[chat] is a table of workload 'chat', but this scenario's workload is 'rag'"),
        (
            "workload=tables",
            "SET: workload is 'tables', but should be one of 'agent', 'batch', 'chat', 'dataset', 'rag', 'reasoning', "
            "'replay', 'structured' or 'synthetic'",
        ),
        ("locustfile=foo.py", "scenarios/rag.toml: unknown locustfile 'foo' (known: "),
    ],
)
def test_a_wrong_override_is_refused_in_one_sentence(overrides, sentence):
    assert sentence in refused("rag", overrides)


def test_a_mistake_in_the_file_is_blamed_on_the_file_even_if_other_keys_are_overridden(tmp_path):
    path = write(tmp_path, MINIMAL + '[load]\nusers = "many"\n')
    assert refused(path, "load.rate=3").startswith(f"{path}: load.users is 'many', but should be a whole number")


def test_several_mistakes_are_counted(tmp_path):
    assert refused(write(tmp_path, MINIMAL + "[load]\nusers = 0\nrate = 0\n")).endswith("(and 1 more)")


def test_a_missing_key_is_named(tmp_path):
    assert refused(write(tmp_path, 'workload = "rag"\n')).endswith("the key locustfile is missing")


def test_text_that_is_not_toml_is_refused_with_its_line(tmp_path):
    assert "is not valid TOML" in refused(write(tmp_path, "load = [\n"))


@pytest.mark.parametrize(
    ("categories", "sentence"),
    [('["one"]', "at least two"), ('["a", "A"]', "different words"), ('["a b", "c"]', "single words")],
)
def test_categories_that_a_one_word_answer_cannot_name_are_refused(categories, sentence):
    assert sentence in refused("batch", f"batch.categories={categories}")


def test_an_unknown_scenario_is_answered_with_those_there_are():
    sentence = refused("rga")
    assert "unknown scenario 'rga', did you mean 'rag'?" in sentence and "chat-7k" in sentence
    assert "../scenarios/rag" in refused("../scenarios/rag")


def test_a_missing_file_is_named():
    assert refused("/nowhere/mine.toml") == "there is no scenario file /nowhere/mine.toml"


def test_a_scenario_file_anywhere_works_and_is_named_after_its_file(tmp_path):
    scenario = load_scenario(write(tmp_path, MINIMAL))
    assert scenario.name == "mine"
    assert scenario.rag.documents == 24  # the table may be left out


def test_a_locustfile_beside_the_scenario_is_found(tmp_path):
    (tmp_path / "mine.py").write_text("")
    scenario = load_scenario(write(tmp_path, MINIMAL.replace("rag.py", "mine.py")))
    assert scenario.locustfile_path == tmp_path / "mine.py"
    assert Scenario.from_values(scenario.values()).locustfile_path == tmp_path / "mine.py"


def test_a_name_that_is_not_fit_for_a_folder_is_refused(tmp_path):
    assert "name is '../x'" in refused(write(tmp_path, 'name = "../x"\n' + MINIMAL))


def test_set_splits_at_white_space_outside_quotes_and_brackets():
    assert parse_set("load.users=200  a.b='x y'\nc={d = 1, e = [2, 3]}") == {
        "load.users": "200",
        "a.b": "'x y'",
        "c": "{d = 1, e = [2, 3]}",
    }
    assert parse_set("") == {}
    assert parse_set("a=1 a=2") == {"a": "2"}


@pytest.mark.parametrize("text", ["load.users", "=3", "load..users=3", "200=load", "-x=1"])
def test_set_refuses_what_is_not_key_and_value(text):
    with pytest.raises(UserError, match="wants KEY=VALUE") as caught:
        parse_set(text)
    assert caught.value.code == Exit.USAGE


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("20m", 1200), ("8h", 28800), ("1h30m", 5400), ("250ms", 0.25), ("45", 45), ("1.5 h", 5400)],
)
def test_a_duration_is_read_in_any_unit(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "3x", "3s4", "-3s", "1h 30"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="should be seconds"):
        parse_duration(text)


@pytest.mark.parametrize("salt", ["42", "1e5", "0123456789012345", "true", "1979-05-27"])
def test_a_salt_is_text_whatever_it_looks_like(salt: str) -> None:
    assert load_scenario("rag", {"prompts.salt": salt}).prompts.salt == salt


def test_a_salt_in_quotes_is_what_stands_between_them() -> None:
    assert load_scenario("rag", {"prompts.salt": '"a b"'}).prompts.salt == "a b"
