"""An engine that runs already is taken by the name it tells, or by that of one described as like it whose signs it
shows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sim.simulators import running
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.engines import adopt
from tokenswarm.run.engine_up import _take_as
from tokenswarm.run.run_plan import RunPlan

STARTED = {
    "sim": ("--profile", "flat"),
    "sim-vllm": ("--style", "vllm", "--profile", "l4-3b"),
    "sim-sglang": ("--style", "sglang", "--profile", "l4-3b"),
}


class _Asked:
    """Of a plan only what is looked at."""

    host = "http://the-host"

    def __init__(self, engine_name: str) -> None:
        self.engine_name = engine_name


@pytest.fixture(scope="module")
def urls() -> Iterator[dict[str, str]]:
    with running(*STARTED["sim"]) as a, running(*STARTED["sim-vllm"]) as b, running(*STARTED["sim-sglang"]) as c:
        yield {"sim": a.url, "sim-vllm": b.url, "sim-sglang": c.url}


def _refusal(asked: str, url: str) -> str:
    plan: RunPlan = _Asked(asked)  # type: ignore[assignment]
    try:
        _take_as(plan, adopt(url))
    except UserError as error:
        assert error.code == Exit.USAGE
        return str(error)
    return ""


@pytest.mark.parametrize("name", ["sim-vllm", "sim-sglang"])
def test_a_profile_of_the_simulator_is_taken_where_it_shows_itself(urls: dict[str, str], name: str) -> None:
    assert _refusal(name, urls[name]) == ""


def test_an_engine_at_a_host_is_called_as_one_that_was_started_under_that_name(urls: dict[str, str]) -> None:
    engine = adopt(urls["sim-sglang"])
    assert engine.title == "Simulator"
    _take_as(_Asked("sim-sglang"), engine)  # type: ignore[arg-type]
    assert (engine.name, engine.title) == ("sim-sglang", "SGLang-like simulator")


@pytest.mark.parametrize(("asked", "runs"), [("sim-vllm", "sim"), ("sim-vllm", "sim-sglang"), ("sim-sglang", "sim")])
def test_another_profile_is_refused_with_what_tells_them_apart(urls: dict[str, str], asked: str, runs: str) -> None:
    refusal = _refusal(asked, urls[runs])
    assert f"with other settings than {asked}" in refusal and "tells profile l4-3b" in refusal
    assert "use ENGINE=sim" in refusal


def test_another_engine_is_refused_by_name(urls: dict[str, str]) -> None:
    assert "is Simulator, not vllm" in _refusal("vllm", urls["sim"])
