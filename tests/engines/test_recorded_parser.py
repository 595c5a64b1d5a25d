"""Flags of engines that cannot be installed here without a GPU, against the options of their real parsers on record.

`fixtures/lmdeploy_0_18_0_options.json` was written by the argument parser of LMDeploy 0.18.0 (its wheel without its
dependencies, in another engine's Python): the names, counts, types and choices of `lmdeploy serve api_server`. Choices
that it looks up only after parsing (reasoning parsers, policies of the KV cache) are from the registries it looks in.
`fixtures/trtllm_options.json` has the options of `trtllm-serve` as read in its public source, before 1.3 added some.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.engines.test_flags import MAPPING
from tests.real_engines.parsing import SCENARIOS
from tokenswarm.base.errors import UserError
from tokenswarm.engines.spec.engine_spec import EngineSpec, load_description
from tokenswarm.engines.spec.flags import Placement, command
from tokenswarm.scenario.engine_settings import EngineSettings
from tokenswarm.scenario.loading import load_scenario

FIXTURES = Path(__file__).parent / "fixtures"
TYPES = {"int": int, "float": float}


@dataclass(frozen=True)
class Recorded:
    """An engine's options on record. `behind`: the word of its command line behind which the parser begins; `refused`:
    settings that the description refuses in a sentence, because the engine has no flag for them."""

    description: EngineSpec
    options: Path
    behind: str
    refused: set[str]
    unknown: list[str]


LMDEPLOY = Recorded(
    load_description("lmdeploy"),
    FIXTURES / "lmdeploy_0_18_0_options.json",
    "api_server",
    {"chunked_prefill=False", "speculation=ngram"},
    ["--model-format", "bitsandbytes"],
)
TRTLLM = Recorded(
    load_description("trtllm"),
    FIXTURES / "trtllm_options.json",
    "trtllm-serve",
    {
        *("data_parallel=2", "quantization=fp8", "kv_cache_dtype=fp8", "prefix_cache=False", "dtype=bfloat16"),
        *("load_format=dummy", "seed=7", "speculation=ngram", "lora=a"),
    },
    ["--served_model_name", "m"],
)
BOTH = pytest.mark.parametrize("engine", [LMDEPLOY, TRTLLM], ids=lambda engine: engine.description.name)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def parser(engine: Recorded) -> argparse.ArgumentParser:
    """As the engine's own, by the record of it."""
    made = _Parser(allow_abbrev=False)
    for option in json.loads(engine.options.read_text("utf-8")):
        if option.get("flag"):
            made.add_argument(*option["names"], action="store_true")
            continue
        taken = {name: option[name] for name in ("nargs", "choices") if name in option}
        made.add_argument(*option["names"], type=TYPES.get(option.get("type", ""), str), **taken)
    return made


def refusal(engine: Recorded, args: list[str]) -> str:
    """What the parser says against a command line; "" where it accepts it."""
    begin = next(place for place, word in enumerate(args) if word.endswith(engine.behind))
    try:
        parser(engine).parse_args(args[begin + 1 :])
    except ValueError as error:
        return str(error)
    return ""


def args_of(engine: Recorded, settings: EngineSettings) -> list[str]:
    return command(engine.description, settings, Placement("m", 1), device="cuda")


def each_setting(engine: Recorded) -> list[dict[str, Any]]:
    """Every setting that others take, and every value that the description maps one by one."""
    found: list[dict[str, Any]] = [{name: value} for name, value, *_ in MAPPING]
    for name, setting in engine.description.settings.items():
        if name == "speculation":
            each = [{"method": value, "tokens": 2, "draft_model": "d"} for value in setting.choices or {}]
            found += [{name: value} for value in each]
        else:
            values = [*(setting.choices or {}), *(setting.values or {})]
            found += [{name: {"true": True, "false": False}.get(value, value)} for value in values]
    lora = {"names": ["a", "b"], "paths": ["/a", "/b"], "max_loaded": 2, "max_rank": 16}
    return [*found, {"lora": lora}, {"prefill_budget": 4096, "expert_parallel": 8}]


def words(settings: dict[str, Any]) -> str:
    """`speculation=ngram`."""
    [(name, value)] = settings.items()
    return f"{name}={(value.get('method') or value['names'][0]) if isinstance(value, dict) else value}"


@BOTH
def test_the_parser_on_record_refuses_what_the_real_one_refuses(engine: Recorded) -> None:
    usual = args_of(engine, EngineSettings())
    assert refusal(engine, usual) == ""
    assert "there-is-no-such-flag" in refusal(engine, [*usual, "--there-is-no-such-flag"])
    assert refusal(engine, [*usual, *engine.unknown]) != ""


@BOTH
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_each_scenario_becomes_flags_that_it_takes(engine: Recorded, scenario: str) -> None:
    assert refusal(engine, args_of(engine, load_scenario(scenario).engine)) == ""


@BOTH
def test_each_setting_becomes_flags_that_it_takes_or_is_refused_in_a_sentence(engine: Recorded) -> None:
    refused = set()
    for settings in each_setting(engine):
        try:
            args = args_of(engine, EngineSettings.model_validate(settings))
        except UserError:
            refused.add(words(settings))
            continue
        assert refusal(engine, args) == "", settings
    assert refused == engine.refused
