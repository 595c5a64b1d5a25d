"""The command line becomes one complete plan; impossible input is refused before anything is created."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.run.helpers import QUIET_MACHINE, external_engine
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.contract.manifest import CostRecord
from tokenswarm.run.options import LoadOptions
from tokenswarm.run.price import price
from tokenswarm.run.run_plan import CpuSplit, ThisMachine, resolve

FOUR = frozenset(range(4))
HOST = "http://127.0.0.1:9"


def never(*_: object) -> str:
    raise AssertionError("nobody has to be asked for the runtime")


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ({}, ("sim", None, "local", "cpu", False)),
        ({"engine": "vllm", "model": "m"}, ("vllm", None, "docker", "cuda", False)),
        ({"engine": "vllm", "device": "cpu"}, ("vllm", None, "docker", "cpu", True)),
        ({"engine": "vllm", "runtime": "local", "model": "m"}, ("vllm", None, "local", "cuda", False)),
        ({"engine": "vllm", "device": "cpu", "master": ("0.0.0.0", 5557)}, ("vllm", None, "docker", "cpu", False)),
        ({"engine": "external", "host": HOST}, ("external", HOST, None, None, False)),
        ({"engine": "vllm", "host": HOST, "device": "cpu"}, ("vllm", HOST, None, None, False)),
    ],
)
def test_what_is_loaded_and_where_it_runs(typed: dict[str, Any], expected: tuple[Any, ...]) -> None:
    docker = ThisMachine(runtime_for=lambda spec, device: "local" if spec.simulated else "docker")
    plan = resolve(LoadOptions(**typed), docker)
    engine = plan.engine
    assert (
        plan.engine_name,
        plan.host,
        engine and engine.runtime,
        engine and engine.device,
        plan.engine_on_this_cpu,
    ) == expected


def test_a_runtime_that_was_asked_for_is_not_looked_up() -> None:
    machine = ThisMachine(runtime_for=never)
    assert resolve(LoadOptions(engine="vllm", runtime="docker", model="m"), machine).engine.runtime == "docker"
    assert resolve(LoadOptions(engine="vllm", host=HOST), machine).engine is None


@pytest.mark.parametrize(
    ("typed", "cpus", "expected"),
    [
        ({"engine": "vllm", "device": "cpu"}, FOUR, CpuSplit(frozenset({0, 1, 2}), frozenset({3}))),
        ({"engine": "vllm", "device": "cpu", "workers": 3}, FOUR, CpuSplit(frozenset({0}), frozenset({1, 2, 3}))),
        ({"engine": "vllm", "device": "cpu", "workers": 4}, FOUR, None),
        ({"engine": "vllm", "device": "cpu"}, None, None),
        ({"engine": "vllm", "device": "cpu", "master": ("h", 1)}, FOUR, None),
        ({"engine": "vllm", "device": "cpu", "host": HOST}, FOUR, None),
        ({"engine": "vllm", "model": "m"}, FOUR, None),
        ({}, FOUR, None),
    ],
)
def test_engine_and_load_generator_share_cpus_only_where_both_compute_on_them(
    typed: dict[str, Any], cpus: frozenset[int] | None, expected: CpuSplit | None
) -> None:
    plan = resolve(LoadOptions(**typed), ThisMachine(cpus=cpus, runtime_for=lambda *_: "local"))
    assert plan.cpus == expected
    if plan.engine is not None:
        assert plan.engine.request(Path("log")).cpus == (expected.engine if expected else None)


@pytest.mark.parametrize(
    ("environ", "visible", "named"),
    [
        ({}, None, 0),
        ({"GPUS": "0,1"}, "0,1", 2),
        ({"GPUS": "0,1", "CUDA_VISIBLE_DEVICES": "5"}, "0,1", 2),
        ({"CUDA_VISIBLE_DEVICES": "5"}, "5", 0),
        ({"GPUS": "", "CUDA_VISIBLE_DEVICES": ""}, None, 0),
        ({"GPUS": " 3 , "}, " 3 , ", 1),
        ({"GPUS": "all"}, "all", None),
    ],
)
def test_gpus_come_from_the_environment(environ: dict[str, str], visible: str | None, named: int) -> None:
    plan = resolve(LoadOptions(), ThisMachine(environ=environ, runtime_for=lambda *_: "local"))
    assert (plan.visible_gpus, plan.gpus_named) == (visible, named)


def test_settings_by_hand_are_told_from_the_scenario_s() -> None:
    typed = LoadOptions(engine="vllm", model="m", overrides={"engine.prefill_budget": "4096", "load.users": "3"})
    plan = resolve(typed, QUIET_MACHINE)
    request = plan.engine.request(Path("x/engine.log"))
    assert (request.explicit, request.log_path) == (("prefill_budget",), Path("x/engine.log"))
    assert plan.engine.wanted["prefill_budget"] == 4096
    assert plan.engine.wanted["context_length"] == plan.scenario.engine.context_length
    assert plan.scenario.load.users == 3
    typed.overrides["load.users"] = "4"
    assert plan.overrides["load.users"] == "3", "a plan does not change with what it was made of"


@pytest.mark.parametrize(
    ("typed", "code", "words"),
    [
        ({"engine": "external"}, Exit.USAGE, "ENGINE=external needs HOST="),
        ({"engine": "nothing"}, Exit.USAGE, "unknown engine 'nothing'"),
        ({"engine": "nothing", "host": HOST}, Exit.USAGE, "unknown engine 'nothing'"),
        ({"engine": "external", "host": "http://me:secret@h:1"}, Exit.USAGE, "password"),
        ({"engine": "sim", "device": "cuda"}, Exit.USAGE, "is not described for device 'cuda'"),
        (
            {"engine": "trtllm", "model": "m", "overrides": {"engine.seed": "1"}},
            Exit.USAGE,
            "cannot honour engine.seed",
        ),
        ({"scenario": "nothing"}, Exit.USAGE, "nothing"),
        ({"corpus": "/there/is/no/such/folder"}, Exit.CORPUS, "/there/is/no/such/folder"),
    ],
)
def test_what_cannot_be_is_refused(typed: dict[str, Any], code: Exit, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        resolve(LoadOptions(**typed), QUIET_MACHINE)
    assert caught.value.code is code
    assert "secret" not in str(caught.value)


def test_the_key_is_in_no_representation() -> None:
    plan = resolve(LoadOptions(api_key="planted-key"), QUIET_MACHINE)
    assert plan.api_key == "planted-key" and "planted-key" not in repr(plan)


@pytest.mark.parametrize(
    ("environ", "runtime", "gpus", "effective", "paid"),
    [
        ({"GPUS": "0,1,2"}, "docker", ["H100"], {"tensor_parallel": 8}, 3),  # named
        ({}, "docker", ["H100", "H100"], {"tensor_parallel": 8}, 2),  # given to the container
        ({}, "local", ["H100", "H100"], {"tensor_parallel": 4, "data_parallel": 2}, 8),  # used, as the engine says
        ({}, "external", [], {}, 1),
        ({"GPUS": "all"}, "local", ["H100"] * 8, {"tensor_parallel": 4}, 8),
        ({"GPUS": "all"}, "local", [], {"tensor_parallel": 4}, 4),  # which they are cannot be seen from here
    ],
)
def test_the_price_is_paid_for_the_gpus_that_are_known_best(
    environ: dict[str, str], runtime: str, gpus: list[str], effective: dict[str, Any], paid: int
) -> None:
    plan = resolve(LoadOptions(gpu_hourly_cost=2.5), ThisMachine(environ=environ, runtime_for=lambda *_: "local"))
    engine = external_engine()
    engine.runtime, engine.effective = runtime, effective
    assert price(plan, engine, gpus) == CostRecord(2.5, paid)


def test_no_price_is_no_cost() -> None:
    assert price(resolve(LoadOptions(), QUIET_MACHINE), external_engine(), ["H100"]) is None


@pytest.mark.parametrize("typed", [{"workers": 4}, {"workers": 50, "master": ("h", 1)}])
def test_as_many_workers_as_there_are_cores_are_fine_and_elsewhere_any(typed: dict[str, Any]) -> None:
    assert (
        resolve(LoadOptions(**typed), ThisMachine(cpus=FOUR, runtime_for=lambda *_: "local")).workers
        == typed["workers"]
    )


def test_more_workers_than_cores_are_refused_at_once() -> None:
    with pytest.raises(UserError, match=r"--workers is 5, but this process may use 4 CPU cores.*at most WORKERS=4"):
        resolve(LoadOptions(workers=5), ThisMachine(cpus=FOUR, runtime_for=never))


@pytest.mark.parametrize(
    "overrides", [{"load.rate": "5", "load.users": "10"}, {"load.rate": "5", "load.spawn_rate": "2"}]
)
def test_users_are_not_ignored_where_a_rate_is_asked_for(overrides: dict[str, str]) -> None:
    with pytest.raises(UserError, match="cannot be set with a rate of 5 requests/s") as caught:
        resolve(LoadOptions(overrides=overrides), ThisMachine(runtime_for=never))
    assert caught.value.code is Exit.USAGE


def test_an_endpoint_has_its_own_address_unless_a_host_is_given() -> None:
    openai = {"overrides": {"endpoint.preset": "openai"}, "engine": "external"}
    assert resolve(LoadOptions(**openai), QUIET_MACHINE).host == "https://api.openai.com/v1"
    assert resolve(LoadOptions(**openai, host=HOST), QUIET_MACHINE).host == HOST
    with pytest.raises(UserError, match="ENDPOINT=azure, which has no URL") as caught:
        resolve(LoadOptions(engine="external", overrides={"endpoint.preset": "azure"}), QUIET_MACHINE)
    assert caught.value.code is Exit.USAGE


def test_a_key_in_the_query_of_the_url_is_kept_out_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENSWARM_SECRETS", "")
    monkeypatch.setenv("TOKENSWARM_QUERY_KEY", "")
    plan = resolve(LoadOptions(engine="external", host=f"{HOST}/v1?key=PLANTED-123456&v=2"), QUIET_MACHINE)
    assert plan.host == f"{HOST}/v1?v=2" and plan.scenario.endpoint.query == {"key": "env:TOKENSWARM_QUERY_KEY"}
    assert dict(plan.scenario.endpoint.form().query) == {"key": "PLANTED-123456"} and "PLANTED" not in repr(plan)


def test_a_variable_that_is_missing_is_refused_before_anything_is_started() -> None:
    with pytest.raises(UserError) as caught:
        resolve(LoadOptions(overrides={"endpoint.headers.X-Key": "env:NOT_THERE"}), ThisMachine(runtime_for=never))
    assert caught.value.code is Exit.AUTH


@pytest.mark.parametrize(
    ("engine", "device", "note"),
    [
        ("vllm", "cpu", "vLLM runs on a CPU here: its speed says nothing about a GPU"),
        ("vllm", "cuda", ""),
        ("sim", None, ""),
    ],
)
def test_an_engine_on_this_cpu_is_known_beforehand_so_that_races_and_decisions_say_so(
    engine: str, device: str | None, note: str
) -> None:
    plan = resolve(LoadOptions(engine=engine, device=device, runtime="local"), QUIET_MACHINE)
    assert plan.cpu_note == note
