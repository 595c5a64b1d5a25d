"""Which adapter a session names: by Zipf's law, the same for the same seed, and for all its turns."""

from __future__ import annotations

from collections import Counter

import pytest

from tokenswarm.base.config_text import parse_set
from tokenswarm.base.errors import UserError
from tokenswarm.engines import load_description
from tokenswarm.engines.spec.flags import Placement, command
from tokenswarm.generator.adapter_choice import adapter_of
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.scenario.lora import Lora
from tokenswarm.scenario.model import Scenario


def drawn(lora: Lora, sessions: int = 20_000, seed: int = 1) -> Counter[int | None]:
    return Counter(adapter_of(lora, seed, f"measure-{number:06d}") for number in range(sessions))


def test_popularity_follows_zipfs_law() -> None:
    counts = drawn(Lora(adapters=4, zipf=1.0))
    whole = 1 + 1 / 2 + 1 / 3 + 1 / 4
    for rank in range(1, 5):
        assert counts[rank] / 20_000 == pytest.approx(1 / rank / whole, abs=0.015)
    alike = drawn(Lora(adapters=4, zipf=0.0))
    assert max(alike.values()) / min(alike.values()) < 1.1


def test_a_session_keeps_its_adapter_and_another_seed_draws_anew() -> None:
    lora = Lora(adapters=50)
    ranks = [[adapter_of(lora, seed, f"measure-{number}") for number in range(50)] for seed in (1, 1, 2)]
    assert ranks[0] == ranks[1] != ranks[2]
    assert adapter_of(Lora(), 1, "measure-1") is None


SET = "lora.adapters=2 lora.path=/adapters/{n} lora.max_rank=8"


def flags(engine: str) -> list[str]:
    settings = load_scenario("chat", parse_set(SET)).engine
    return command(load_description(engine), settings, Placement("m", 1))


@pytest.mark.parametrize(
    ("engine", "wanted"),
    [
        (
            "vllm",
            "--enable-lora --lora-modules adapter-1=/adapters/1 adapter-2=/adapters/2 --max-loras 2 --max-lora-rank 8",
        ),
        (
            "sglang",
            "--enable-lora --lora-paths adapter-1=/adapters/1 adapter-2=/adapters/2 --max-loras-per-batch 2 "
            "--max-lora-rank 8",
        ),
        ("sim", "--lora-modules adapter-1 adapter-2 --max-loras 2"),
    ],
)
def test_adapters_become_the_engines_own_flags(engine: str, wanted: str) -> None:
    assert wanted in " ".join(flags(engine))


def test_without_adapters_no_engine_is_asked_for_any() -> None:
    for engine in ("vllm", "sglang", "sim", "trtllm"):
        args = command(load_description(engine), load_scenario("chat").engine, Placement("m", 1))
        assert not [arg for arg in args if "lora" in arg]


def test_an_engine_that_takes_no_adapters_by_flags_says_so() -> None:
    with pytest.raises(UserError, match=r"cannot honour engine\.lora"):
        flags("trtllm")


def test_requests_name_adapters_as_each_engine_wants_it() -> None:
    for engine, asked in (("vllm", "adapter-2"), ("sglang", "base:adapter-2"), ("sim", "adapter-2")):
        lora = Lora(adapters=2, model=load_description(engine).adapter_model)
        assert lora.asked_model(2, "base") == asked


def test_the_table_survives_run_json_and_a_wrong_placeholder_is_refused() -> None:
    scenario = load_scenario("chat", parse_set(SET))
    assert Scenario.from_values(scenario.values()) == scenario and scenario.lora.names() == ["adapter-1", "adapter-2"]
    with pytest.raises(UserError, match="placeholder"):
        load_scenario("chat", parse_set("lora.adapters=2 lora.name=a-{number}"))
