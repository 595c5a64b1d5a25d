"""Every flag that a scenario leads to is accepted by the engine's real argument parser."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.engine_data.test_flags import MAPPING
from tokenswarm.engine_settings import EngineSettings
from tokenswarm.engines.description import Description, load_description
from tokenswarm.engines.flags import command
from tokenswarm.engines.places import Places
from tokenswarm.scenario import load_scenario

HERE = Path(__file__).parent
SCENARIOS = sorted(path.stem for path in (HERE.parents[1] / "scenarios").glob("*.toml"))
ALONE = [{name: value} for name, value, *_ in MAPPING]
TOGETHER = [
    {"tensor_parallel": 4, "data_parallel": 2, "expert_parallel": 8, "trust_remote_code": True},
    {"speculation": {"method": "eagle3", "tokens": 3, "draft_model": "some/draft"}},
    {"speculation": {"method": "mtp", "tokens": 1}, "reasoning_parser": "deepseek_v3"},
    {"chunked_prefill": True, "prefill_budget": 8192},
]


def parsers_choices(description: Description) -> list[dict[str, Any]]:
    """Every value of every setting that the description maps one by one."""
    table = []
    for name, setting in description.settings.items():
        for value in setting.choices or {}:
            if name == "speculation":
                table.append({name: {"method": value, "tokens": 2, "draft_model": "some/draft"}})
            else:
                table.append({name: value})
        table += [{name: value} for value in setting.values or {}]
    return table


def refusals(name: str, installed: Places, commands: list[list[str]]) -> list[str | None]:
    """What the real parser says to each command line."""
    result = subprocess.run(
        [str(installed.python), "-P", str(HERE / f"parse_{name}.py")],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        env={"PATH": str(installed.bin_dir) + ":/usr/bin:/bin", "SGLANG_USE_CPU_ENGINE": "1", "HF_HUB_OFFLINE": "1"},
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def answers(engine_name: str, installed: Places) -> dict[str, str | None]:
    """All command lines in one go, since importing an engine takes long: what was asked -> refusal."""
    description = load_description(engine_name)
    asked: dict[str, list[str]] = {"bogus": [*command(description, {}, "m", 1), "--there-is-no-such-flag", "1"]}
    for device in description.forms:
        for scenario in SCENARIOS:
            asked[f"{scenario} {device}"] = command(description, load_scenario(scenario).engine, "m", 1, device=device)
    for settings in [*ALONE, *TOGETHER, *parsers_choices(description)]:
        full = EngineSettings.model_validate(settings)
        asked[json.dumps(settings)] = command(description, full, "m", 1)
    return dict(zip(asked, refusals(engine_name, installed, list(asked.values())), strict=True))


def test_the_parser_refuses_a_flag_that_does_not_exist(answers: dict[str, str | None]) -> None:
    assert answers["bogus"] is not None
    assert "there-is-no-such-flag" in answers["bogus"]


def test_each_scenario_and_each_setting_is_accepted(answers: dict[str, str | None]) -> None:
    refused = {asked: said for asked, said in answers.items() if said is not None and asked != "bogus"}
    assert refused == {}
    assert len(answers) > len(SCENARIOS) * 2 + len(ALONE)
