"""Before the load: the form in which adapters are named, and whether the endpoint has them."""

from __future__ import annotations

import pytest

from tests.run.helpers import QUIET_MACHINE
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.run.options import LoadOptions
from tokenswarm.run.run_plan import RunPlan, resolve
from tokenswarm.run.served_adapters import with_adapters


def plan(**overrides: str) -> RunPlan:
    settings = {"lora.adapters": "3", **{f"lora.{name}": value for name, value in overrides.items()}}
    return resolve(LoadOptions(scenario="chat", host="http://127.0.0.1:1", overrides=settings), QUIET_MACHINE)


SERVED = ["base", "adapter-1", "adapter-2", "adapter-3"]


def test_the_engines_own_form_is_taken_unless_one_was_given() -> None:
    for given, form, asked in (
        ({}, "{model}:{name}", "base:adapter-2"),
        ({}, None, "adapter-2"),
        ({"model": "x/{name}"}, "{name}", "x/adapter-2"),
    ):
        found = with_adapters(plan(**given), form, SERVED).scenario.lora
        assert found.asked_model(2, "base") == asked


def test_an_adapter_that_the_endpoint_does_not_list_ends_the_run_before_its_load() -> None:
    with pytest.raises(UserError, match=r"does not list the adapters adapter-3; it serves base.*lora\.path") as caught:
        with_adapters(plan(), "{name}", SERVED[:3])
    assert caught.value.code is Exit.MODEL


def test_where_adapters_are_not_listed_by_name_nothing_is_said() -> None:
    assert with_adapters(plan(), "{model}:{name}", ["base"]).scenario.lora.model == "{model}:{name}"
    assert with_adapters(plan(), "{name}", []).scenario.lora.model == "{name}"
