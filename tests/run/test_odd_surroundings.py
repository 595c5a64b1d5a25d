"""Whatever stands in SET and in the environment: a plan, or one sentence with an exit code. Never a traceback, never a
number that is not one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from unittest import mock

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from tokenswarm.base.config_text import parse_set
from tokenswarm.base.environment import without_disturbing
from tokenswarm.base.errors import UserError
from tokenswarm.base.foreign import readable
from tokenswarm.base.masking import hidden, secrets, usable_key
from tokenswarm.run import calibration
from tokenswarm.run.options import LoadOptions
from tokenswarm.run.run_plan import ThisMachine, resolve
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.scenario.model import Scenario
from tokenswarm.ui.gatekeeping import known_hosts


def keys_of(model: BaseModel, lead: str = "") -> Iterator[str]:
    """Every dotted key of a scenario, its tables included."""
    for name in type(model).model_fields:
        yield lead + name
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from keys_of(value, f"{lead}{name}.")


KEYS = [
    *sorted(keys_of(load_scenario("rag"))),
    "slo.ttft_p95_ms",
    "slo.RagReader.ttft_p95_ms",
    "slo.x",
    "engine.vllm.x",
    "endpoint.headers.a",
    "x",
    "load.x",
    "load.users.x",
    "a.b.c.d",
]
VALUES = [
    "",
    "none",
    "true",
    "0",
    "-1",
    "1",
    "1e308",
    "-1e308",
    "1e-308",
    "inf",
    "nan",
    "9" * 5000,
    "[" * 5000,
    "{a=" * 2000,
    "{}",
    "[]",
    "[1,2]",
    "[1e308]",
    '["a"]',
    "{kind=1}",
    "1979-05-27",
    "07:32:00",
    "x",
    "'x'",
    "/",
    "/dev/zero",
    "../..",
    "~nobody-here/x.toml",
    "\x00",
    "\u202e",
    "env:HOME",
    "0x10",
    "1_000",
    "30s",
    "5x",
    "=",
    "a=b",
    "rag",
    "uniform",
]
WORDS = st.builds("{}={}".format, st.sampled_from(KEYS), st.sampled_from(VALUES) | st.text(max_size=12))
ODD = {"max_examples": 60, "deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}


def tried(make: Callable[[], Scenario]) -> None:
    """A scenario whose values can be written, or a sentence."""
    try:
        scenario = make()
    except UserError as error:
        said = readable(str(error))
        assert said and "\n" not in said and len(said) < 2100
        return
    json.dumps(scenario.values(), allow_nan=False)


@settings(**ODD)
@given(st.lists(WORDS, max_size=4).map(" ".join) | st.text(max_size=40))
@example("workload=none")
@example("load.users=" + "[" * 5000)
@example("load.users=" + "9" * 5000)
def test_any_settings_are_a_plan_or_a_sentence(text: str) -> None:
    tried(lambda: load_scenario("rag", parse_set(text)))


@pytest.mark.slow
def test_each_key_refuses_odd_values_in_a_sentence() -> None:
    step = 1 if os.environ.get("FULL") else 5
    for number, key in enumerate(KEYS):
        for value in VALUES[number % step :: step]:
            tried(lambda key=key, value=value: load_scenario("rag", {key: value}))


NAMES = [
    "API_KEY",
    "UI_PASSWORD",
    "UI_HOSTS",
    "GPUS",
    "CUDA_VISIBLE_DEVICES",
    "TOKENSWARM_SECRETS",
    "XDG_CACHE_HOME",
    "LOCUST_RUN_TIME",
    "LOCUST_USERS",
    "HTTP_PROXY",
    "OPENAI_API_KEY",
    "SEED",
    "RESULTS",
]
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    ["/dev/null", "/", "0", "-1", "1e308", "x" * 5000, "a:b:c", "http://u:p@h", "API_KEY API_KEY PATH"]
)


@settings(**ODD | {"max_examples": 25})
@given(st.dictionaries(st.sampled_from(NAMES), TEXTS, max_size=4))
def test_any_environment_is_a_plan_or_a_sentence(variables: dict[str, str]) -> None:
    machine = ThisMachine(environ=variables, runtime_for=lambda *_: "local")
    with mock.patch.dict(os.environ, variables):
        tried(lambda: resolve(LoadOptions(), machine).scenario)
        try:
            usable_key(os.environ.get("API_KEY"))
        except UserError as error:
            assert "\n" not in str(error) and (not (key := variables["API_KEY"].strip()) or key not in str(error))
        assert all(secret not in hidden(f"key {secret}.") for secret in secrets())
        assert calibration.stored() is None or variables.get("XDG_CACHE_HOME") is None
        known_hosts(None)
        assert not any(name.startswith("LOCUST_") for name in without_disturbing())
