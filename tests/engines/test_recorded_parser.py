"""Flags of an engine that cannot be installed here without a GPU, against the options of its real parser on record.

`fixtures/lmdeploy_0_18_0_options.json` was written by the argument parser of LMDeploy 0.18.0 (its wheel without its
dependencies, in another engine's Python): the names, counts, types and choices of `lmdeploy serve api_server`. Choices
that it looks up only after parsing (reasoning parsers, policies of the KV cache) are from the registries it looks in.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.engines.test_flags import MAPPING
from tests.real_engines.parsing import SCENARIOS
from tokenswarm.base.errors import UserError
from tokenswarm.engines.spec.engine_spec import load_description
from tokenswarm.engines.spec.flags import Placement, command
from tokenswarm.scenario.engine_settings import EngineSettings
from tokenswarm.scenario.loading import load_scenario

OPTIONS = Path(__file__).parent / "fixtures" / "lmdeploy_0_18_0_options.json"
LMDEPLOY = load_description("lmdeploy")
TYPES = {"int": int, "float": float}
NOT_THERE = [{"chunked_prefill": False}, {"speculation": {"method": "ngram", "tokens": 5}}]
"""What the description refuses in a sentence, because the engine has nothing like it."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def parser() -> argparse.ArgumentParser:
    """As LMDeploy's own, by the record of it."""
    made = _Parser(allow_abbrev=False)
    for option in json.loads(OPTIONS.read_text("utf-8")):
        if option.get("flag"):
            made.add_argument(*option["names"], action="store_true")
            continue
        taken = {name: option[name] for name in ("nargs", "choices") if name in option}
        made.add_argument(*option["names"], type=TYPES.get(option.get("type", ""), str), **taken)
    return made


def refusal(args: list[str]) -> str:
    """What the parser says against a command line from the model on; "" where it accepts it."""
    try:
        parser().parse_args(args[args.index("api_server") + 1 :])
    except ValueError as error:
        return str(error)
    return ""


def args_of(settings: EngineSettings) -> list[str]:
    return command(LMDEPLOY, settings, Placement("m", 1), device="cuda")


def each_setting() -> list[dict[str, Any]]:
    """Every setting that others take, and every value that the description maps one by one."""
    found: list[dict[str, Any]] = [{name: value} for name, value, *_ in MAPPING]
    for name, setting in LMDEPLOY.settings.items():
        if name == "speculation":
            each = [{"method": value, "tokens": 2, "draft_model": "d"} for value in setting.choices or {}]
            found += [{name: value} for value in each]
        else:
            values = [*(setting.choices or {}), *(setting.values or {})]
            found += [{name: {"true": True, "false": False}.get(value, value)} for value in values]
    lora = {"names": ["a", "b"], "paths": ["/a", "/b"], "max_loaded": 2, "max_rank": 16}
    return [*found, {"lora": lora}, {"prefill_budget": 4096, "expert_parallel": 8}]


def test_the_parser_on_record_refuses_what_the_real_one_refuses() -> None:
    usual = args_of(EngineSettings())
    assert refusal(usual) == ""
    assert "there-is-no-such-flag" in refusal([*usual, "--there-is-no-such-flag"])
    assert "invalid choice" in refusal([*usual, "--model-format", "bitsandbytes"])
    assert "invalid int value" in refusal([*usual, "--tp", "two"])


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_each_scenario_becomes_flags_that_it_takes(scenario: str) -> None:
    assert refusal(args_of(load_scenario(scenario).engine)) == ""


def test_each_setting_becomes_flags_that_it_takes_or_is_refused_in_a_sentence() -> None:
    refused = []
    for settings in each_setting():
        try:
            args = args_of(EngineSettings.model_validate(settings))
        except UserError:
            refused.append(settings)
            continue
        assert refusal(args) == "", settings
    assert refused == NOT_THERE
