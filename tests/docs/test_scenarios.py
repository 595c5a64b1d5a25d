"""docs/scenarios.md, the TOML files and the models agree."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from typing import get_args, get_origin

import pytest
from pydantic import BaseModel

from tokenswarm.base.data_files import LOCUSTFILES_DIR, SCENARIOS_DIR
from tokenswarm.base.lookup import ENDPOINTS
from tokenswarm.contract.objectives import slo_rates
from tokenswarm.scenario.distribution import Distribution
from tokenswarm.scenario.loading import load_scenario, scenario_names
from tokenswarm.scenario.model import Scenario
from tokenswarm.scenario.workload_kinds import WORKLOADS

PAGE_FOLDER = Path(SCENARIOS_DIR).parent / "docs"
DOCS = (PAGE_FOLDER / "scenarios.md").read_text()


def keys_of(model: type[BaseModel], prefix: str = "") -> list[tuple[str, str]]:
    """(dotted key, description) of all keys, tables followed."""
    found = []
    for name, field in model.model_fields.items():
        kinds = [field.annotation, *get_args(field.annotation)]
        table = next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)
        rows = get_origin(field.annotation) is tuple  # a list of tables is one key
        if table is not None and table is not Distribution and not rows:
            found += keys_of(table, f"{prefix}{name}.")
        else:
            found.append((prefix + name, field.description))
    return found


def all_keys() -> list[tuple[str, str]]:
    """The keys of a scenario, those of each workload's table too."""
    tables = [keys_of(WORKLOADS.get(name).Settings, f"{name}.") for name in WORKLOADS.names()]
    return [*keys_of(Scenario), *(item for table in tables for item in table)]


def test_the_docs_name_no_key_that_does_not_exist():
    known = {key for key, _ in all_keys()} | {"engine.speculation"}
    named = set(re.findall(r"^\| `([a-z_]+\.[a-z0-9_.]+)` \|", DOCS, re.MULTILINE))
    slo = {key for key in named if key.startswith("slo.")}
    assert named - slo <= known
    assert slo == {f"slo.{rate.slo_key}" for rate in slo_rates()}
    assert {"slo.error_rate", "slo.goodput_rps_min", "slo.output_tok_s_min"} <= slo


@pytest.mark.parametrize("kind", get_args(Distribution.model_fields["kind"].annotation))
def test_the_docs_name_every_kind_of_distribution(kind):
    assert f"| `{kind}` |" in DOCS


@pytest.mark.parametrize("name", scenario_names())
def test_the_docs_name_every_scenario(name):
    assert f"| `{name}` |" in DOCS


@pytest.mark.parametrize("name", scenario_names())
def test_every_value_of_a_scenario_from_its_engine_on_has_a_reason_beside_it(name):
    text = (SCENARIOS_DIR / f"{name}.toml").read_text()
    table = text.partition("[engine]")[2]
    settings = tomllib.loads(text)["engine"]
    assert settings
    bare = [line for line in table.splitlines() if re.match(r"\w+ = ", line) and "#" not in line]
    assert bare == []


@pytest.mark.parametrize("name", scenario_names())
def test_an_engine_s_context_holds_the_longest_prompt_and_answer(name):
    scenario = load_scenario(name)
    rag, chat, batch, agent = (getattr(scenario, name, None) for name in ("rag", "chat", "batch", "agent"))
    prompt = 0.0 if agent is None else agent.history_limit_tokens
    if rag is not None:
        prompt = rag.document_tokens.max
    elif chat is not None:
        prompt = chat.history_limit_tokens if chat.style == "conversation" else chat.context_tokens
    elif batch is not None:
        prompt = batch.document_tokens.max
    # A tenth more than four characters a token would give: tokenisers differ.
    assert 1.1 * prompt + 200 + scenario.output.max_tokens <= scenario.engine.context_length


@pytest.mark.parametrize("path", sorted(LOCUSTFILES_DIR.glob("*.py")), ids=lambda path: path.name)
def test_a_locustfile_is_a_short_story(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 60
    (user,) = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
    assert ast.get_docstring(user)
    assert [base.id for base in user.bases] == ["LLMUser"]


def test_each_preset_of_an_endpoint_is_told_of() -> None:
    page = (PAGE_FOLDER / "endpoints.md").read_text("utf-8")
    for path in ENDPOINTS.packaged.glob("*.toml"):
        assert f"| `{path.stem}` |" in page
