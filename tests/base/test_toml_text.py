"""The effective configuration as a TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tokenswarm.base.config_text import parse_set
from tokenswarm.base.toml_text import toml_text
from tokenswarm.scenario.loading import load_scenario

SETTINGS = {
    "rag": "load.users=77 slo.RagReader.ttft_p95_ms=400",
    "chat": "load.rate=2.5 prompts.salt=42",
    "batch": 'endpoint.headers.x-team="a b" output.extra.top_k=3',
    "reasoning": "load.users_steps=[1,2]",
    "structured": "structured.unique=true",
    "chat-7k": "",
}


@pytest.mark.parametrize("name", SETTINGS)
def test_what_is_printed_is_the_same_scenario_when_it_is_read(name: str, tmp_path: Path) -> None:
    printed = load_scenario(name, parse_set(SETTINGS[name]))
    file = tmp_path / "printed.toml"
    file.write_text(toml_text(printed.values()), "utf-8")
    assert load_scenario(str(file)).values() == printed.values()


@pytest.mark.parametrize("value", ['quote " and \\', "line\nbreak\ttab", "DEL \x7f and \x01", "ü 漢 🙂", ""])
def test_any_text_is_read_as_it_was(value: str) -> None:
    values = {"a b": value, "table": {"k.ey": [value, {"inner": value}], value: 1}}
    assert tomllib.loads(toml_text(values)) == values


def test_kinds_of_values_stay_and_none_is_absent() -> None:
    kept = {"whole": 3, "real": 3.0, "tiny": 1e-07, "yes": True, "list": [], "table": {}, "endless": float("inf")}
    read = tomllib.loads(toml_text(kept | {"none": None, "more": {"deep": {"er": {"x": None}}}}))
    assert read == kept | {"more": {"deep": {"er": {}}}}
    assert type(read["real"]) is float
