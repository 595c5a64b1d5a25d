"""The requests made to Docker, and how its answers are interpreted; `make test-compose` uses the real thing."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import tokenswarm
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.engines import load_description
from tokenswarm.engines.docker import compose, containers
from tokenswarm.engines.docker import host as docker_host
from tokenswarm.engines.docker.container_sampler import ContainerSampler, memory_bytes
from tokenswarm.engines.docker.failures import explain, failure
from tokenswarm.engines.start import default_runtime


def literals(document: str) -> dict[str, Any]:
    """The values of an override document, by key."""
    pairs = [line.strip().partition(": ") for line in document.splitlines()[2:] if "deploy" not in line]
    return {key: json.loads(value) for key, _, value in pairs}


def test_override_holds_what_a_start_changes_and_nothing_else() -> None:
    document = compose.override(compose.Start("vllm", ["m", "--flag", "x y"], {"label": "1"}))
    assert document.splitlines()[:2] == ["services:", "  vllm:"]
    assert literals(document) == {"command": ["m", "--flag", "x y"], "labels": {"label": "1"}}


def test_dollars_are_kept_from_compose() -> None:
    document = compose.override(compose.Start("vllm", ["$HOME", "${X}"], {}, {"A": "$$"}))
    assert literals(document)["command"] == ["$$HOME", "$${X}"] and literals(document)["environment"] == {"A": "$$$$"}


def test_gpus_replace_those_of_the_file() -> None:
    document = compose.override(compose.Start("vllm", [], {}, gpus=["0", "1"]))
    assert 'devices: !override [{"driver": "nvidia", "device_ids": ["0", "1"], "capabilities": ["gpu"]}]' in document
    assert "deploy" not in compose.override(compose.Start("vllm", [], {}, gpus=[]))


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        (None, None),
        ("", None),
        ("all", None),
        ("3", ["3"]),
        ("0, 1", ["0", "1"]),
        ("GPU-8f2a-1,1", ["GPU-8f2a-1", "1"]),
    ],
)
def test_a_list_of_gpus_is_read_as_their_numbers(text: str | None, ids: list[str] | None) -> None:
    assert compose.gpu_ids(text) == ids


@pytest.mark.parametrize("text", ["0,,1", "0;1", "0,0", "$(reboot)", '0"]'])
def test_what_is_no_list_of_gpus_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="GPUS=") as caught:
        compose.gpu_ids(text)
    assert caught.value.code is Exit.USAGE


def test_image_is_pinned_and_can_be_overridden() -> None:
    description = load_description("vllm")
    assert description.image is not None
    pinned = f"{description.image.repository}:{description.image.tag}"
    assert compose.image_of(description, {}) == compose.image_of(description, {"VLLM_TAG": ""}) == pinned
    assert compose.image_of(description, {"VLLM_TAG": "v9"}).endswith(":v9")
    assert compose.image_of(description, {"VLLM_TAG": "v9", "VLLM_IMAGE": "my/own"}) == "my/own"


def test_project_image_has_the_projects_version() -> None:
    image = load_description("sim").image
    assert image is not None and image.tag == tokenswarm.__version__


def test_key_of_the_endpoint_stays_out_of_composes_environment() -> None:
    environment = compose.environment({"API_KEY": "k", "HF_TOKEN": "t"}, "vllm", "127.0.0.1", 9, "my/image")
    assert environment == {"HF_TOKEN": "t", "BIND": "127.0.0.1", "PORT": "9", "VLLM_IMAGE": "my/image"}


def test_folder_is_mounted_and_a_name_of_the_hub_is_not(tmp_path: Path) -> None:
    assert compose.model_place("org/model", False) == ("org/model", {})
    assert compose.model_place(str(tmp_path / "m"), True) == ("/models/m", {str(tmp_path / "m"): "/models/m"})


@pytest.mark.parametrize(
    ("said", "code", "part"),
    [
        ("Cannot connect to the Docker daemon at unix:///x. Is it running?", Exit.ENGINE, "no Docker engine"),
        (
            "driver failed programming external connectivity: "
            "Bind for 127.0.0.1:8000 failed: port is already allocated",
            Exit.PORT,
            "port is taken",
        ),
        ('could not select device driver "nvidia" with capabilities: [[gpu]]', Exit.ENGINE, "NVIDIA Container Toolkit"),
        ("nvidia-container-cli: device error: 7: unknown device: unknown", Exit.ENGINE, "NVIDIA Container Toolkit"),
        ("manifest for vllm/vllm-openai:v9 not found: manifest unknown", Exit.ENGINE, "no image i:1: check its tag"),
        (
            "pull access denied for no/such, repository does not exist or may require 'docker login'",
            Exit.ENGINE,
            "that this user may pull",
        ),
        (
            "dial tcp: lookup registry-1.docker.io on 10.0.0.1:53: no such host",
            Exit.ENGINE,
            "registry cannot be reached",
        ),
        ("toomanyrequests: You have reached your pull rate limit", Exit.ENGINE, "refuses more downloads"),
        ("write /var/lib/docker/x: no space left on device", Exit.ENGINE, "disk is full"),
        ('exec: "trtllm-serve": executable file not found in $PATH: unknown', Exit.ENGINE, "engine's program"),
    ],
)
def test_docker_failures_become_sentences(said: str, code: Exit, part: str) -> None:
    found, sentence = explain(f"some\nlines\n{said}\n", "i:1")
    assert (found, part in (sentence or "")) == (code, True)


def test_unknown_failure_shows_what_docker_said() -> None:
    error = failure("It could not be started", "one\n\ntwo\n", "i:1")
    assert str(error) == "It could not be started. Docker said:\n  | one\n  | two"


def test_memory_is_without_the_cache_that_can_be_given_back() -> None:
    assert memory_bytes({"usage": 100, "stats": {"inactive_file": 30}}) == 70
    assert memory_bytes({"usage": 100, "stats": {"total_inactive_file": 30}}) == 70
    assert memory_bytes({"usage": 100}) == 100
    assert memory_bytes({}) is None


def sampler(*cpu_s: float) -> ContainerSampler:
    """A sampler of a container that has used so much CPU time at each reading."""
    answers = iter(
        [
            {"cpu_stats": {"cpu_usage": {"total_usage": int(each * 1e9)}}, "memory_stats": {"usage": 3 * 1024 * 1024}}
            for each in cpu_s
        ]
    )
    api = SimpleNamespace(stats=lambda *_, **__: next(answers))
    return ContainerSampler(SimpleNamespace(id="x", client=SimpleNamespace(api=api)))  # type: ignore[arg-type]


def test_cpu_share_is_of_one_core_since_the_last_reading() -> None:
    read = sampler(10.0, 13.0)
    assert read(100.0) == [{"at": 100.0, "source": "engine", "rss_mb": 3.0, "cpu_share": None}]
    assert read(102.0) == [{"at": 102.0, "source": "engine", "rss_mb": 3.0, "cpu_share": 1.5}]


def test_restarted_counter_gives_no_share() -> None:
    read = sampler(10.0, 1.0)
    read(100.0)
    assert read(102.0)[0]["cpu_share"] is None


def test_docker_engine_of_another_machine_is_refused(tmp_path: Path) -> None:
    (tmp_path / "docker").write_text("#!/bin/sh\n")
    (tmp_path / "docker").chmod(0o755)
    for host in ("tcp://gpu1:2376", "ssh://me@gpu1"):
        with pytest.raises(UserError, match="is on another machine"):
            docker_host.connect({"DOCKER_HOST": host, "PATH": str(tmp_path)})


def test_missing_docker_command_says_what_else_could_be_done(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"`docker` is not there: .*RUNTIME=local") as caught:
        docker_host.connect({"PATH": str(tmp_path)})
    assert caught.value.code is Exit.ENGINE


def test_address_to_publish_on_comes_from_bind() -> None:
    assert compose.bind_address(None, {}) == compose.bind_address(None, {"BIND": ""}) == "127.0.0.1"
    assert compose.bind_address(None, {"BIND": "0.0.0.0"}) == "0.0.0.0"
    assert compose.bind_address("10.0.0.1", {"BIND": "0.0.0.0"}) == "10.0.0.1"
    for wrong in ("::1", "gpu1", "1.2.3.4.5"):
        with pytest.raises(UserError, match="BIND="):
            compose.bind_address(None, {"BIND": wrong})


def test_simulator_and_cpu_engines_stay_local_unless_asked() -> None:
    assert default_runtime(load_description("sim")) == "local"
    assert default_runtime(load_description("vllm"), "cpu") == "local"


def test_project_name_is_composes_own_variable() -> None:
    assert containers.project({}) == "tokenswarm"
    assert containers.project({"COMPOSE_PROJECT_NAME": "mine"}) == "mine"
