"""Engine descriptions: what they must contain, and what is refused with a sentence."""

from __future__ import annotations

import pytest

from tokenswarm.base.data_files import ENGINES_DIR
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.engines.spec.engine_spec import CANONICAL_SETTINGS, known_engines, load_description, parse
from tokenswarm.engines.spec.flags import Placement, command, resolve
from tokenswarm.scenario.loading import load_scenario, scenario_names

VLLM = (ENGINES_DIR / "vllm.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", known_engines())
def test_every_description_that_comes_with_the_project_is_valid(name: str) -> None:
    description = load_description(name)
    assert set(description.settings) == set(CANONICAL_SETTINGS)
    assert {"running", "waiting"} <= set(description.metrics)
    if name != "llamacpp":  # it has no histogram of its latencies
        assert "server_ttft_sum_s" in description.metrics
    if name not in ("trtllm", "llamacpp"):  # what the one calls its cache hits is not known; the other counts none
        assert {"prefix_query_tokens", "prefix_hit_tokens"} <= set(description.metrics)


def test_a_context_is_each_requests_own_also_where_an_engine_means_that_of_all_together() -> None:
    args = command(load_description("llamacpp"), {"context_length": 8192, "max_num_seqs": 16}, Placement("m", 1))
    assert args[args.index("--kv-unified-per-slot") + 1] == "8192" and "--kv-unified" in args
    assert "--ctx-size" not in args
    notes = resolve(load_description("llamacpp"), {"max_num_seqs": 256}).notes
    assert any("max_num_seqs reduced from 256 to 32" in note for note in notes)


@pytest.mark.parametrize("name", ["lmdeploy", "llamacpp"])
@pytest.mark.parametrize("scenario", scenario_names())
def test_every_scenario_has_a_command_line_on_every_described_engine(name: str, scenario: str) -> None:
    args = command(load_description(name), load_scenario(scenario).engine, Placement("m", 1))
    assert all(isinstance(arg, str) and arg and "{" not in arg for arg in args)


def test_the_three_engines_of_the_project_are_known() -> None:
    assert {"vllm", "sglang", "sim"} <= set(known_engines())


@pytest.mark.parametrize("name", ["vlm", "", "VLLM"])
def test_unknown_engine_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(UserError, match=r"known: external, .*sglang, sim.*vllm") as caught:
        load_description(name)
    assert caught.value.code is Exit.USAGE


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('title = "vLLM"', 'titel = "vLLM"', "title"),
        ("default_port = 8000", 'default_port = "x"', "default_port"),
        ('seed = { flag = "--seed" }', "", "does not say what to do with seed"),
        ('seed = { flag = "--seed" }', 'seed = { flag = "--seed", refused = "no" }', "exactly one of"),
        ('seed = { flag = "--seed" }', 'seed = { on = ["--seed"] }', "both on and off"),
        ('running = { names = ["vllm', 'runing = { names = ["vllm', "unknown names runing"),
        ('title = "vLLM"', "title = ", "not valid TOML"),
        ("memory_fraction = 0.90", "memory_share = 0.90", "defaults has unknown names memory_share"),
        ('pattern = "(CUDA|HIP)', 'pattern = "((CUDA|HIP)', "pattern"),
    ],
)
def test_a_mistake_in_a_description_is_named(before: str, after: str, message: str) -> None:
    assert before in VLLM
    with pytest.raises(UserError, match=message) as caught:
        parse("vllm", VLLM.replace(before, after, 1), "vllm.toml")
    assert caught.value.code is Exit.USAGE
    assert str(caught.value).startswith("vllm.toml")
    assert "\n" not in str(caught.value)


def test_a_device_without_a_form_is_refused() -> None:
    with pytest.raises(UserError, match="not described for device 'tpu'"):
        load_description("vllm").form("tpu")


def test_a_description_goes_on_from_the_one_that_it_is_like() -> None:
    sim, like = load_description("sim"), load_description("sim-sglang")
    assert like.settings == sim.settings and like.command.local == sim.command.local
    assert like.command.always == ["--style", "sglang", "--profile", "l4-3b"] and like.name == "sim-sglang"
    assert like.recognise == [], "a running one is found as `sim`"


def test_the_two_simulated_engines_differ_in_their_style_alone() -> None:
    one, other = load_description("sim-vllm").model_dump(), load_description("sim-sglang").model_dump()
    assert {key for key in one if one[key] != other[key]} == {"name", "title", "command", "told_apart"}
    assert [part for part in one["command"]["always"] if part not in other["command"]["always"]] == ["vllm"]


@pytest.mark.parametrize(("like", "message"), [("nobody", "nobody"), ("sim-vllm", "is itself like another")])
def test_a_description_like_nothing_that_can_be_is_refused(like: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse("x", f'like = "{like}"\ntitle = "x"', "x.toml")
